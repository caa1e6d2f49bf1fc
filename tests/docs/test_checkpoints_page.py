"""docs/checkpoints.md: its programs run, in the order in which they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docs import pages

PAGE = "checkpoints.md"


@pytest.mark.compiler
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    programs = [fence for fence in pages.fences(PAGE) if fence.language == "python"]
    assert len(programs) >= 3
    for fence in programs:
        exec(compile(fence.text, f"{PAGE}, {fence.heading}", "exec"), names)
    assert (tmp_path / "runs" / "8" / "step-00000020.safetensors").exists()
