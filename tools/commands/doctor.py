"""`stepforge doctor`: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import click

from stepforge.runtime.devices import Availability, probe_all
from stepforge.tools.machine import Package, has_compiler, packages, problems, target_facts
from stepforge.tools.verb import Verb, json_option, print_json, table


@click.command("doctor", cls=Verb)
@json_option
def doctor_command(as_json: bool) -> None:
    """Say what this machine can compile and run, and why not.

    A driver that is not there is no failure: the exit code is 0 as long as the command can tell.
    """
    found, drivers = packages(), probe_all()
    said = problems(found, drivers)
    if as_json:
        machine = {"python": platform.python_version(), "platform": platform.platform()}
        compiles = _compiles()
        facts = {**machine, "packages": found, "drivers": drivers, "compiles": compiles}
        print_json({**facts, "problems": said})
        return
    click.echo("\n\n".join(_sections(found, drivers, said)))


def _compiles() -> tuple[str, ...]:
    if not has_compiler():
        return ()
    return tuple(target.name for target in target_facts() if target.compiles)


def _sections(
    found: tuple[Package, ...], drivers: tuple[Availability, ...], said: tuple[str, ...]
) -> Iterator[str]:
    rows = [("python", platform.python_version()), ("platform", platform.platform())]
    rows += [(package.name, package.version or "not installed") for package in found]
    yield table(rows)
    yield table([_driver(driver) for driver in drivers], ("driver", "runs", "devices"))
    yield "compiles for: " + _backends(_compiles())
    if said:
        yield "what is missing:\n" + "\n".join(f"- {line}" for line in said)


def _backends(names: tuple[str, ...]) -> str:
    backends = dict.fromkeys(name.partition(":")[0] for name in names)
    return ", ".join(backends) + f" ({len(names)} targets)" if names else "nothing"


def _driver(driver: Availability) -> tuple[str, ...]:
    return driver.driver, "yes" if driver.available else "no", ", ".join(driver.names)
