"""One optimizer step in float64 NumPy: the reference of every bar.

Why float64 is exact enough to measure float32 by: no operation below loses more than 2^-53
relative to its operands' magnitudes, except `1 - beta**t`, which `-expm1(t * log(beta))` gets to
6e-14 (the rounding of beta = 0.999 to float64). Errors are thus below 2e-13, and one float32 ULP
is 1.2e-7: two millionths of an ULP, with cancellation in m' weighted as the bars weight it.
`test_oracle_formulas.py` holds this against the 50-digit twin.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .schedule import base_rate
from .settings import Settings

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The new state of one variable and what led to it; all arrays of the variable's shape."""

    parameter: Float64
    slots: dict[str, Float64]
    gradient: Float64
    """After clip_nan's zeroing."""
    rate: float
    """lr / (1 - beta1**t), or SGD's lr / sqrt(t)."""
    root_scale: float
    """1 / sqrt(1 - beta2**t); 1 where the formula has none."""
    direction: Float64
    """q: the scaled step before weight decay and clipping."""
    decay: Float64
    """lr * weight_decay * p."""
    step: Float64
    """What is subtracted from the parameter, after clipping; 0 under backoff."""
    moment_scale: Float64
    """|beta1 m| + |(1 - beta1) g|: the scale of rounding in m' (kappa = this / |m'|)."""
    denominator: Float64


def bias_correction(beta: float, t: int) -> float:
    """1 - beta**t without cancellation, for any t >= 1."""
    return 1.0 if beta == 0.0 else -math.expm1(t * math.log(beta))


def clean_gradient(settings: Settings, gradient: Float64) -> Float64:
    """clip_nan on a whole tensor. SGD has no such rule in the seed: it keeps old elements."""
    if not settings.clip_nan or settings.optimizer == "sgd":
        return gradient
    return gradient if np.isfinite(gradient).all() else np.zeros_like(gradient)


def step(
    settings: Settings,
    parameter: ArrayLike,
    gradient: ArrayLike,
    slots: Mapping[str, ArrayLike],
    t: int,
    *,
    learning_rate: float | None = None,
    schedule_step: int | None = None,
) -> Update:
    """Step `t` (from 1) of one variable in float64.

    `learning_rate` replaces the base rate (a rate changed mid-run); `schedule_step` is the
    schedule's own counter where it differs from `t`.
    """
    p = np.asarray(parameter, np.float64)
    g = clean_gradient(settings, np.asarray(gradient, np.float64))
    state = {name: np.asarray(slots[name], np.float64) for name in settings.slots}
    lr = learning_rate
    if lr is None:
        lr = base_rate(settings, t if schedule_step is None else schedule_step)
    with np.errstate(all="ignore"):
        if settings.optimizer == "sgd":
            return _take(settings, p, _sgd(settings, p, g, t, lr), t)
        return _take(settings, p, _adam_family(settings, p, g, state, t, lr), t)


def _sgd(settings: Settings, p: Float64, g: Float64, t: int, lr: float) -> Update:
    rate = lr / math.sqrt(t) if settings.decay else lr
    return Update(
        parameter=p,
        slots={},
        gradient=g,
        rate=rate,
        root_scale=1.0,
        direction=rate * g,
        decay=np.zeros_like(p),
        step=rate * g,
        moment_scale=np.abs(g),
        denominator=np.ones_like(p),
    )


def _adam_family(
    settings: Settings, p: Float64, g: Float64, slots: Mapping[str, Float64], t: int, lr: float
) -> Update:
    """Adam, AdamW, Adamax (max in place of the second moment), RMSProp (no first moment)."""
    b1, b2 = settings.beta1, settings.beta2
    m, scale, rate = g, np.abs(g), lr
    if settings.has_first_moment:
        m = b1 * slots["m"] + (1.0 - b1) * g
        scale = np.abs(b1 * slots["m"]) + np.abs((1.0 - b1) * g)
        rate = lr / bias_correction(b1, t)
    if settings.optimizer == "adamax":
        v = np.maximum(b2 * slots["v"], np.abs(g))
        root_scale = 1.0
        denominator = v + settings.epsilon
    else:
        v = b2 * slots["v"] + (1.0 - b2) * g * g
        root_scale = 1.0 / math.sqrt(bias_correction(b2, t))
        denominator = np.sqrt(v) * root_scale + settings.epsilon
    direction = rate * m / denominator
    decay = lr * settings.weight_decay * p if settings.decays_weights else np.zeros_like(p)
    return Update(
        parameter=p,
        slots={"m": m, "v": v} if settings.has_first_moment else {"v": v},
        gradient=g,
        rate=rate,
        root_scale=root_scale,
        direction=direction,
        decay=decay,
        step=direction + decay,
        moment_scale=scale,
        denominator=denominator,
    )


def _take(settings: Settings, p: Float64, update: Update, t: int) -> Update:
    """Clip the step, hold it back during backoff, subtract it, keep old values for non-finite."""
    taken = update.step
    if settings.clip_step_by_value > 0.0:
        taken = np.clip(taken, -settings.clip_step_by_value, settings.clip_step_by_value)
    if settings.optimizer != "sgd" and t <= settings.backoff_steps:
        taken = np.zeros_like(p)
    new = p - taken
    if settings.clip_nan:
        new = np.where(np.isfinite(new), new, p)
    return replace(update, parameter=new, step=taken)
