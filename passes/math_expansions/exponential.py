"""exp and expm1: x = k ln 2 + r, and a polynomial of e^r - 1."""

from __future__ import annotations

import math
from typing import Final

from stepforge.passes.math_expansions.elements import (
    Float,
    Integer,
    nearest_integer,
    polynomial,
    power_of_two,
)

# ln 2 in two parts; products of the first (15 bits) with k are exact.
LN2_HIGH: Final = 0.693145751953125
LN2_LOW: Final = 1.42860682030941723212e-6

# (e^r - 1 - r) / r^2 for |r| <= 0.3475, as a part of e^r - 1 within 2^-31.0.
_SERIES: Final = (
    0.5,
    0.1666666567325592,
    0.04166649281978607,
    0.008333543315529823,
    0.0013932380825281143,
    0.00019764414173550904,
)
_LOWEST, _HIGHEST = -104.0, 89.0  # what is beyond rounds to 0 and infinity as these do


def exp(x: Float) -> Float:
    """2^k (1 + (r + r^2 P(r)))."""
    limited = x.between(_LOWEST, _HIGHEST)
    k, high, low = _reduced(limited, _turns(limited))
    return _scaled(1 + (high + _rest(high, low)), k)


def exp_of_sum(x: Float, more: Float) -> Float:
    """exp(x + more) of a sum that is not rounded; x has 15 bits, or is far from 0."""
    limited, more = x.between(_LOWEST - 2.0, _HIGHEST + 2.0), more.between(-1.0, 1.0)
    k, high, low = _reduced(limited, _turns(limited + more))
    return _scaled(1 + (high + _rest(high, low - more)), k)


def expm1(x: Float) -> Float:
    """(2^k - 1) + 2^k (e^r - 1): near 0, where k = 0, that is e^r - 1."""
    limited = x.between(-20.0, _HIGHEST)
    k, high, low = _reduced(limited, _turns(limited))
    rest = _rest(high, low)
    # 2^128 is no float: half of everything, doubled at the end.
    half = power_of_two(k - 1)
    value = ((half - 0.5) + half * high) + half * rest
    return (x.size() < 2.0**-25).select(x, value + value)


def _turns(x: Float) -> Integer:
    return nearest_integer(x * (1 / math.log(2)))


def _reduced(x: Float, k: Integer) -> tuple[Integer, Float, Float]:
    """k, r rounded, and what is still to be taken from it."""
    turns = k.number()
    return k, x - turns * LN2_HIGH, turns * LN2_LOW


def _rest(high: Float, low: Float) -> Float:
    """e^r - 1 - high."""
    r = high - low
    return (r * r) * polynomial(r, _SERIES) - low


def _scaled(x: Float, k: Integer) -> Float:
    """x 2^k in two steps, as 2^k may be no float where the product is."""
    half = k >> 1
    return (x * power_of_two(half)) * power_of_two(k - half)
