"""float64 functions that IREE 3.13 cannot link on CPU (sin, cos, tanh, erf) or that lose digits
there (expm1, log1p: thousands of units in the last place near 0)."""

from __future__ import annotations

import math

from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.widths import compare, constant, select

# pi / 2 in three parts; the first two have 33 bits, so that their products with whole numbers below
# 2^20 are exact.
_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
_LARGEST_POWER = 17


def expm1(b: Builder, x: Value) -> Value:
    """(e - 1) * x / log(e) with e = exp(x) rounded: the errors of e - 1 and of log(e) cancel.

    (Kahan; see Higham, "Accuracy and Stability of Numerical Algorithms", 1.14.1.)
    """
    power, one = b.op("math.exp", [x]), constant(b, x, 1)
    less = b.op("arith.subf", [power, one])
    scaled = b.op("arith.divf", [x, b.op("math.log", [power])])
    value = b.op("arith.mulf", [less, scaled])
    value = select(b, compare(b, "oeq", power, one), x, value)
    value = select(b, compare(b, "oeq", less, constant(b, x, -1)), less, value)
    return select(b, compare(b, "oeq", power, constant(b, x, math.inf)), power, value)


def log1p(b: Builder, x: Value) -> Value:
    """log(s) * x / (s - 1) with s = 1 + x rounded: as in `expm1`."""
    one = constant(b, x, 1)
    total = b.op("arith.addf", [one, x])
    scaled = b.op("arith.divf", [x, b.op("arith.subf", [total, one])])
    value = b.op("arith.mulf", [b.op("math.log", [total]), scaled])
    value = select(b, compare(b, "oeq", total, one), x, value)
    return select(b, compare(b, "oeq", total, constant(b, x, math.inf)), total, value)


def tanh(b: Builder, x: Value) -> Value:
    """-t / (t + 2) with t = expm1(-2 |x|), and the sign of x."""
    size = b.op("math.absf", [x])
    t = expm1(b, b.op("arith.mulf", [size, constant(b, x, -2)]))
    value = b.op("arith.divf", [t, b.op("arith.addf", [t, constant(b, x, 2)])])
    above = b.op("arith.negf", [value])
    return select(b, compare(b, "olt", x, constant(b, x, 0)), value, above)


def sin(b: Builder, x: Value) -> Value:
    """While |x| is below a million."""
    return _quarter_turns(b, x, 0)


def cos(b: Builder, x: Value) -> Value:
    """sin, a quarter turn on."""
    return _quarter_turns(b, x, 1)


def _quarter_turns(b: Builder, x: Value, more: int) -> Value:
    """x = turns * pi / 2 + rest with |rest| <= pi / 4; sine or cosine of the rest, by quarter."""
    turns = b.op("math.roundeven", [b.op("arith.mulf", [x, constant(b, x, 2 / math.pi)])])
    rest = x
    for part in _HALF_PI:
        rest = b.op("arith.subf", [rest, b.op("arith.mulf", [turns, constant(b, x, part)])])
    quarter = b.op("arith.addf", [turns, constant(b, x, more)])
    whole = b.op("math.floor", [b.op("arith.mulf", [quarter, constant(b, x, 0.25)])])
    quarter = b.op("arith.subf", [quarter, b.op("arith.mulf", [whole, constant(b, x, 4)])])
    odd = b.op("arith.mulf", [rest, _series(b, rest, 1)])
    at = [compare(b, "oeq", quarter, constant(b, x, i)) for i in (1, 3)]
    either = b.op("arith.ori", at)
    value = select(b, either, _series(b, rest, 0), odd)
    below = compare(b, "oge", quarter, constant(b, x, 2))
    return select(b, below, b.op("arith.negf", [value]), value)


def _series(b: Builder, x: Value, first: int) -> Value:
    """1 - x^2 / .. + x^4 / .. of the cosine (first 0), or of the sine (1) divided by x."""
    square = b.op("arith.mulf", [x, x])
    powers = range(first, _LARGEST_POWER + 1, 2)
    signs = [(-1) ** i for i in range(len(powers))]
    terms = [sign / math.factorial(n) for sign, n in zip(signs, powers, strict=True)]
    total = constant(b, x, terms[-1])
    for term in reversed(terms[:-1]):
        total = b.op("arith.mulf", [total, square])
        total = b.op("arith.addf", [total, constant(b, x, term)])
    return total


_ERF_TERMS = 32
_ERF_DEPTH = 50


def erf(b: Builder, x: Value) -> Value:
    """Below 2 the series 2 / sqrt(pi) * x * exp(-x^2) * sum of (2 x^2)^n / (1 * 3 * .. (2n + 1)),
    whose terms are all positive; beyond, 1 - erfc(x) by the continued fraction of erfc, cut off.

    (Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.6 and 7.1.14.)
    """
    size = b.op("math.absf", [x])
    size = b.op("arith.minimumf", [size, constant(b, x, 6)])  # where erf rounds to 1
    square, gauss = b.op("arith.mulf", [size, size]), _gauss(b, size)
    total, terms = constant(b, x, 0), [1.0]
    for n in range(1, _ERF_TERMS):
        terms.append(terms[-1] * 2 / (2 * n + 1))
    for term in reversed(terms):
        total = b.op("arith.addf", [b.op("arith.mulf", [total, square]), constant(b, x, term)])
    scaled = b.op("arith.mulf", [size, constant(b, x, 2 / math.sqrt(math.pi))])
    near = b.op("arith.mulf", [b.op("arith.mulf", [scaled, gauss]), total])
    scaled = b.op("arith.mulf", [gauss, constant(b, x, 1 / math.sqrt(math.pi))])
    rest = b.op("arith.mulf", [scaled, _tail(b, size)])
    far = b.op("arith.subf", [constant(b, x, 1), rest])
    value = select(b, compare(b, "ogt", size, constant(b, x, 2)), far, near)
    below = compare(b, "olt", x, constant(b, x, 0))
    return select(b, below, b.op("arith.negf", [value]), value)


def _gauss(b: Builder, x: Value) -> Value:
    """exp(-x^2), with the rounding of the square made good: x^2 = h^2 + (x - h) (x + h)."""
    bits = b.op("arith.bitcast", [x], element="i64")
    kept = b.op("arith.andi", [bits, constant(b, bits, -(2**27))])
    high = b.op("arith.bitcast", [kept], element="f64")
    parts = [b.op("arith.subf", [high, x]), b.op("arith.addf", [high, x])]
    low = b.op("math.exp", [b.op("arith.mulf", parts)])
    square = b.op("arith.negf", [b.op("arith.mulf", [high, high])])
    return b.op("arith.mulf", [b.op("math.exp", [square]), low])


def _tail(b: Builder, x: Value) -> Value:
    """1 / (x + (1/2) / (x + (2/2) / (x + (3/2) / ..))), as the quotient of two recurrences."""
    above, below = [constant(b, x, 0), constant(b, x, 1)], [constant(b, x, 1), x]
    for k in range(1, _ERF_DEPTH + 1):
        for row in (above, below):
            older = b.op("arith.mulf", [row[0], constant(b, x, k / 2)])
            row[:] = row[1], b.op("arith.addf", [b.op("arith.mulf", [row[1], x]), older])
    return b.op("arith.divf", [above[1], below[1]])
