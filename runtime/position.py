"""Where a training run is: enough of it to go on from a checkpoint as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stepforge.runtime.errors import ArtifactFormatError, CheckpointError
from stepforge.runtime.json_reader import Reader, json_number, parse

FORMAT = 1
_MAX_METRICS = 10_000


@dataclass(frozen=True, slots=True)
class Means:
    """Sums of metrics over batches, in float64."""

    count: int = 0
    sums: tuple[tuple[str, float], ...] = ()

    def plus(self, numbers: Mapping[str, float]) -> Means:
        """With the numbers of one more batch; other names begin anew."""
        if [name for name, _ in self.sums] != list(numbers):
            return Means(1, tuple(numbers.items()))
        return Means(
            self.count + 1, tuple((name, total + numbers[name]) for name, total in self.sums)
        )

    def values(self) -> dict[str, float]:
        """The means by name."""
        return {name: total / self.count for name, total in self.sums}


@dataclass(frozen=True, slots=True)
class Counters:
    """The state's own count of what was done to it."""

    step: int
    micro_step: int = 0
    """How many micro-batches of the next step were taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a run; a new one is made after each batch."""

    counters: Counters
    epoch: int = 1
    """The epoch that the next batch belongs to, or ends."""
    batch: int = 0
    """How many batches of that epoch were used."""
    steps: int = 0
    """How many steps the run has taken."""
    window: Means = Means()
    """Since the last row of the history."""
    whole: Means = Means()
    """Since the epoch began."""
    best: float | None = None
    """What early stop waits to see bettered."""
    waited: int = 0
    """For how many epochs it has waited."""

    def after_batch(self, counters: Counters, numbers: Mapping[str, float]) -> Position:
        """After one more batch, with its metrics."""
        return replace(
            self.after_unseen(counters),
            window=self.window.plus(numbers),
            whole=self.whole.plus(numbers),
        )

    def after_unseen(self, counters: Counters) -> Position:
        """After a batch that was used, but interrupted before its metrics came back."""
        return replace(
            self,
            counters=counters,
            batch=self.batch + 1,
            steps=self.steps + (counters.step != self.counters.step),
        )

    def after_epoch(self, best: float | None, waited: int) -> Position:
        """At the beginning of the next epoch."""
        return replace(self, epoch=self.epoch + 1, batch=0, whole=Means(), best=best, waited=waited)

    def encode(self) -> str:
        """As text, exact to the last bit."""
        value = {
            "format": FORMAT,
            "step": self.counters.step,
            "micro_step": self.counters.micro_step,
            "epoch": self.epoch,
            "batch": self.batch,
            "steps": self.steps,
            "window": _encoded_means(self.window),
            "whole": _encoded_means(self.whole),
            "best": None if self.best is None else json_number(self.best),
            "waited": self.waited,
        }
        return json.dumps(value, separators=(",", ":"))

    @staticmethod
    def decode(text: str, where: str) -> Position:
        """What `encode` wrote. Raises CheckpointError."""
        try:
            return _decoded(parse(text.encode(), where))
        except ArtifactFormatError as error:
            raise CheckpointError(f"the place in the run cannot be read: {error}") from error


def _encoded_means(means: Means) -> Any:
    sums = [[name, json_number(total)] for name, total in means.sums]
    return {"count": means.count, "sums": sums}


def _decoded(reader: Reader) -> Position:
    if not reader.has("format") or reader.value["format"] != FORMAT:
        reader.fail(f"an object of format {FORMAT}")
    names = "step micro_step epoch batch steps window whole best waited"
    row = reader.fields("format", *names.split())
    return Position(
        counters=Counters(row["step"].integer(), row["micro_step"].integer()),
        epoch=row["epoch"].integer(1),
        batch=row["batch"].integer(),
        steps=row["steps"].integer(),
        window=_decoded_means(row["window"]),
        whole=_decoded_means(row["whole"]),
        best=row["best"].optional(_decoded_number),
        waited=row["waited"].integer(),
    )


def _decoded_number(reader: Reader) -> float:
    return float(reader.number())


def _decoded_means(reader: Reader) -> Means:
    row = reader.fields("count", "sums")
    sums = row["sums"].each(_MAX_METRICS, _decoded_sum)
    count = row["count"].integer()
    if sums and not count:
        reader.fail("a count of what was summed")
    return Means(count, sums)


def _decoded_sum(reader: Reader) -> tuple[str, float]:
    pair = reader.items(2)
    if len(pair) != 2:
        reader.fail("[name, number]")
    return pair[0].text(), _decoded_number(pair[1])
