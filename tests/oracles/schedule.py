"""The cosine schedule's rate in float64 and to 50 digits, and what float32 may make of it.

With k = t - 1 (steps taken before this one), W warm-up steps and P steps a period:

    k <  W:  minimum + (k / W) * (base - minimum)
    k >= W:  minimum + (1 + cos(pi * frac((k - W) / P))) / 2 * (base - minimum)
"""

import math
from typing import Any

import mpmath

from .settings import Cosine, Settings

DIGITS = 50
Exact = Any
"""An `mpmath.mpf`: a class without type information."""

# Error of a float32 rate, in units u = 2^-24 of the base rate. Cosine: the fraction 2u and pi 1u
# give 3u of an argument <= pi, so 9.5u in the cosine, which itself is good to 4u (a polynomial);
# halved: 6.75u; adding 1, the product, the sum and the constants: 5u more.
# Warm-up: the ratio 1u, the span 1u, product 1u, sum 1u, the constants 1u; nothing cancels.
COSINE_UNITS = 12.0
WARM_UP_UNITS = 5.0


def period(cosine: Cosine) -> tuple[int, int]:
    """Length of one cycle as an exact fraction (numerator, denominator)."""
    if cosine.period:
        return cosine.period, 1
    last = cosine.last_step if cosine.last_step >= 0 else 1_000_000_000
    return last - cosine.warm_up, cosine.cycles


def cycle_fraction(cosine: Cosine, t: int) -> tuple[int, int]:
    """frac((k - W) / P) as an exact fraction, for any t, in Python integers."""
    numerator, denominator = period(cosine)
    position = (t - 1 - cosine.warm_up) * denominator
    return position % numerator, numerator


def base_rate(settings: Settings, t: int) -> float:
    """The rate before SGD's square root: constant or scheduled; float64, t from 1."""
    cosine = settings.cosine
    if cosine is None:
        return settings.learning_rate
    span = settings.learning_rate - cosine.minimum
    if t - 1 < cosine.warm_up:
        return cosine.minimum + (t - 1) / cosine.warm_up * span
    numerator, denominator = cycle_fraction(cosine, t)
    return cosine.minimum + (1.0 + math.cos(math.pi * (numerator / denominator))) / 2.0 * span


def exact_base_rate(settings: Settings, t: int) -> Exact:
    """`base_rate` to 50 digits, hyperparameters as decimals."""
    with mpmath.workdps(DIGITS):
        base = mpmath.mpf(repr(settings.learning_rate))
        cosine = settings.cosine
        if cosine is None:
            return base
        minimum = mpmath.mpf(repr(cosine.minimum))
        if t - 1 < cosine.warm_up:
            return minimum + mpmath.mpf(t - 1) / cosine.warm_up * (base - minimum)
        numerator, denominator = cycle_fraction(cosine, t)
        angle = mpmath.pi * numerator / denominator
        return minimum + (1 + mpmath.cos(angle)) / 2 * (base - minimum)


def rate_units(settings: Settings, t: int) -> float:
    """Relative error a float32 host may make in the scheduled rate, in units of 2^-24.

    Near the end of a cycle 1 + cos cancels: the error is relative to the base rate, not to
    what is left of it. Without a schedule the one rounding is inside the bars of `bars.py`.
    """
    cosine = settings.cosine
    if cosine is None:
        return 0.0
    if t - 1 < cosine.warm_up:
        return WARM_UP_UNITS
    return COSINE_UNITS * settings.learning_rate / base_rate(settings, t)
