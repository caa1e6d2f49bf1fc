"""The IR in docs/architecture.md is what the compiler writes today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stepforge.frontend import StochasticGradientDescent, compile_optimizer
from stepforge.passes import PIPELINE

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
QUOTE = re.compile(r"<!-- (\S+) -->\n```mlir\n(.*?)```", re.DOTALL)
PATHS = re.compile(r"`((?:frontend|passes|runtime|tools|tests)/[\w./]*)`")


@pytest.mark.compiler
def test_the_quoted_ir_is_written(tmp_path: Path) -> None:
    compile_optimizer(StochasticGradientDescent(), {"w": (64, 32)}, dump_ir=tmp_path)
    quotes = QUOTE.findall(TEXT)
    assert len(quotes) == 3
    for stage, quoted in quotes:
        written = {line.strip() for line in (tmp_path / f"{stage}.mlir").read_text().splitlines()}
        assert [line for line in quoted.splitlines() if line.strip() not in written] == []


def test_the_named_paths_exist() -> None:
    assert [path for path in PATHS.findall(TEXT) if not (ROOT / path).exists()] == []


def test_every_pass_is_told_of() -> None:
    for step in PIPELINE:
        assert f"**{step.name}**" in TEXT
