"""sin and cos: |x| = k pi / 2 + r, and a polynomial of r for each quarter turn."""

from __future__ import annotations

import math
from typing import Final

from stepforge.passes.math_expansions.elements import (
    INFINITY_BITS,
    SIGN_BIT,
    Float,
    nearest_integer,
    polynomial,
)

# pi / 2 in six parts. The first five have 7 bits, so that their products with k are exact up to
# k = 2^17, that is |x| = 2^17, with and without fused multiply-add.
_HALF_PI: Final = (
    101 * 2.0**-6,
    -60 * 2.0**-13,
    -5 * 2.0**-20,
    42 * 2.0**-27,
    17 * 2.0**-34,
    2.5633440682570896e-12,
)
# (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4, of r^2, for |r| <= 0.79: as a part of
# sin(r) within 2^-27.8, of cos(r) within 2^-32.8.
_SINE: Final = (-0.16666653752326965, 0.008332106284797192, -0.00019507882825564593)
_COSINE: Final = (0.04166664555668831, -0.0013887303648516536, 2.443120138195809e-05)
#: What has no whole number of quarter turns any more counts as zero.
_LARGEST: Final = 2.0**22


def sin(x: Float) -> Float:
    """Right while |x| <= 2^17; then ever less so, but from -1 to 1."""
    return _quarter_turns(x, 0)


def cos(x: Float) -> Float:
    """sin, a quarter turn on."""
    return _quarter_turns(x, 1)


def _quarter_turns(x: Float, more: int) -> Float:
    size = x.size()
    limited = (size < _LARGEST).select(size, 0.0)
    k = nearest_integer(limited * (2 / math.pi))
    high, low = _rest(limited, k.number())
    quarter = k + more
    value = (quarter & 1).equals(0).select(_sine(high, low), _cosine(high - low))
    sign = (quarter & 2) << 30
    if more == 0:
        sign = sign ^ (x.bits() & SIGN_BIT)
    value = (value.bits() ^ sign).as_bits()
    return (size.bits() < INFINITY_BITS).select(value, math.nan)


def _rest(x: Float, turns: Float) -> tuple[Float, Float]:
    """r, rounded twice at most and never where it is small, and what is still to be taken off."""
    *parts, last = _HALF_PI
    for part in parts:
        x = x - turns * part
    return x, turns * last


def _sine(high: Float, low: Float) -> Float:
    r = high - low
    square = r * r
    return high + (r * (square * polynomial(square, _SINE)) - low)


def _cosine(r: Float) -> Float:
    square = r * r
    return 1 - (0.5 * square - (square * square) * polynomial(square, _COSINE))
