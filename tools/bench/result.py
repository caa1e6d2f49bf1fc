"""What was measured: medians with quartiles, ratios, and whether the bars were met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepforge.tools.bench.case import Bar, Case

Samples = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, and the quartiles around it."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contender of a case; `unavailable` says why it did not run, and is else None.

    measures: "seconds" of a step, "cores" that it kept busy, "resident" bytes and others.
    facts: what does not vary: threads, versions, dispatches, bytes allocated.
    ratio: its seconds over those of the reference, in the rounds in which both were measured.
    """

    name: str
    unavailable: str | None = None
    measures: Mapping[str, Spread]
    facts: Mapping[str, Any]
    ratio: Spread | None = None

    def number(self, measure: str) -> float | None:
        if measure in self.measures:
            return self.measures[measure].median
        return self.facts.get(measure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`value` is what was measured of a bar, None where something is missing that it needs."""

    measure: str
    against: str | None
    most: float
    aim: float | None
    value: float | None
    met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """A case, measured; `date` is the day, as 2026-01-31."""

    name: str
    title: str
    parameters: int
    bytes_per_parameter: int | None
    reference: str
    date: str
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `--output` writes."""

    format: int = 1
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    cases: tuple[CaseResult, ...]


def spread(values: Sequence[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, lower, upper)


def rows_of(
    names: Sequence[str],
    facts: Mapping[str, Mapping[str, Any]],
    missing: Mapping[str, str],
    samples: Mapping[str, Samples],
    reference: str,
) -> tuple[Row, ...]:
    """One row for each contender, in the order of `names`."""
    base = best(samples, reference)
    return tuple(
        Row(
            name=name,
            unavailable=missing.get(name),
            measures=_measures(samples.get(name, ())),
            facts=facts.get(name, {}),
            ratio=_ratio(samples.get(name), base),
        )
        for name in names
    )


def best(samples: Mapping[str, Samples], prefix: str) -> Samples | None:
    """Of the contenders whose name begins so, the samples of the one with the least median."""
    found = [s for name, s in samples.items() if name.startswith(prefix) and s]
    return min(found, key=lambda s: spread([x["seconds"] for x in s]).median, default=None)


def _measures(samples: Samples) -> Mapping[str, Spread]:
    if not samples:
        return {}
    return {key: spread([sample[key] for sample in samples]) for key in samples[0]}


def _ratio(samples: Samples | None, base: Samples | None) -> Spread | None:
    """The ratio of the medians, and the quartiles of the ratios in each round."""
    if not samples or not base:
        return None
    mine, theirs = ([x["seconds"] for x in s] for s in (samples, base))
    rounds = spread([a / b for a, b in zip(mine, theirs, strict=True)])
    return Spread(spread(mine).median / spread(theirs).median, rounds.lower, rounds.upper)


def judge(case: Case, rows: Sequence[Row]) -> tuple[Verdict, ...]:
    return tuple(_verdict(bar, rows) for bar in case.bars)


def _verdict(bar: Bar, rows: Sequence[Row]) -> Verdict:
    ours = _numbers(bar.measure, "stepforge", rows)
    value = None if not ours else max(ours) if bar.every else min(ours)
    if value is not None and bar.against is not None:
        theirs = _numbers(bar.measure, bar.against, rows)
        value = value / min(theirs) if theirs else None
    return Verdict(
        measure=bar.measure,
        against=bar.against,
        most=bar.most,
        aim=bar.aim,
        value=value,
        met=None if value is None else value <= bar.most,
    )


def _numbers(measure: str, prefix: str, rows: Sequence[Row]) -> list[float]:
    found = [row.number(measure) for row in rows if row.name.startswith(prefix)]
    return [number for number in found if number is not None]
