"""The same formulas element by element in 50-digit mpmath, written as the papers write them.

Independent of `formulas.py` on purpose: bias corrections as powers, hats on the moments, decimal
hyperparameters. Inputs are binary floats, taken exactly. Slow (10^4 elements a second): it
checks the float64 reference on samples, and whatever a test doubts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import mpmath

from .schedule import DIGITS, Exact, exact_base_rate
from .settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactUpdate:
    """One element's new state and its step, as 50-digit numbers."""

    parameter: Exact
    slots: dict[str, Exact]
    step: Exact


def step(
    settings: Settings,
    parameter: float,
    gradient: float,
    slots: Mapping[str, float],
    t: int,
    *,
    learning_rate: float | None = None,
) -> ExactUpdate:
    """Step `t` (from 1) of one element with a finite gradient; clip_nan needs the whole tensor."""
    with mpmath.workdps(DIGITS):
        lr = exact_base_rate(settings, t)
        if learning_rate is not None:
            lr = mpmath.mpf(repr(learning_rate))
        p, g = mpmath.mpf(float(parameter)), mpmath.mpf(float(gradient))
        state = {name: mpmath.mpf(float(slots[name])) for name in settings.slots}
        direction, new = _SCALED[settings.optimizer](settings, g, state, t)
        taken = lr * direction
        if settings.decays_weights:
            taken += lr * mpmath.mpf(repr(settings.weight_decay)) * p
        if settings.clip_step_by_value > 0.0:
            limit = mpmath.mpf(repr(settings.clip_step_by_value))
            taken = min(max(taken, -limit), limit)
        if settings.optimizer != "sgd" and t <= settings.backoff_steps:
            taken = mpmath.mpf(0)
        return ExactUpdate(parameter=p - taken, slots=new, step=taken)


def _constants(settings: Settings) -> tuple[Exact, Exact, Exact]:
    beta1, beta2, epsilon = settings.beta1, settings.beta2, settings.epsilon
    return mpmath.mpf(repr(beta1)), mpmath.mpf(repr(beta2)), mpmath.mpf(repr(epsilon))


def _sgd(settings: Settings, g: Exact, slots: Mapping[str, Exact], t: int):
    return (g / mpmath.sqrt(t) if settings.decay else g), {}


def _adam(settings: Settings, g: Exact, slots: Mapping[str, Exact], t: int):
    b1, b2, epsilon = _constants(settings)
    m = b1 * slots["m"] + (1 - b1) * g
    v = b2 * slots["v"] + (1 - b2) * g**2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    return m_hat / (mpmath.sqrt(v_hat) + epsilon), {"m": m, "v": v}


def _adamax(settings: Settings, g: Exact, slots: Mapping[str, Exact], t: int):
    b1, b2, epsilon = _constants(settings)
    m = b1 * slots["m"] + (1 - b1) * g
    u = max(b2 * slots["v"], abs(g))
    return m / ((1 - b1**t) * (u + epsilon)), {"m": m, "v": u}


def _rmsprop(settings: Settings, g: Exact, slots: Mapping[str, Exact], t: int):
    _, b2, epsilon = _constants(settings)
    v = b2 * slots["v"] + (1 - b2) * g**2
    return g / (mpmath.sqrt(v / (1 - b2**t)) + epsilon), {"v": v}


_SCALED = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adam,
    "adamax": _adamax,
    "rmsprop": _rmsprop,
}
