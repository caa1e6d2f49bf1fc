"""`stepforge run`: step an artifact from files, without writing a program."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import click

from stepforge.runtime.container import read_artifact
from stepforge.runtime.loading import load
from stepforge.runtime.nan_logger import NanLogger
from stepforge.runtime.step import CompiledStep
from stepforge.tools.arrays import Arrays, read_arrays
from stepforge.tools.benchmark import is_training
from stepforge.tools.errors import ToolError
from stepforge.tools.recipe import parse_settings
from stepforge.tools.verb import (
    Verb,
    duration,
    json_option,
    log,
    print_json,
    public_key_option,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was done, as `--json` prints it."""

    file: str
    device: str
    steps: int
    global_step: int
    median_seconds: float
    saved: str


@click.command("run", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--gradients",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One array for each parameter, in .npz or .safetensors; used in every step.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The checkpoint to go on from, and to write at the end.",
)
@click.option(
    "--params",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="First values of the parameters, where there is no checkpoint yet.",
)
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE", help="Write there instead."
)
@click.option("--steps", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A settable value.")
@click.option("--function", metavar="NAME", help="The entry point, where there are several.")
@click.option("--device", metavar="DEVICE", help="local-sync, local-task, vulkan, cuda, ...")
@click.option(
    "--isolate",
    is_flag=True,
    help="Try the artifact in a process of its own first: code that crashes does so there.",
)
@public_key_option
@json_option
def run_command(
    file: Path,
    gradients: Path | None,
    state: Path | None,
    params: Path | None,
    save: Path | None,
    steps: int,
    assignments: tuple[str, ...],
    function: str | None,
    device: str | None,
    isolate: bool,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Step the artifact FILE with the same gradients again and again, and save the state.

    --gradients and --state are needed. Whole training steps are run by a program of a few lines,
    with stepforge.runtime.Trainer.
    """
    artifact = read_artifact(file, public_key=public_key)
    if is_training(artifact.manifest):
        raise ToolError(
            f"{file} holds a whole training step, which takes batches and no gradients: train it "
            "with stepforge.runtime.Trainer, time it with `stepforge bench`"
        )
    if gradients is None or state is None:
        missing = "--state" if gradients is not None else "--gradients"
        raise click.UsageError(f"Missing option '{missing}'.")
    arrays = read_arrays(gradients)
    settings = parse_settings(assignments)
    target = save or state
    with load(artifact, device=device, isolate=isolate) as optimizer:
        _prepare(optimizer, state, params)
        for name, value in settings.items():
            optimizer.hyperparameters[name] = value
        seconds = _step(optimizer, arrays, steps, function)
        optimizer.save(target)
        ran = Ran(
            file=str(file),
            device=optimizer.device,
            steps=steps,
            global_step=optimizer.global_step,
            median_seconds=statistics.median(seconds),
            saved=str(target),
        )
    if as_json:
        print_json(ran)
        return
    click.echo(
        f"{ran.steps} steps on {ran.device}, {duration(ran.median_seconds)} each; "
        f"global step {ran.global_step}, saved to {ran.saved}"
    )


def _prepare(optimizer: CompiledStep, state: Path, params: Path | None) -> None:
    if state.exists():
        if params is not None:
            raise ToolError(f"{state} exists and has the parameters; leave --params out")
        optimizer.restore(state)
        return
    if params is None:
        raise ToolError(f"{state} does not exist: give --params to start from")
    optimizer.initialize(_only_known(read_arrays(params), optimizer))


def _only_known(arrays: Arrays, optimizer: CompiledStep) -> Arrays:
    """A model's file may hold what the optimizer does not update, such as integer buffers."""
    if optimizer.any_length:
        return {name: value for name, value in arrays.items() if value.dtype.kind not in "biu"}
    return {name: value for name, value in arrays.items() if name in optimizer.parameters}


def _step(
    optimizer: CompiledStep, gradients: Arrays, steps: int, function: str | None
) -> list[float]:
    if optimizer.manifest.nan_tracing:
        optimizer.attach_tracer(NanLogger(lambda report: log(str(report))))
    seconds: list[float] = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.step(gradients, function=function)
        seconds.append(time.perf_counter() - start)
    return seconds
