"""The passes between logical MLIR and IREE, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stepforge.passes import arenas, bindings, pass_base
from stepforge.passes.alias_state import AliasState
from stepforge.passes.arenas import Arena, Layout
from stepforge.passes.bindings import ir
from stepforge.passes.choose_tiles import ChooseTiles
from stepforge.passes.errors import PassError
from stepforge.passes.expand_math import ExpandMath
from stepforge.passes.fold_hyperparameters import FoldHyperparameters
from stepforge.passes.free_length import FreeLength
from stepforge.passes.fuse_step_math import FuseStepMath
from stepforge.passes.join_rows import JoinRows
from stepforge.passes.pack_sums import PackSums
from stepforge.passes.pack_variables import PackVariables
from stepforge.passes.pass_base import Pass
from stepforge.passes.split_reductions import SplitReductions
from stepforge.passes.targets.target import Backend
from stepforge.passes.view_arguments import ViewArguments
from stepforge.passes.wrap_entry_points import WrapEntryPoints

Update = Literal["in-place", "ping-pong"]

PIPELINE: tuple[Pass, ...] = (
    FoldHyperparameters(),
    ViewArguments(),
    FuseStepMath(),
    PackVariables(),
    PackSums(),
    ExpandMath(),
    SplitReductions(),
    AliasState(allow_copies=True),
    JoinRows(),
    ChooseTiles(),
    FreeLength(),
    WrapEntryPoints(),
)


def run_pipeline(
    module: ir.Module,
    *,
    in_place: bool = True,
    backend: Backend | None = None,
    vector_bytes: int | None = None,
    dump_ir: Path | None = None,
    stop_after: str | None = None,
    layout: Layout = "packed",
    update: Update = "in-place",
    extra: Sequence[Pass] = (),
) -> tuple[Arena, ...]:
    """Turn a logical module into what IREE compiles, in place; returns its arenas.

    `extra` passes run first, on the logical module. `in_place=False` makes the same module without
    aliasing state arguments. `update` "ping-pong" takes a buffer for each new state instead, as
    an argument of its own, and leaves the old state as it is. `backend` is what the module is
    for: without one no math is expanded that is inexact there; `vector_bytes` is how wide its
    vectors are. `layout` "separate" keeps every variable a tensor of its own. `dump_ir` names a
    folder that receives the module before the first and after each pass. `stop_after` ends early,
    after the pass of that name. A state whose new value cannot be computed over the old one is
    computed elsewhere and copied, which takes memory in every step. Raises `PassError`.
    """
    steps = [
        _with_options(step, in_place, backend, vector_bytes, layout, update) for step in PIPELINE
    ]
    passes = (*extra, *steps)
    names = [step.name for step in passes]
    if stop_after is not None and stop_after not in names:
        raise PassError(f"no pass is named {stop_after!r}; the passes are {', '.join(names)}")
    bindings.verify(module, after="tracing")
    _dump(module, dump_ir, 0, "logical")
    packed: tuple[Arena, ...] = ()
    for number, step in enumerate(passes, start=1):
        pass_base.apply(step, module)
        _dump(module, dump_ir, number, step.name)
        if isinstance(step, PackVariables | FreeLength):
            packed = arenas.of_module(module)
        if step.name == stop_after:
            break
    return packed


def _with_options(
    step: Pass,
    in_place: bool,
    backend: Backend | None,
    vector_bytes: int | None,
    layout: Layout,
    update: Update,
) -> Pass:
    if isinstance(step, AliasState):
        return replace(step, in_place=in_place and update == "in-place")
    if isinstance(step, WrapEntryPoints):
        return replace(step, ping_pong=in_place and update == "ping-pong")
    if isinstance(step, PackVariables):
        return replace(step, backend=backend, separate=layout == "separate")
    if isinstance(step, (SplitReductions, ChooseTiles)):
        return replace(step, backend=backend, vector_bytes=vector_bytes)
    knows_backend = isinstance(step, (ExpandMath, JoinRows, FreeLength))
    return replace(step, backend=backend) if knows_backend else step


def _dump(module: ir.Module, folder: Path | None, number: int, name: str) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:02d}-{name}.mlir").write_text(f"{module}\n", encoding="utf-8")
