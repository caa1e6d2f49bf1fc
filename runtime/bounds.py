"""What a settable hyperparameter may be, whichever way its value comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stepforge.runtime.errors import HyperparameterError, StepforgeRuntimeError
from stepforge.runtime.manifest import Group, Hyperparameter, Scalar

FLOAT32_MAX = float(np.finfo(np.float32).max)

Bounds = Mapping[str, tuple[Hyperparameter, ...]]
"""The settable hyperparameters of each host variable that holds one, by path."""


def bounds_of(groups: Sequence[Group]) -> Bounds:
    found: dict[str, tuple[Hyperparameter, ...]] = {}
    for group in groups:
        for item in group.hyperparameters:
            if item.settable and item.variable is not None:
                known = found.get(item.variable, ())
                found[item.variable] = known if item in known else (*known, item)
    return found


def check_bounds(
    where: str,
    number: Scalar,
    setting: Hyperparameter,
    error: type[StepforgeRuntimeError] = HyperparameterError,
) -> None:
    """Raises `error`, which says `where`, unless `number` is finite and within the bounds."""
    # Said so that NaN fails too.
    if isinstance(setting.value, float) and not abs(number) <= FLOAT32_MAX:
        raise error(f"{where}: expected a finite float32, got {number!r}")
    low, high = setting.minimum, setting.below
    if (low is None or number >= low) and (high is None or number < high):
        return
    limits = [] if low is None else [f"of at least {low:g}"]
    limits += [] if high is None else [f"below {high:g}"]
    raise error(f"{where}: expected a number {' and '.join(limits)}, got {number!r}")
