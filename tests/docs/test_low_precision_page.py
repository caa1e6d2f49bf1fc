"""docs/low-precision.md: its programs run, its command compiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from docs import pages
from stepforge.tools.cli import load_verb

PAGE = "low-precision.md"


@pytest.mark.compiler
def test_the_page_runs() -> None:
    names: dict[str, Any] = {}
    programs = [fence for fence in pages.fences(PAGE) if fence.language == "python"]
    for fence in programs:
        exec(compile(fence.text, f"{PAGE}, {fence.heading}", "exec"), names)
    assert names["moment"].dtype.name == "bfloat16"
    assert (np.abs(names["moment"].astype(np.float32) - 0.05) < 0.05 / 128).all()


@pytest.mark.compiler
def test_its_command_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"w": np.ones((8, 4), np.float32)}, "model.safetensors")
    (command,) = (fence.text for fence in pages.fences(PAGE) if fence.language == "sh")
    name, *options = command.split()
    assert name == "compile-optimizer"
    load_verb("compile").main(options, standalone_mode=False)
    assert (tmp_path / "adamw.vmfb").exists()
