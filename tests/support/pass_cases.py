"""Golden cases of passes: MLIR files whose comments say what to run and what to expect.

// RUN: alias-state allow_copies=true     the pass and its options, on the first line
// EXECUTE: exact                         exact (bit for bit), close, or no; exact if absent
// REFUSED: not element by element        instead of checks: part of the error, one line each
// CHECK: linalg.generic                  what filecheck finds in the output
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser

from stepforge.passes.alias_state import AliasState
from stepforge.passes.choose_tiles import ChooseTiles
from stepforge.passes.expand_math import ExpandMath
from stepforge.passes.fold_hyperparameters import FoldHyperparameters
from stepforge.passes.free_length import FreeLength
from stepforge.passes.fuse_step_math import FuseStepMath
from stepforge.passes.join_rows import JoinRows
from stepforge.passes.pack_sums import PackSums
from stepforge.passes.pack_variables import PackVariables
from stepforge.passes.pass_base import Pass
from stepforge.passes.split_reductions import SplitReductions
from stepforge.passes.view_arguments import ViewArguments
from stepforge.passes.wrap_entry_points import WrapEntryPoints

FOLDER = Path(__file__).parent.parent / "passes" / "cases"
PASSES: tuple[type[Pass], ...] = (
    FoldHyperparameters,
    ViewArguments,
    FuseStepMath,
    PackVariables,
    PackSums,
    ExpandMath,
    SplitReductions,
    AliasState,
    JoinRows,
    ChooseTiles,
    FreeLength,
    WrapEntryPoints,
)


_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Case:
    path: Path
    step: Pass
    execute: str
    refused: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"


def read_case(path: Path) -> Case:
    lines = path.read_text(encoding="utf-8").splitlines()
    run = _comments(lines[:1], "RUN")
    assert run, f"{path}: the first line must say // RUN: <pass>"
    execute = _comments(lines, "EXECUTE") or ["exact"]
    assert execute[0] in ("exact", "close", "no"), f"{path}: EXECUTE is exact, close or no"
    step = _parse_step(run[0])
    assert step.name == path.parent.name, f"{path}: runs {step.name}, so it belongs elsewhere"
    return Case(path, step, execute[0], tuple(_comments(lines, "REFUSED")))


def all_cases() -> list[Case]:
    return [read_case(path) for path in sorted(FOLDER.glob("*/*.mlir"))]


def _comments(lines: list[str], key: str) -> list[str]:
    prefix = f"// {key}: "
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]


def _parse_step(text: str) -> Pass:
    name, *options = text.split()
    (kind,) = (kind for kind in PASSES if kind.name == name)
    known = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    values = dict[str, Any]()
    for option in options:
        key, _, value = option.partition("=")
        assert key in known, f"{name} has no option {key}"
        values[key] = int(value) if value.isdigit() else _WORDS.get(value, value)
    return kind(**values)


def filecheck(checks: Path, output: str) -> str | None:
    """What filecheck says against an output; None if it is as the checks say."""
    options = Options(match_filename=str(checks), input_file="output")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        failed = Matcher(options, FInput("output", output), Parser.from_opts(options)).run()
    return said.getvalue() if failed else None
