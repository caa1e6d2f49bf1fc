"""`stepforge bench`: how long a step takes here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from stepforge.frontend import KNOWN_OPTIMIZERS
from stepforge.runtime.any_length import define
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.manifest import Manifest
from stepforge.tools.bench.measure import Settings
from stepforge.tools.bench.run import (
    Outputs,
    chosen,
    list_cases,
    measure_all,
    parse_pythons,
    show,
)
from stepforge.tools.benchmark import (
    Timing,
    has_torch,
    is_adam,
    measure,
    on_devices,
    torch_adamw,
)
from stepforge.tools.hyperparameters import describe
from stepforge.tools.machine import devices_for
from stepforge.tools.verb import Verb, duration, json_option, print_json, progress, table

SIZES = (64, 2**16, 2**20)
COMPILED = ("optimizer", "sizes", "target")
# Options that have no say beside --case, and those that have none without it.
NOT_OF_CASES = ("file", "optimizer", "sizes")
OF_CASES = ("pythons", "output", "plot", "markdown")
A_PATH = click.Path(path_type=Path, dir_okay=False)


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
@click.option("--case", "cases", multiple=True, metavar="NAME", help="A built-in case, or all.")
@click.option("--list", "listed", is_flag=True, help="List the built-in cases.")
@click.option("--from", "source", type=A_PATH, help="Show a report that --output wrote.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="FAMILY=PATH",
    help="The interpreter that has torch, jax or numpy; by default this one.",
)
@click.option("--output", type=A_PATH, help="Write or update a report of the cases, as JSON.")
@click.option("--plot", type=A_PATH, help="Draw the cases into a .png or .svg.")
@click.option("--markdown", type=A_PATH, help="Update the tables in a page.")
@json_option
@click.pass_context
def bench_command(
    context: click.Context,
    file: Path | None,
    optimizer: str,
    sizes: tuple[int, ...],
    target: str,
    devices: tuple[str, ...],
    rounds: int,
    cases: tuple[str, ...],
    listed: bool,
    source: Path | None,
    pythons: tuple[str, ...],
    output: Path | None,
    plot: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Measure the time of one step of the artifact FILE, or of an optimizer compiled for it.

    Gradients lie where the step reads them, so that nothing is copied. Of a training artifact a
    call of train_step is timed, with a random batch of the declared shape, whole numbers 0 or 1,
    which is copied in. Contenders take turns, and the median counts. Where torch is installed, its
    fused AdamW joins Adam and AdamW, with all its threads and with one; the last column is torch's
    better median over that of the row. An artifact of any length is measured at each --size.

    With --case, what docs/benchmarks.md tells of is measured instead: stepforge beside torch,
    optax, NumPy and the memory limit, each in a process of its own. Its bars are printed, and
    change no exit code.
    """
    if listed:
        click.echo(list_cases())
        return
    if cases or source is not None:
        _refuse(context, NOT_OF_CASES, "a built-in case says what to measure")
        settings = Settings(
            rounds=rounds, target=target, devices=devices, pythons=parse_pythons(pythons)
        )
        outputs = Outputs(json=as_json, output=output, plot=plot, markdown=markdown)
        if source is not None:
            show(source, outputs)
        else:
            measure_all(chosen(cases), settings, outputs)
        return
    _refuse(context, OF_CASES, "only the built-in cases of --case have it")
    timings: list[Timing] = []
    for artifact, manifest in _measured(context, file, optimizer, sizes or SIZES, target):
        elements = _elements(manifest)
        progress(f"measuring {elements} elements")
        with on_devices(artifact, devices or devices_for(manifest), manifest) as contenders:
            if has_torch() and is_adam(manifest):
                contenders.extend(torch_adamw(manifest))
            timings.extend(measure(contenders, elements, rounds))
        progress("")
    if as_json:
        print_json(timings)
        return
    headings = ("elements", "on", "median", "fastest", "slowest", "torch / it")
    columns = len(headings) if any(t.torch_ratio is not None for t in timings) else -1
    click.echo(table([_row(timing)[:columns] for timing in timings], headings[:columns]))


def _given(context: click.Context, names: Sequence[str]) -> list[str]:
    return [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]


def _refuse(context: click.Context, names: Sequence[str], why: str) -> None:
    """Raises UsageError for options that would have no say."""
    given = _given(context, names)
    if given:
        named = ", ".join(name if name.startswith("-") else name.upper() for name in given)
        raise click.UsageError(f"{named}: {why}; leave it out", context)


def _refuse_compiling(context: click.Context, file: Path, names: Sequence[str]) -> None:
    """Raises UsageError for an option that says what to compile, beside a file."""
    given = _given(context, names)
    if given:
        raise click.UsageError(
            f"{', '.join(given)} {'says' if len(given) == 1 else 'say'} what to compile, and "
            f"{file} is compiled: give FILE alone, or leave it out",
            context,
        )


def _measured(
    context: click.Context,
    file: Path | None,
    optimizer: str,
    sizes: tuple[int, ...],
    target: str,
) -> Iterator[tuple[Artifact, Manifest]]:
    """Each artifact, and the manifest that it has for what is measured."""
    if file is None:
        for artifact in _compiled(optimizer, sizes, target):
            yield artifact, artifact.manifest
        return
    artifact = read_artifact(file)
    if artifact.manifest.length is None:
        _refuse_compiling(context, file, COMPILED)
        yield artifact, artifact.manifest
        return
    _refuse_compiling(context, file, [name for name in COMPILED if name != "sizes"])
    for size in sizes:
        yield artifact, define(artifact.manifest, {"/w": (size,)})


def _compiled(optimizer: str, sizes: tuple[int, ...], target: str) -> Iterator[Artifact]:
    from stepforge.frontend import compile_optimizer  # noqa: PLC0415 - the compiler is optional

    for size in sizes:
        progress(f"compiling {optimizer} over {size} elements for {target}")
        described = describe(optimizer, {}, ())
        made = compile_optimizer(
            described.optimizer, {"w": (size,)}, target=target, context=described.context
        )
        yield read_artifact(made.data)


def _elements(manifest: Manifest) -> int:
    return sum(math.prod(v.shape) for v in manifest.variables if v.role == "parameter")


def _row(timing: Timing) -> tuple[str, ...]:
    seconds = (timing.median, timing.fastest, timing.slowest)
    ratio = "" if timing.torch_ratio is None else f"{timing.torch_ratio:.2f}"
    return str(timing.elements), timing.name, *map(duration, seconds), ratio
