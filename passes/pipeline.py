"""The passes between logical MLIR and IREE, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stepforge.passes import bindings, pass_base
from stepforge.passes.alias_state import AliasState
from stepforge.passes.bindings import ir
from stepforge.passes.errors import PassError
from stepforge.passes.expand_math import ExpandMath
from stepforge.passes.fold_hyperparameters import FoldHyperparameters
from stepforge.passes.fuse_step_math import FuseStepMath
from stepforge.passes.pass_base import Pass
from stepforge.passes.split_reductions import SplitReductions
from stepforge.passes.targets.target import Backend
from stepforge.passes.wrap_entry_points import WrapEntryPoints

PIPELINE: tuple[Pass, ...] = (
    FoldHyperparameters(),
    FuseStepMath(),
    ExpandMath(),
    SplitReductions(),
    AliasState(allow_copies=True),
    WrapEntryPoints(),
)


def run_pipeline(
    module: ir.Module,
    *,
    in_place: bool = True,
    backend: Backend | None = None,
    dump_ir: Path | None = None,
    stop_after: str | None = None,
    extra: Sequence[Pass] = (),
) -> None:
    """Turn a logical module into what IREE compiles, in place.

    `extra` passes run first, on the logical module. `in_place=False` makes the same module without
    aliasing state arguments. `backend` is what the module is for: without one no math is expanded
    that is inexact there. `dump_ir` names a folder that receives the module before the first
    and after each pass. `stop_after` ends early, after the pass of that name. A state whose new
    value cannot be computed over the old one is computed elsewhere and copied, which takes memory
    in every step. Raises `PassError`.
    """
    passes = (*extra, *(_with_options(step, in_place, backend) for step in PIPELINE))
    names = [step.name for step in passes]
    if stop_after is not None and stop_after not in names:
        raise PassError(f"no pass is named {stop_after!r}; the passes are {', '.join(names)}")
    bindings.verify(module, after="tracing")
    _dump(module, dump_ir, 0, "logical")
    for number, step in enumerate(passes, start=1):
        pass_base.apply(step, module)
        _dump(module, dump_ir, number, step.name)
        if step.name == stop_after:
            return


def _with_options(step: Pass, in_place: bool, backend: Backend | None) -> Pass:
    if isinstance(step, AliasState):
        return replace(step, in_place=in_place)
    knows_backend = isinstance(step, (ExpandMath, SplitReductions))
    return replace(step, backend=backend) if knows_backend else step


def _dump(module: ir.Module, folder: Path | None, number: int, name: str) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:02d}-{name}.mlir").write_text(f"{module}\n", encoding="utf-8")
