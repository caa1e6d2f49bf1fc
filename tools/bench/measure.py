"""Measuring a case: everyone is made ready and warmed up, then takes turns, round by round."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stepforge.tools.bench.case import NOTHING, Case, Contender
from stepforge.tools.bench.processes import (
    Contending,
    Resident,
    UnavailableError,
    Whole,
    run_once,
)
from stepforge.tools.bench.result import CaseResult, judge, rows_of

# The prepared artifact's facts that are those of its contenders.
COSTS = (
    "dispatches",
    "transient_bytes_per_parameter",
    "state_bytes_per_parameter",
    "artifact_bytes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to measure. pythons: the interpreter of a family, by default this one.

    devices: those of stepforge, by default all that run `target`. warm, sample: seconds.
    """

    rounds: int = 20
    target: str = "cpu"
    devices: tuple[str, ...] = ()
    pythons: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    warm: float = 0.3
    sample: float = 0.05

    def python(self, family: str) -> str:
        return self.pythons.get(family, sys.executable)


def measure_case(case: Case, settings: Settings, tell: Callable[[str], object]) -> CaseResult:
    """Contenders that cannot run have a row that says why."""
    with TemporaryDirectory(prefix="stepforge-") as folder, ExitStack() as stack:
        work = _work(case, settings, Path(folder))
        prepared, failed = _prepare(case, settings, work, tell)
        names, facts, missing = list[str](), dict[str, Any](), dict[str, str]()
        running = dict[str, Contending]()
        devices = settings.devices or tuple(prepared.get("devices", ()))
        for contender, options in _expanded(case.contenders, devices):
            names.append(contender.name)
            if failed and contender.each_device:
                missing[contender.name] = failed
                continue
            tell(f"{case.name}: {contender.name} gets ready")
            try:
                one = _start(contender, settings, {**work, **options})
                stack.callback(one.close)
                found = one.start()
                one.warm(settings.warm, settings.sample)
            except UnavailableError as error:
                missing[contender.name] = str(error)
                continue
            running[contender.name] = one
            costs = prepared if contender.script.startswith("stepforge") else NOTHING
            facts[contender.name] = {**{k: costs[k] for k in COSTS if k in costs}, **found}
        rounds = case.samples or settings.rounds
        samples = _take_turns(case.name, running, min(rounds, settings.rounds), missing, tell)
    rows = rows_of(names, facts, missing, samples, case.reference)
    return CaseResult(
        name=case.name,
        title=case.title,
        parameters=case.parameters or prepared.get("parameters", 0),
        bytes_per_parameter=case.bytes_per_parameter,
        reference=case.reference,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        rows=rows,
        verdicts=judge(case, rows),
    )


def _work(case: Case, settings: Settings, folder: Path) -> dict[str, Any]:
    """What every contender is told."""
    return {
        "names": list(case.shapes),
        "shapes": list(case.shapes.values()),
        "settings": dict(case.settings),
        "traffic": None if case.traffic is None else dict(case.traffic),
        "target": settings.target,
        "artifact": str(folder / "artifact.vmfb"),
    }


def _prepare(
    case: Case, settings: Settings, work: dict[str, Any], tell: Callable[[str], object]
) -> tuple[Mapping[str, Any], str]:
    """Facts about the artifact that stepforge's contenders load, or why there is none."""
    if case.prepare is None:
        return {}, ""
    tell(f"{case.name}: compiling")
    try:
        found = run_once(settings.python("stepforge"), case.prepare, work)
    except UnavailableError as error:
        return {}, str(error)
    work.update(found.get("work", {}))
    return found, ""


def _expanded(
    contenders: Sequence[Contender], devices: Sequence[str]
) -> Iterator[tuple[Contender, Mapping[str, Any]]]:
    """Each contender with its options, those of each device apart."""
    for contender in contenders:
        if not contender.each_device or not devices:
            yield contender, contender.options
            continue
        for device in devices:
            named = replace(contender, name=f"{contender.name} {device}")
            yield named, {**contender.options, "device": device}


def _start(contender: Contender, settings: Settings, work: Mapping[str, Any]) -> Contending:
    kind = Whole if contender.whole else Resident
    return kind(settings.python(contender.family), contender.script, work)


def _take_turns(
    name: str,
    running: Mapping[str, Contending],
    rounds: int,
    missing: dict[str, str],
    tell: Callable[[str], object],
) -> dict[str, list[Mapping[str, float]]]:
    """A sample of each in every round; one that ends has no samples at all, and is missing."""
    samples: dict[str, list[Mapping[str, float]]] = {contender: [] for contender in running}
    for number in range(rounds):
        tell(f"{name}: round {number + 1} of {rounds}")
        for contender in list(samples):
            try:
                samples[contender].append(running[contender].sample())
            except UnavailableError as error:
                missing[contender] = str(error)
                del samples[contender]
    return samples
