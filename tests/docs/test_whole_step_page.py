"""docs/whole-step.md: its programs run, and its table is that of the hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from docs import pages
from stepforge.frontend.hyperparameters import KNOWN_HYPERPARAMETERS

PAGE = "whole-step.md"


@pytest.mark.compiler
def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for fence in pages.fences(PAGE):
        exec(compile(fence.text, f"{PAGE}, {fence.heading}", "exec"), names)
    assert capsys.readouterr().out == "[12.] 1\n1 1\n"
    # After one step, which keeps what it is given, both are the parameter.
    assert sorted(names["trained"]) == ["b", "w"]
    assert not np.array_equal(names["trained"]["w"], names["parameters"]["w"])


def test_defaults() -> None:
    found = {cells[0].strip("`"): cells[1] for cells in pages.rows(PAGE) if len(cells) == 4}
    assert list(found) == ["loss_scale", "clip_global_norm", "ema_decay", "skip_nonfinite"]
    for name, default in found.items():
        assert str(KNOWN_HYPERPARAMETERS[name].default).removesuffix(".0").lower() == default
