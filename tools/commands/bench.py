"""`stepforge bench`: how long a step takes here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click

from stepforge.frontend import KNOWN_OPTIMIZERS
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.tools.benchmark import Timing, has_torch, measure, on_devices, torch_adamw
from stepforge.tools.hyperparameters import describe
from stepforge.tools.machine import devices_for
from stepforge.tools.verb import Verb, duration, json_option, print_json, progress, table

SIZES = (64, 2**16, 2**20)


@click.command("bench", cls=Verb)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--optimizer",
    type=click.Choice(list(KNOWN_OPTIMIZERS)),
    default="adamw",
    show_default=True,
    help="What to compile, without FILE.",
)
@click.option(
    "--size", "sizes", multiple=True, type=click.IntRange(min=1), help="Elements of the parameter."
)
@click.option("--target", default="cpu", show_default=True, metavar="TARGET")
@click.option("--device", "devices", multiple=True, metavar="DEVICE", help="By default all.")
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@json_option
def bench_command(
    file: Path | None,
    optimizer: str,
    sizes: tuple[int, ...],
    target: str,
    devices: tuple[str, ...],
    rounds: int,
    as_json: bool,
) -> None:
    """Measure the time of one step of the artifact FILE, or of an optimizer compiled for it.

    Gradients lie where the step reads them, so that nothing is copied. Contenders take turns, and
    the median counts. Where torch is installed, its fused AdamW joins in.
    """
    timings: list[Timing] = []
    for artifact in _artifacts(file, optimizer, sizes or SIZES, target):
        elements = _elements(artifact)
        progress(f"measuring {elements} elements")
        with on_devices(artifact, devices or devices_for(artifact.manifest)) as contenders:
            if has_torch() and artifact.manifest.formula.startswith("adamw"):
                contenders.append(torch_adamw(artifact.manifest))
            timings.extend(measure(contenders, elements, rounds))
        progress("")
    if as_json:
        print_json(timings)
        return
    rows = [_row(timing) for timing in timings]
    click.echo(table(rows, ("elements", "on", "median", "fastest", "slowest")))


def _artifacts(
    file: Path | None, optimizer: str, sizes: tuple[int, ...], target: str
) -> Iterator[Artifact]:
    if file is not None:
        yield read_artifact(file)
        return
    from stepforge.frontend import compile_optimizer  # noqa: PLC0415 - the compiler is optional

    for size in sizes:
        progress(f"compiling {optimizer} over {size} elements for {target}")
        described = describe(optimizer, {}, ())
        made = compile_optimizer(
            described.optimizer, {"w": (size,)}, target=target, context=described.context
        )
        yield read_artifact(made.data)


def _elements(artifact: Artifact) -> int:
    variables = artifact.manifest.variables
    return sum(math.prod(v.shape) for v in variables if v.role == "parameter")


def _row(timing: Timing) -> tuple[str, ...]:
    seconds = (timing.median, timing.fastest, timing.slowest)
    return str(timing.elements), timing.name, *map(duration, seconds)
