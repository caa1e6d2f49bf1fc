"""`stepforge targets`: what can be compiled for, and what of it runs here."""

from __future__ import annotations

from collections.abc import Mapping

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
    click.echo("\nwhat is needed to run it:\n" + _notes({t.name: t.needs for t in facts}))
    click.echo("\nwhy it does not run here:\n" + _notes({t.name: t.why for t in facts}))


def _row(target: TargetFacts) -> tuple[str, ...]:
    runs = ("yes" if target.runs else "no") if target.compiles else "cannot be compiled"
    return target.name, runs, " ".join(target.dtypes), target.hardware


def _notes(said: Mapping[str, str]) -> str:
    """Each text once, after the names of the targets that it is about."""
    names: dict[str, list[str]] = {}
    for name, text in said.items():
        if text:
            names.setdefault(text, []).append(name)
    return "\n".join(f"  {', '.join(about)}: {text}" for text, about in names.items())
