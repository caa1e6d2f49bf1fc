"""`stepforge verify`: an artifact against the NumPy evaluator, on each device here."""

from __future__ import annotations

from pathlib import Path

import click

from stepforge.runtime.container import read_artifact
from stepforge.tools.errors import CheckFailedError
from stepforge.tools.machine import devices_for
from stepforge.tools.verb import (
    Verb,
    json_option,
    print_json,
    progress,
    public_key_option,
    table,
)
from stepforge.tools.verification import Verdict, verify


@click.command("verify", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--device", "devices", multiple=True, metavar="DEVICE", help="By default all that can run it."
)
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--function", metavar="NAME", help="The entry point, where there are several.")
@public_key_option
@json_option
def verify_command(
    file: Path,
    devices: tuple[str, ...],
    steps: int,
    seed: int,
    function: str | None,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Compare the artifact FILE with its own graph, evaluated in float64.

    Each step starts from the device's state. For every element there is a bound: what the rounding
    of each operation may add up to, as the device's specification has it. The exit code is 1 when
    an element exceeds its bound. Some have none that is finite, as behind a tie of a max pool: how
    many is said. A step with phases is taken as often again in them, and an artifact of any length
    takes the steps at each of several lengths.
    """
    artifact = read_artifact(file, public_key=public_key)
    verdicts: list[Verdict] = []
    for device in devices or devices_for(artifact.manifest):
        progress(f"{steps} steps on {device}")
        verdicts.append(verify(artifact, device, steps=steps, seed=seed, function=function))
        progress("")
    if as_json:
        print_json({"file": str(file), "devices": verdicts})
    else:
        click.echo("\n\n".join(_text(file, verdict) for verdict in verdicts))
    failed = [verdict.device for verdict in verdicts if not verdict.passed]
    if failed:
        raise CheckFailedError(f"{file} is further off than rounding explains: {', '.join(failed)}")


def _text(file: Path, verdict: Verdict) -> str:
    rows = [
        (x.kind, str(x.elements), f"{x.ulp:.2f}", f"{x.of_bound:.1%}", x.worst)
        for x in verdict.deviations
    ]
    headings = ("state", "elements", "ULP", "of its bound", "worst element")
    title = f"{file} on {verdict.device}: {verdict.steps} steps, seed {verdict.seed}"
    result = "ok" if verdict.passed else "FAILED"
    notes = [
        f"\nnot judged: {x.unbounded} of the {x.elements} of {x.kind}, which have no finite bound"
        for x in verdict.deviations
        if x.unbounded
    ]
    return f"{title}: {result}\n{table(rows, headings)}{''.join(notes)}"
