"""The same step in float32 NumPy: what a careful float32 program makes of the formula.

The order of operations is the artifact's; every scalar is computed in float64 and rounded once.
It is the yardstick of the 1,000-step bar (an artifact may err 1.25 times as much), and says
what overflow gives where the exact formula has left the range of float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import formulas
from .schedule import base_rate
from .settings import Settings

Float32 = NDArray[Any]
"""Always float32; NumPy's types lose track of it at the first scalar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update32:
    """The new state of one variable in float32."""

    parameter: Float32
    slots: dict[str, Float32]
    step: Float32


def step(
    settings: Settings,
    parameter: ArrayLike,
    gradient: ArrayLike,
    slots: Mapping[str, ArrayLike],
    t: int,
    *,
    learning_rate: float | None = None,
) -> Update32:
    """Step `t` (from 1) of one variable in float32; arguments as `formulas.step`."""
    p = np.asarray(parameter, np.float32)
    g = np.asarray(gradient, np.float32)
    state = {name: np.asarray(slots[name], np.float32) for name in settings.slots}
    lr = base_rate(settings, t) if learning_rate is None else learning_rate
    if settings.clip_nan and settings.optimizer != "sgd" and not np.isfinite(g).all():
        g = np.zeros_like(g)
    with np.errstate(all="ignore"):
        taken, new = _step(settings, p, g, state, t, lr)
        if settings.optimizer != "sgd" and t <= settings.backoff_steps:
            taken = np.zeros_like(p)
        updated = p - taken
        if settings.clip_nan:
            updated = np.where(np.isfinite(updated), updated, p)
    return Update32(parameter=updated, slots=new, step=taken)


def _step(
    settings: Settings, p: Float32, g: Float32, slots: Mapping[str, Float32], t: int, lr: float
) -> tuple[Float32, dict[str, Float32]]:
    if settings.optimizer == "sgd":
        rate = np.float32(lr / np.sqrt(float(t)) if settings.decay else lr)
        return _clip(settings, rate * g), {}
    b1, b2 = np.float32(settings.beta1), np.float32(settings.beta2)
    one_minus_b1 = np.float32(1.0 - settings.beta1)
    one_minus_b2 = np.float32(1.0 - settings.beta2)
    epsilon = np.float32(settings.epsilon)
    new: dict[str, Float32] = {}
    m, rate = g, np.float32(lr)
    if settings.has_first_moment:
        m = b1 * slots["m"] + one_minus_b1 * g
        rate = np.float32(lr / formulas.bias_correction(settings.beta1, t))
        new["m"] = m
    if settings.optimizer == "adamax":
        v = np.maximum(b2 * slots["v"], np.abs(g))
        denominator = v + epsilon
    else:
        v = b2 * slots["v"] + one_minus_b2 * (g * g)
        scale = np.float32(formulas.bias_correction(settings.beta2, t) ** -0.5)
        denominator = np.sqrt(v) * scale + epsilon
    new["v"] = v
    taken = rate * m / denominator
    if settings.decays_weights:
        taken = taken + np.float32(lr * settings.weight_decay) * p
    return _clip(settings, taken), new


def _clip(settings: Settings, taken: Float32) -> Float32:
    if settings.clip_step_by_value <= 0.0:
        return taken
    limit = np.float32(settings.clip_step_by_value)
    return np.clip(taken, -limit, limit)
