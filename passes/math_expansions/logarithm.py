"""log and log1p: x = 2^e (1 + f), and a polynomial of log(1 + f)."""

from __future__ import annotations

import math
from typing import Final

from stepforge.passes.math_expansions.elements import (
    INFINITY_BITS,
    SIGN_BIT,
    SMALLEST_NORMAL_BITS,
    Float,
    Integer,
    polynomial,
    power_of_two,
)
from stepforge.passes.math_expansions.exponential import LN2_HIGH, LN2_LOW

# (log(1 + f) - f) / f^2 from sqrt(1/2) to sqrt(2), as a part of log(1 + f) within 2^-30.3.
_SERIES: Final = (
    -0.5,
    0.3333331346511841,
    -0.25000008940696716,
    0.2000207155942917,
    -0.16667988896369934,
    0.14220359921455383,
    -0.12406239658594131,
    0.11883537471294403,
    -0.11670025438070297,
    0.06749191880226135,
)
_ROOT_OF_HALF_BITS: Final = 0x3F3504F3


def log(x: Float) -> Float:
    """Numbers below 2^-126 count as zero."""
    bits = x.bits()
    value = _of_parts(*split(bits))
    value = (bits < INFINITY_BITS).select(value, x)
    value = (bits < 0).select(math.nan, value)
    return ((bits & ~SIGN_BIT) < SMALLEST_NORMAL_BITS).select(-math.inf, value)


def log1p(x: Float) -> Float:
    """e is that of 1 + x, rounded; f = 2^-e x + (2^-e - 1) then has no rounding (while e < 25)."""
    total = 1 + x
    e = _exponent(total.bits())
    # 2^-64 stands for all that are smaller: minus 1 they are -1.
    f = (x.bits() - (e << 23)).as_bits() + (power_of_two(-e.at_most(64)) - 1.0)
    value = _of_parts(e, f)
    value = (x.size() < 2.0**-25).select(x, value)
    value = (x < math.inf).select(value, x)
    value = (x < -1.0).select(math.nan, value)
    return x.equals(-1.0).select(-math.inf, value)


def split(bits: Integer) -> tuple[Integer, Float]:
    """e and f of a positive number of these bits, without a rounding."""
    e = _exponent(bits)
    return e, (bits - (e << 23)).as_bits() - 1.0


def _exponent(bits: Integer) -> Integer:
    """e of a positive number of these bits, with 1 + f from sqrt(1/2) to sqrt(2)."""
    return (bits - _ROOT_OF_HALF_BITS) >> 23


def _of_parts(e: Integer, f: Float) -> Float:
    """e ln 2 + log(1 + f), the large parts first: their sum is nearly exact."""
    exponent = e.number()
    rest = (f * f) * polynomial(f, _SERIES)
    return (exponent * LN2_HIGH + f) + (rest + exponent * LN2_LOW)
