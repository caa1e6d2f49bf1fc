"""`EarlyStop`: ending a run when a metric gets no better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stepforge.runtime.errors import InputError
from stepforge.runtime.names import nearest


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """Ends the run after `patience` epochs in a row in which `metric` got no better.

    metric: a name in `EpochEnd.metrics`, as "validation/loss"; mode: "min" where less is better,
    else "max"; min_delta: better means by more than this. NaN is never better.
    restore_best: False leaves the state as the last step made it. True makes it, when the run ends
    in order (early or not), that after the best epoch: parameters, slots and counters. A copy of
    it is kept on the host meanwhile, and in `best.safetensors` beside the checkpoints.
    Raises InputError for a patience below 1, another mode, or a min_delta that is negative or NaN.
    """

    metric: str
    patience: int
    mode: Literal["min", "max"] = "min"
    min_delta: float = 0.0
    restore_best: bool = False

    def __post_init__(self) -> None:
        patience: Any = self.patience
        delta: Any = self.min_delta
        if type(patience) is not int or patience < 1:
            raise InputError(f"EarlyStop: expected patience to be at least 1, got {patience!r}")
        if self.mode not in ("min", "max"):
            raise InputError(f"EarlyStop: expected mode 'min' or 'max', got {self.mode!r}")
        if not isinstance(delta, (int, float)) or not 0 <= delta < math.inf:
            raise InputError(f"EarlyStop: expected min_delta from 0 on, got {delta!r}")

    def after_epoch(
        self, best: float | None, waited: int, metrics: Mapping[str, float]
    ) -> tuple[float | None, int]:
        """The best value, and for how many epochs there was no better one.

        Raises InputError when there is no such metric.
        """
        if self.metric not in metrics:
            raise InputError(
                f"EarlyStop: there is no metric {self.metric!r}{nearest(self.metric, metrics)}"
            )
        value = metrics[self.metric]
        if self.is_better(value, best):
            return value, 0
        return best, waited + 1

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best one before; None: there was none."""
        if best is None:
            return not math.isnan(value)
        gain = best - value if self.mode == "min" else value - best
        return gain > self.min_delta
