"""What a `Trainer` tells its callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class StepEnd:
    """A step was taken: an update, by one batch or by the last of several micro-batches."""

    step: int
    """The global step, from 1."""
    epoch: int
    """From 1."""
    metrics: Mapping[str, Any]
    """What `CompiledStep.train_step` returned for the batch, arrays too."""


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """All batches of an epoch were used; none is sent for an epoch that the run's end cuts off."""

    step: int
    """The last global step."""
    epoch: int
    metrics: Mapping[str, float]
    """Means over the epoch's batches, and `validation/loss` ... over the validation's."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint was written; none is sent for that of an interrupt."""

    step: int
    path: Path


Event: TypeAlias = StepEnd | EpochEnd | Saved
