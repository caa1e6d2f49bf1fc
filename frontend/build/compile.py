"""`compile_optimizer`: from an optimizer and a model's parameters to a checked artifact."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from stepforge import runtime
from stepforge.frontend.any_length import trace_any_length
from stepforge.frontend.build.artifact import Artifact, file_exists
from stepforge.frontend.build.describe import describe
from stepforge.frontend.build.in_place_check import check_in_place, check_order
from stepforge.frontend.build.parameters import parameter_specs
from stepforge.frontend.build.phases_check import check_phases
from stepforge.frontend.collector import paused
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, DTypeLike, as_dtype, float32
from stepforge.frontend.emit import emit
from stepforge.frontend.errors import FrontendError, ParameterError
from stepforge.frontend.initializers import required
from stepforge.frontend.optimizers import Optimizer
from stepforge.frontend.program import Program
from stepforge.frontend.program_json import program_to_json
from stepforge.frontend.trace import AfterUpdate, trace
from stepforge.passes import (
    Compiled,
    Layout,
    Pair,
    Target,
    Update,
    check_dtypes,
    compile_both,
    compile_module,
    parse_target,
)
from stepforge.runtime.container import made_artifact
from stepforge.runtime.cpu_features import host_architecture
from stepforge.runtime.devices import DRIVERS
from stepforge.runtime.executor import Module
from stepforge.runtime.loading import load_module
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.manifest import Target as TargetRow

_CPU = "cpu"
_MOST_SHARDS = 65_536
_NOT_HERE = (
    runtime.CpuMismatchError,
    runtime.DeviceMismatchError,
    runtime.DeviceNotFoundError,
)


def compile_optimizer(
    optimizer: Optimizer | Mapping[str, Optimizer],
    parameters: Mapping[str, Any] | None = None,
    *,
    target: str = "cpu",
    context: Context | None = None,
    output: str | os.PathLike[str] | None = None,
    loss_dtype: DTypeLike = float32,
    updates: Mapping[str, Sequence[str]] | None = None,
    after_update: AfterUpdate | None = None,
    dump_ir: str | os.PathLike[str] | None = None,
    isolate: bool = False,
    timeout: float | None = None,
    layout: Layout = "packed",
    phases: bool = False,
    shards: int = 1,
    update: Update = "in-place",
    any_length: bool = False,
    dtype: DTypeLike = float32,
    force: bool = False,
) -> Artifact:
    """Compile an optimizer's step over `parameters`, or over those of any model, for one target.

    optimizer: one, exported as "step", or several by the names of their entry points.
    parameters: name -> array, (shape, dtype), "64x32xf32" or {"shape": ..., "dtype": ...}; values
        are never stored. Variables that the Context has already are used as they are.
    target: as `compile-optimizer --target` takes it. context: its parameters are the
        hyperparameters; slots and counters are created in it. output: where to write the file,
        whole or not at all, refusing one that exists unless `force`.
    updates: for an entry point, the names of the parameters that it updates; by default all.
    after_update: called with the Context and the graph after each optimizer (see `trace`).
    dump_ir: a folder for the module before the first and after each pass.
    isolate: run the compiler in a process of its own, so that a crash of it is a CompileError; each
        such run is stopped after `timeout` seconds.
    layout: "packed" keeps variables whose updates are alike in one piece of memory and updates them
        with one dispatch; "separate" keeps a tensor for each, for hosts that own their tensors.
    phases: for a step with reductions over all gradients, export its two halves too: "reduce" gives
        partial sums, which shards add up, and "apply" takes the step with them.
    shards: pads the arenas so that each divides into so many equal ranges of whole 64 bytes
        (`stepforge.runtime.shard_ranges`); wants the packed layout.
    update: "in-place" writes new state over the old, which is lost where a device fails in a step;
        "ping-pong" writes it beside the old, which then stays, and takes twice the memory.
    any_length: without parameters: `initialize` or `restore` of the loaded step says which there
        are, each of `dtype`. All have the same hyperparameters, and settings that look at more
        than one element are refused (see `any_length.trace_any_length`).

    Before it is returned the artifact is proved: its in-place build gives bit for bit what a plain
    build gives, on a device of the target or, where there is none, on this machine's CPU.

    Raises FrontendError, PassError and StepforgeRuntimeError, each saying what to do.
    """
    how = compiling(isolate, timeout, layout, shards, update)
    _check_update(update, phases, any_length)
    chosen = parse_target(target)
    _check_parameters(
        parameters, updates, after_update, any_length, as_dtype(dtype), phases, shards
    )
    specs = () if parameters is None else parameter_specs(parameters)
    held = [as_dtype(dtype).name] if any_length else [spec.dtype.name for spec in specs]
    check_dtypes(chosen, held)
    if output is not None and Path(output).exists() and not force:
        raise file_exists(Path(output))
    context = Context() if context is None else context
    folder = None if dump_ir is None else Path(dump_ir)
    with paused(), context.unchanged_on_error():
        if any_length:
            program = trace_any_length(optimizer, context, dtype=dtype, loss_dtype=loss_dtype)
        else:
            for spec in specs:
                context.variable(spec.name, spec.shape, spec.dtype, initializer=required())
            program = trace(
                optimizer,
                context,
                parameters=updates,
                loss_dtype=loss_dtype,
                after_update=after_update,
                phases=phases,
            )
        made = compile_program(program, chosen, dump_ir=folder, how=how)
    if output is None:
        return made
    return replace(made, path=made.save(output, force=force))


def _check_parameters(
    parameters: Mapping[str, Any] | None,
    updates: object,
    after_update: object,
    any_length: bool,
    dtype: DType,
    phases: bool,
    shards: int,
) -> None:
    """Parameters now, or any when the artifact is loaded. Raises ParameterError."""
    named = {"parameters": parameters, "updates": updates, "after_update": after_update}
    given = [name for name, value in named.items() if value is not None]
    if any_length and (phases or shards != 1):
        raise ParameterError(
            "an artifact of any length steps shards as it is, and has no sums to add up: expected "
            f"no phases and 1 shard, got phases={phases} and shards={shards}; leave them out"
        )
    if any_length and given:
        raise ParameterError(
            "an artifact of any length has no parameters of its own, which could be updated apart: "
            f"expected none of parameters, updates and after_update, got {', '.join(given)}; leave "
            "them out, or leave any_length out"
        )
    if parameters is None and not any_length:
        raise ParameterError(
            "which parameters? expected a mapping name -> array or spec, got none; give it, or "
            "any_length=True (--any-length) for those of any model"
        )
    if dtype != float32 and not any_length:
        raise ParameterError(
            f"parameters say their dtypes themselves: got dtype={dtype.name!r} without any_length; "
            "leave it out"
        )


@dataclass(frozen=True, slots=True)
class Compiling:
    """How the compiler is run: in this process, or in its own and for so many seconds at most, and
    how it lays variables out."""

    isolate: bool = False
    timeout: float | None = None
    layout: Layout = "packed"
    shards: int = 1
    update: Update = "in-place"


def compiling(
    isolate: bool,
    timeout: float | None,
    layout: Layout = "packed",
    shards: int = 1,
    update: Update = "in-place",
) -> Compiling:
    """Raises FrontendError for a timeout without isolation, an unknown layout or way to update, and
    for shards that are no number, or have nothing to divide."""
    if layout not in get_args(Layout):
        raise FrontendError(
            "variables are laid out in one of two ways",
            expected=" or ".join(repr(x) for x in get_args(Layout)),
            got=repr(layout),
        )
    if update not in get_args(Update):
        raise FrontendError(
            "state is updated in one of two ways",
            expected=" or ".join(repr(x) for x in get_args(Update)),
            got=repr(update),
        )
    if timeout is not None and not (isolate and timeout > 0):
        raise FrontendError(
            "only a compiler in a process of its own can be stopped",
            expected="isolate=True, and a timeout of more than 0 seconds",
            got=f"isolate={isolate} and timeout={timeout!r}",
            hint="give isolate=True (--isolate), or leave the timeout out",
        )
    if type(shards) is not int or not 1 <= shards <= _MOST_SHARDS:
        raise FrontendError(
            "arenas divide into a number of shards",
            expected=f"1 to {_MOST_SHARDS}",
            got=repr(shards),
        )
    if shards > 1 and layout == "separate":
        raise FrontendError(
            "shards are ranges of arenas, and layout='separate' makes none",
            expected="layout='packed'",
            got=f"shards={shards}",
            hint="leave one of the two out",
        )
    return Compiling(isolate, timeout, layout, shards, update)


def _check_update(update: Update, phases: bool, any_length: bool = False) -> None:
    if any_length and update != "in-place":
        raise FrontendError(
            "a step of any length updates in place",
            expected="update='in-place' with any_length=True",
            got=f"update={update!r}",
            hint="leave one of the two out",
        )
    if phases and update != "in-place":
        raise FrontendError(
            "the halves of a step update in place",
            expected="update='in-place' with phases=True",
            got=f"update={update!r}",
            hint="leave one of the two out",
        )


def compile_program(
    program: Program,
    target: Target,
    *,
    dump_ir: Path | None = None,
    how: Compiling = Compiling(),
) -> Artifact:
    """Compile and prove a traced program. Raises as `compile_optimizer` does."""
    text = emit(program, shards=how.shards)
    if not _may_run_here(target):
        compiled = compile_module(
            text,
            target,
            layout=how.layout,
            update=how.update,
            dump_ir=dump_ir,
            isolate=how.isolate,
            timeout=how.timeout,
        )
        made = _artifact(program, target, compiled, _pack(program, compiled, how))
        _prove_elsewhere(made, text, how)
        return made
    shared = target.name == _CPU and dump_ir is None
    pair = _cpu_pair(text, how) if shared else _pair(text, target, how, dump_ir)
    packed = _pack(program, pair.in_place, how)
    made = _artifact(program, target, pair.in_place, packed)
    try:
        in_place, plain = load_module(packed), _loaded(pair.plain, packed.manifest)
    except _NOT_HERE:
        _prove_elsewhere(made, text, how)
        return made
    _prove(made.manifest, in_place, plain)
    return made


def _artifact(
    program: Program, target: Target, compiled: Compiled, packed: runtime.Artifact
) -> Artifact:
    return Artifact(
        data=packed.vmfb_bytes,
        manifest=packed.manifest,
        program=program,
        statistics=compiled.statistics,
        warnings=(*target.notes, *(str(w) for w in compiled.warnings)),
    )


def _pack(program: Program, compiled: Compiled, how: Compiling) -> runtime.Artifact:
    """Read back at once: what is returned is what a loader would accept."""
    manifest = describe(
        program, compiled.info, compiled.arenas, compiled.statistics, update=how.update
    )
    manifest = replace(manifest, shards=how.shards)
    return made_artifact(compiled.vmfb, manifest, program_to_json(program).encode())


def _loaded(compiled: Compiled, manifest: Manifest) -> Module:
    """A build to compare with, which is not written, on the device that its target gets."""
    own = replace(manifest, targets=(TargetRow(**compiled.info),))
    return load_module(runtime.Artifact(compiled.vmfb, own, b"{}"))


def _may_run_here(target: Target) -> bool:
    """A quick guess that saves a build; loading decides."""
    if target.device == "local":
        return target.arch in ("", host_architecture())
    return target.device in DRIVERS and runtime.probe(DRIVERS[target.device][0]).available


def _prove_elsewhere(made: Artifact, text: str, how: Compiling) -> None:
    """No device of the target is here: the order of its commands, and the bits on this CPU."""
    check_order(made.statistics, made.manifest.functions)
    pair = _cpu_pair(text, how)
    manifest = describe(made.program, pair.in_place.info, pair.in_place.arenas, update=how.update)
    _prove(manifest, *(_loaded(x, manifest) for x in (pair.in_place, pair.plain)))


def _prove(manifest: Manifest, in_place: Module, plain: Module) -> None:
    check_in_place(manifest, in_place, plain)
    check_phases(manifest, in_place)


def _pair(text: str, target: Target | str, how: Compiling, dump_ir: Path | None = None) -> Pair:
    return compile_both(
        text,
        target,
        layout=how.layout,
        update=how.update,
        dump_ir=dump_ir,
        isolate=how.isolate,
        timeout=how.timeout,
    )


@lru_cache(maxsize=1)
def _cpu_pair(text: str, how: Compiling) -> Pair:
    """The CPU's builds, kept for the next target of the same module."""
    return _pair(text, _CPU, how)
