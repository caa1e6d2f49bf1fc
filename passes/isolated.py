"""A compilation in a process of its own, with a time limit: what breaks there breaks alone.

A fatal error of LLVM ends the process it happens in. The request and the answer are files in a
temporary folder; `isolated_worker` is the other side.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepforge.passes import errors
from stepforge.passes.arenas import Arena, Layout
from stepforge.passes.build import Build, Compiled, TargetInfo
from stepforge.passes.errors import CompileError, Diagnostic, PassError
from stepforge.passes.pipeline import Update
from stepforge.passes.statistics import FunctionStatistics, Statistics

_WORKER = "stepforge.passes.isolated_worker"
MODULE, REQUEST, ANSWER = "module.mlir", "request.json", "answer.json"


def build_isolated(
    text: str,
    target: str,
    builds: Sequence[Build],
    dump_ir: Path | None,
    timeout: float | None,
    layout: Layout = "packed",
    update: Update = "in-place",
) -> list[Compiled]:
    """As `build_all`, elsewhere. Raises `CompileError` also where the compiler dies or is late."""
    with tempfile.TemporaryDirectory(prefix="stepforge-") as name:
        folder = Path(name)
        (folder / MODULE).write_text(text, encoding="utf-8")
        dump = None if dump_ir is None else str(dump_ir.absolute())
        request = {
            "target": target,
            "builds": list(builds),
            "dump_ir": dump,
            "layout": layout,
            "update": update,
        }
        (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        # -P: a module of the working directory must not stand in for one of the library.
        command = [sys.executable, "-P", "-m", _WORKER, str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CompileError(
                f"compiling for target {target} took longer than {timeout:g} seconds and was "
                "stopped; raise the limit, or compile fewer tensors at once"
            ) from None
        answer = folder / ANSWER
        if done.returncode != 0 or not answer.exists():
            raise CompileError(_death(target, done.returncode, done.stderr), log=done.stderr)
        return _read_answer(folder, json.loads(answer.read_text(encoding="utf-8")))


def _death(target: str, code: int, stderr: str) -> str:
    how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    lines = stderr.strip().splitlines()
    # LLVM prints its reason before a stack trace; Python's comes last.
    fatal = [line for line in lines if "LLVM ERROR" in line or "Assertion" in line]
    last = "\n".join(fatal or lines[-3:]) or "it wrote nothing"
    return (
        f"the compiler broke down for target {target}: its process ended {how}. Its last words:\n"
        f"{last}\nThis is a defect of the compiler; please report it with --dump-ir"
    )


def _read_answer(folder: Path, answer: dict[str, Any]) -> list[Compiled]:
    if "error" in answer:
        raise _read_error(answer["error"])
    return [
        _read_compiled(row, (folder / f"{index}.vmfb").read_bytes())
        for index, row in enumerate(answer["builds"])
    ]


def _read_error(row: dict[str, Any]) -> PassError:
    kind = getattr(errors, row["kind"])
    if kind is not CompileError:
        return kind(row["message"])
    return CompileError(row["message"], _diagnostics(row["diagnostics"]), row["log"])


def _read_compiled(row: dict[str, Any], vmfb: bytes) -> Compiled:
    counts = row["statistics"]
    info: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in row["info"].items()
    }
    return Compiled(
        vmfb=vmfb,
        statistics=Statistics(
            {name: FunctionStatistics(**f) for name, f in counts["functions"].items()},
            FunctionStatistics(**counts["initializer"]),
            counts["imports_allocation"],
        ),
        info=TargetInfo(**info),
        warnings=_diagnostics(row["warnings"]),
        arenas=tuple(_arena(arena) for arena in row["arenas"]),
    )


def _arena(row: dict[str, Any]) -> Arena:
    return Arena(row["name"], row["kind"], tuple(row["members"]), row["align"], row["size"])


def _diagnostics(rows: Sequence[dict[str, Any]]) -> tuple[Diagnostic, ...]:
    return tuple(Diagnostic(**row) for row in rows)
