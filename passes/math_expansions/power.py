"""pow of positive numbers: e^(y log x), with log x as the sum of two numbers."""

from __future__ import annotations

import math
from typing import Final

from stepforge.passes.math_expansions.elements import (
    INFINITY_BITS,
    SMALLEST_NORMAL_BITS,
    Float,
    polynomial,
)
from stepforge.passes.math_expansions.exponential import LN2_HIGH, LN2_LOW, exp_of_sum
from stepforge.passes.math_expansions.logarithm import split

# (log((1 + s) / (1 - s)) - 2 s) / s^3, of s^2, for |s| <= 0.1718, as a part of the logarithm within
# 2^-35.2.
_SERIES: Final = (
    0.6666666269302368,
    0.40000972151756287,
    0.2849881052970886,
    0.24278073012828827,
)
#: Times the logarithm of any number but 1 this is beyond every exponent.
_LARGEST: Final = 2.0**40


def powf(x: Float, y: Float) -> Float:
    """NaN for negative x; x below 2^-126 counts as zero."""
    exponent = y.between(-_LARGEST, _LARGEST)
    high, low = _logarithm(x)
    first, rest = _halves(exponent)
    # The product of 12 bits with 12 bits is exact.
    value = exp_of_sum(first * high, first * low + (rest * high + rest * low))
    # x is infinity, NaN, 0 or negative.
    bits = x.bits()
    at_infinity = _by_sign(y, 0.0, math.inf)
    value = (bits < INFINITY_BITS).select(value, x.equals(math.inf).select(at_infinity, math.nan))
    value = (bits < SMALLEST_NORMAL_BITS).select(_by_sign(y, math.inf, 0.0), value)
    return (x < 0.0).select(math.nan, value)


def _by_sign(y: Float, below: float, above: float) -> Float:
    """1 where y is 0, NaN where it is that."""
    value = (y > 0.0).select(above, y)
    return y.equals(0.0).select(1.0, (y < 0.0).select(below, value))


def _logarithm(x: Float) -> tuple[Float, Float]:
    """log x within 2^-29 of itself, the first part of 12 bits.

    x = 2^e (1 + f), s = f / (2 + f); log(1 + f) = 2 s + s^3 P(s^2).
    """
    e, f = split(x.bits())
    total = f + 2.0
    s, _ = _halves(f / total)
    f_high, f_low = _halves(f)
    # f - s (2 + f): all products are exact.
    s_low = (((f - 2.0 * s) - s * f_high) - s * f_low) / total
    both = s + s_low
    square = both * both
    tail = 2.0 * s_low + (both * square) * polynomial(square, _SERIES)
    exponent = e.number()
    power = exponent * LN2_HIGH
    high, _ = _halves(power + (2.0 * s + tail))
    return high, ((power - high) + 2.0 * s) + (tail + exponent * LN2_LOW)


def _halves(x: Float) -> tuple[Float, Float]:
    """The upper 12 of the 24 bits, by their bits, and what remains."""
    high = (x.bits() & -(2**12)).as_bits()
    return high, x - high
