"""The work of `compile-optimizer`: all targets are compiled and checked before any is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepforge.frontend.hyperparameters import canonical_name
from stepforge.tools.errors import ToolError
from stepforge.tools.hyperparameters import describe
from stepforge.tools.machine import why_not
from stepforge.tools.outputs import file_safe
from stepforge.tools.parameters import choose, read_parameters
from stepforge.tools.recipe import Recipe
from stepforge.tools.verb import duration, log, progress

if TYPE_CHECKING:
    from stepforge.frontend import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`name`: of the optimizer. `files`: target -> where its artifact goes. `isolate`: run the
    compiler in a process of its own, for `timeout` seconds at most."""

    name: str
    recipe: Recipe
    files: Mapping[str, Path]
    loss_dtype: str
    dump_ir: Path | None
    force: bool
    isolate: bool = False
    timeout: float | None = None


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
    specs = _specs(job.recipe)
    seconds: dict[str, float] = {}
    made: dict[str, Artifact] = {}
    for target in job.files:
        progress(f"compiling {job.name} for {target}: {len(specs)} parameters")
        start = time.perf_counter()
        made[target] = _compile(job, target, specs)
        seconds[target] = time.perf_counter() - start
        progress("")
        log(f"compiled {job.name} for {target} in {duration(seconds[target])}")
        for note in _notes(job, made[target]):
            log(f"note: {note}")
    return tuple(
        _write(made[target], target, file, seconds[target], job.force)
        for target, file in job.files.items()
    )


def _specs(recipe: Recipe) -> Mapping[str, Any]:
    if recipe.params is None:
        raise ToolError("which parameters? give --params FILE, or params in the recipe")
    if isinstance(recipe.params, Path):
        found = read_parameters(recipe.params, recipe.include, recipe.exclude)
    else:
        found = choose(recipe.params, "the recipe", recipe.include, recipe.exclude)
    for name, dtype in found.left_out:
        log(f"left out {name} ({dtype}): optimizers update floating-point tensors")
    return found.specs


def _compile(job: Job, target: str, specs: Mapping[str, Any]) -> Artifact:
    from stepforge.frontend import compile_optimizer  # noqa: PLC0415 - the compiler is optional

    # Compiling creates variables in the Context, so that each target has its own.
    described = describe(job.name, job.recipe.settings, job.recipe.settable)
    folder = job.dump_ir
    if folder is not None and len(job.files) > 1:
        folder = folder / file_safe(target)
    return compile_optimizer(
        described.optimizer,
        specs,
        target=target,
        context=described.context,
        loss_dtype=job.loss_dtype,
        dump_ir=folder,
        isolate=job.isolate,
        timeout=job.timeout,
    )


def _notes(job: Job, artifact: Artifact) -> Iterator[str]:
    """What the target and the compiler remarked, and baked settings that change nothing."""
    yield from artifact.warnings
    groups = artifact.manifest.groups
    used = {item.name for group in groups for item in group.hyperparameters}
    for name in sorted(map(canonical_name, job.recipe.settings)):
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
