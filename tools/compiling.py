"""The work of `compile-optimizer`: all targets are compiled and checked before any is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepforge.frontend.hyperparameters import canonical_name
from stepforge.frontend.rules import FROZEN
from stepforge.tools.errors import ToolError
from stepforge.tools.hyperparameters import describe
from stepforge.tools.machine import why_not
from stepforge.tools.model import load_function
from stepforge.tools.outputs import file_safe
from stepforge.tools.parameters import choose, read_parameters
from stepforge.tools.recipe import Recipe
from stepforge.tools.verb import duration, log, progress

if TYPE_CHECKING:
    from stepforge.frontend import Artifact
    from stepforge.passes import Layout, Update

#: The compiler's own lists of them are not loaded for this.
LAYOUTS: tuple[Layout, ...] = ("packed", "separate")
UPDATES: tuple[Update, ...] = ("in-place", "ping-pong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`name`: of the optimizer. `files`: target -> where its artifact goes. `isolate`: run the
    compiler in a process of its own, for `timeout` seconds at most. `layout`: of the variables.
    `phases`: export both halves of the step too. `shards`: what arenas divide into. `update`: where
    new values go. `any_length`: for the parameters of any model, all of `dtype`."""

    name: str
    recipe: Recipe
    files: Mapping[str, Path]
    loss_dtype: str
    layout: Layout
    update: Update
    any_length: bool = False
    dtype: str | None = None
    dump_ir: Path | None
    force: bool
    isolate: bool = False
    timeout: float | None = None
    phases: bool = False
    shards: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One artifact, as `--json` prints it."""

    target: str
    file: str
    bytes: int
    seconds: float
    """Spent compiling and checking."""
    runs: bool
    why: str
    """Why it does not run on this machine."""


def compile_job(job: Job) -> tuple[Written, ...]:
    """Raises what the packages raise; then nothing was written."""
    compile_for, what = _work(job)
    seconds: dict[str, float] = {}
    made: dict[str, Artifact] = {}
    for target in job.files:
        progress(f"compiling {job.name} for {target}: {what}")
        start = time.perf_counter()
        made[target] = compile_for(target)
        seconds[target] = time.perf_counter() - start
        progress("")
        log(f"compiled {job.name} for {target} in {duration(seconds[target])}")
        for note in _notes(job, made[target]):
            log(f"note: {note}")
    return tuple(
        _write(made[target], target, file, seconds[target], job.force)
        for target, file in job.files.items()
    )


def _work(job: Job) -> tuple[Callable[[str], Artifact], str]:
    """What makes the artifact of a target, and a word on its size."""
    recipe = job.recipe
    if job.any_length:
        return _work_of_any_length(job)
    if job.dtype is not None:
        raise ToolError("--dtype belongs to --any-length: parameters have dtypes; leave it out")
    if recipe.model is None:
        _refuse(recipe, "--input", recipe.inputs, "--batch", recipe.batch_sizes)
        _refuse(recipe, "--accumulate", recipe.accumulate, "--after-update", recipe.after_update)
        specs = _specs(recipe)
        return lambda target: _compile(job, target, specs), f"{len(specs)} parameters"
    _refuse(recipe, "--phases", job.phases, "--shards", job.shards > 1)
    _refuse(recipe, "--params", recipe.params, "--include", recipe.include or recipe.exclude)
    if not recipe.inputs:
        raise ToolError("a training step needs inputs: give --input NAME=SHAPExDTYPE for each")
    function = load_function(recipe.model)
    after = recipe.after_update
    update = None if after is None else load_function(after, "--after-update")
    return lambda target: _compile_model(job, target, function, update), recipe.model


def _work_of_any_length(job: Job) -> tuple[Callable[[str], Artifact], str]:
    recipe = job.recipe
    options = {
        "--params": recipe.params,
        "--include and --exclude": recipe.include or recipe.exclude,
        "--model": recipe.model,
        "--input": recipe.inputs,
        "--batch": recipe.batch_sizes,
        "--accumulate": recipe.accumulate,
        "--after-update": recipe.after_update,
        "--phases": job.phases,
        "--shards": job.shards != 1,
        "--layout separate": job.layout == "separate",
    }
    for name, value in options.items():
        if value:
            raise ToolError(
                f"{name} is of one model, and --any-length is for any; leave one of them out"
            )
    return lambda target: _compile(job, target, None), "any length"


def _refuse(recipe: Recipe, *options: Any) -> None:
    """Options that the other way of compiling has; pairs of name and value."""
    for name, value in zip(options[::2], options[1::2], strict=True):
        if value:
            way = "a model (--model)" if recipe.model is None else "parameters without a model"
            raise ToolError(f"{name} belongs to {way}; leave it out")


def _specs(recipe: Recipe) -> Mapping[str, Any]:
    if recipe.params is None:
        raise ToolError(
            "which parameters? give --params FILE, or params in the recipe; or --any-length, for "
            "those of any model"
        )
    if isinstance(recipe.params, Path):
        found = read_parameters(recipe.params, recipe.include, recipe.exclude)
    else:
        found = choose(recipe.params, "the recipe", recipe.include, recipe.exclude)
    for name, dtype in found.left_out:
        log(f"left out {name} ({dtype}): optimizers update floating-point tensors")
    return found.specs


def _compile(job: Job, target: str, specs: Mapping[str, Any] | None) -> Artifact:
    from stepforge.frontend import compile_optimizer  # noqa: PLC0415 - the compiler is optional

    # Compiling creates variables in the Context, so that each target has its own.
    described = describe(job.name, job.recipe.settings, job.recipe.settable)
    return compile_optimizer(
        described.optimizer,
        specs,
        target=target,
        context=described.context,
        loss_dtype=job.loss_dtype,
        dump_ir=_folder(job, target),
        isolate=job.isolate,
        timeout=job.timeout,
        layout=job.layout,
        phases=job.phases,
        shards=job.shards,
        update=job.update,
        any_length=job.any_length,
        dtype=job.dtype or "float32",
    )


def _compile_model(
    job: Job, target: str, function: Callable[..., Any], after_update: Callable[..., Any] | None
) -> Artifact:
    from stepforge.frontend import compile_train_step  # noqa: PLC0415 - the compiler is optional

    described = describe(job.name, job.recipe.settings, job.recipe.settable)
    return compile_train_step(
        function,
        described.optimizer,
        inputs=job.recipe.inputs,
        batch_sizes=job.recipe.batch_sizes or None,
        target=target,
        context=described.context,
        accumulate_steps=job.recipe.accumulate or 1,
        after_update=after_update,
        dump_ir=_folder(job, target),
        isolate=job.isolate,
        timeout=job.timeout,
        update=job.update,
    )


def _folder(job: Job, target: str) -> Path | None:
    """Where the stages of a target go."""
    if job.dump_ir is None or len(job.files) == 1:
        return job.dump_ir
    return job.dump_ir / file_safe(target)


def _notes(job: Job, artifact: Artifact) -> Iterator[str]:
    """What the target and the compiler remarked, and baked settings that change nothing."""
    yield from artifact.warnings
    groups = artifact.manifest.groups
    used = {item.name.rpartition(":")[2] for group in groups for item in group.hyperparameters}
    set_names = {key.rpartition(":")[2] for key in job.recipe.settings} - {FROZEN}
    for name in sorted(set(map(canonical_name, set_names))):
        if name.startswith(("adam_", "cosine_")) and name not in used:
            yield f"{job.name} does not use {name}"


def _write(artifact: Artifact, target: str, file: Path, seconds: float, force: bool) -> Written:
    file.parent.mkdir(parents=True, exist_ok=True)
    artifact.save(file, force=force)
    why = why_not(artifact.manifest.targets[0])
    return Written(
        target=target,
        file=str(file),
        bytes=len(artifact.data),
        seconds=seconds,
        runs=not why,
        why=why,
    )
