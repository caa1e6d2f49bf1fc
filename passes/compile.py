"""Logical MLIR in, bytecode for one target out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stepforge.passes import bindings, statistics
from stepforge.passes.arenas import Layout
from stepforge.passes.build import Build, Compiled, build_all
from stepforge.passes.isolated import build_isolated
from stepforge.passes.pipeline import Update, run_pipeline
from stepforge.passes.session import Lowering, open_session
from stepforge.passes.statistics import Statistics
from stepforge.passes.targets import Target, parse_target


@dataclass(frozen=True, slots=True)
class Pair:
    """One module compiled twice: with state updated in place, and with all results apart."""

    in_place: Compiled
    plain: Compiled


def compile_module(
    mlir_text: str,
    target: Target | str,
    *,
    in_place: bool = True,
    layout: Layout = "packed",
    update: Update = "in-place",
    dump_ir: Path | None = None,
    isolate: bool = False,
    timeout: float | None = None,
) -> Compiled:
    """Run the passes over a logical module and compile it for `target`.

    `in_place=False`: the same module, but no result is written into an argument. `layout`:
    "separate" packs no variables together. `update`: "ping-pong" takes buffers for the new
    state, and leaves those of the old as they are. `dump_ir`: a folder that receives the module
    before the first and after each pass, and IREE's view of it. `isolate`: in a process of its
    own, which alone survives a crash of LLVM, and after `timeout` seconds is stopped. The same
    input gives the same bytes.

    Raises `CompileError` (with IREE's diagnostics), `UnsupportedDTypeError`, `UnknownTargetError`
    and the other `PassError`s of the passes.
    """
    build: Build = "in_place" if in_place else "plain"
    (made,) = _compile(mlir_text, target, [build], layout, update, dump_ir, isolate, timeout)
    return made


def compile_both(
    mlir_text: str,
    target: Target | str,
    *,
    layout: Layout = "packed",
    update: Update = "in-place",
    dump_ir: Path | None = None,
    isolate: bool = False,
    timeout: float | None = None,
) -> Pair:
    """As `compile_module` with and without `in_place`, running the passes once."""
    builds: list[Build] = ["in_place", "plain"]
    in_place, plain = _compile(mlir_text, target, builds, layout, update, dump_ir, isolate, timeout)
    return Pair(in_place, plain)


def stream_statistics(
    mlir_text: str, target: Target | str, *, layout: Layout = "packed"
) -> Statistics:
    """What one call of each function will cost on `target`, without generating its code.

    In place, and without the self-test that `compile_module` adds for GPUs; a hundred kernels are
    counted in a second or two. Raises as `compile_module` does.
    """
    known = parse_target(target) if isinstance(target, str) else target
    with open_session(known.flags) as session:
        module = bindings.parse(mlir_text, session.context)
        run_pipeline(module, backend=known.backend, vector_bytes=known.vector_bytes, layout=layout)
        with Lowering(session, module, f"the module for target {known.name}") as lowering:
            lowering.advance("stream")
            return statistics.collect(module)


def _compile(
    text: str,
    target: Target | str,
    builds: Sequence[Build],
    layout: Layout,
    update: Update,
    dump_ir: Path | None,
    isolate: bool,
    timeout: float | None,
) -> list[Compiled]:
    known = parse_target(target) if isinstance(target, str) else target
    if isolate:
        return build_isolated(text, known.name, builds, dump_ir, timeout, layout, update)
    if timeout is not None:
        raise ValueError("a timeout needs isolate=True: IREE cannot be stopped inside this process")
    return build_all(text, known, builds, dump_ir, layout, update)
