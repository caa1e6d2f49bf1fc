"""docs/training.md: its programs run, in the order in which they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docs import pages
from stepforge.tools.cli import load_verb

PAGE = "training.md"


@pytest.mark.compiler
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    programs = [fence for fence in pages.fences(PAGE) if fence.language == "python"]
    assert len(programs) >= 7
    for fence in programs:
        exec(compile(fence.text, f"{PAGE}, {fence.heading}", "exec"), names)
    assert (tmp_path / "history.csv").read_text().startswith("step,epoch,")
    assert names["history"].rows[-1].values["validation/accuracy"] > 0.8


@pytest.mark.compiler
def test_its_commands_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, *_ = pages.fences(PAGE)
    (tmp_path / "model.py").write_text(model.text)
    commands = [fence.text for fence in pages.fences(PAGE) if fence.language == "sh"]
    assert len(commands) == 2
    for command in commands:
        name, *options = command.split()
        assert name == "compile-optimizer"
        load_verb("compile").main(options, standalone_mode=False)
    assert (tmp_path / "train.vmfb").exists()
    assert (tmp_path / "adamw.cpu.vmfb").exists()
