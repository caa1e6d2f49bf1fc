"""`stepforge targets`: what can be compiled for, and what of it runs here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from stepforge.tools.machine import TargetFacts, target_facts
from stepforge.tools.verb import Verb, json_option, print_json, table


@click.command("targets", cls=Verb)
@json_option
def targets_command(as_json: bool) -> None:
    """List the targets, and whether this machine can run each.

    Loading an artifact asks the processor or the device again: the runtime refuses code for another
    one, and a GPU is tested with a small computation first.
    """
    facts = target_facts()
    if as_json:
        print_json(facts)
        return
    click.echo(table([_row(target) for target in facts], ("target", "runs here", "dtypes", "for")))
    click.echo("\n" + "\n".join(_footnotes(facts)))


def _row(target: TargetFacts) -> tuple[str, ...]:
    runs = ("yes" if target.runs else "no") if target.compiles else "cannot be compiled"
    return target.name, runs, " ".join(target.dtypes), target.hardware


def _footnotes(facts: Sequence[TargetFacts]) -> Iterator[str]:
    """Each reason once, with the targets that it is about."""
    reasons: dict[str, list[str]] = {}
    for target in facts:
        if not target.runs:
            reasons.setdefault(target.why, []).append(target.name)
    for reason, names in reasons.items():
        yield f"{', '.join(names)}: {reason}"
