"""Element-wise functions of one operand, and `cast`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import Array, DType, DTypeLike, TensorType, as_dtype, convert
from stepforge.frontend.ops.apply import apply
from stepforge.frontend.ops.arithmetic import div, mul
from stepforge.frontend.ops.op import ANY, FLOAT, NUMBER, Attributes, Op, Types, unary

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def _rsqrt(x: Array) -> Array:
    return np.reciprocal(np.sqrt(x))


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) in the form that does not overflow for either sign."""
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, np.ones_like(x)) / (small + 1)


_erf_of_each = np.vectorize(math.erf, otypes=[np.float64])


def _erf(x: Array) -> Array:
    """NumPy has none; C's is within 1 ULP."""
    return _erf_of_each(x).astype(x.dtype)


def _same(x: Array) -> Array:
    return x


def _infer_cast(types: Types, attributes: Attributes) -> TensorType:
    return TensorType(attributes["dtype"], types[0].shape)


def _cast(x: Array, dtype: DType) -> Array:
    return convert(x, dtype)


NEG = unary("neg", np.negative, NUMBER)
ABS = unary("abs", np.abs, NUMBER)
SIGN = unary("sign", np.sign, NUMBER)
SQRT = unary("sqrt", np.sqrt, FLOAT)
RSQRT = unary("rsqrt", _rsqrt, FLOAT, wide=True)
EXP = unary("exp", np.exp, FLOAT, wide=True)
EXPM1 = unary("expm1", np.expm1, FLOAT, wide=True)
LOG = unary("log", np.log, FLOAT, wide=True)
LOG1P = unary("log1p", np.log1p, FLOAT, wide=True)
SIN = unary("sin", np.sin, FLOAT, wide=True)
COS = unary("cos", np.cos, FLOAT, wide=True)
TANH = unary("tanh", np.tanh, FLOAT, wide=True)
SIGMOID = unary("sigmoid", _sigmoid, FLOAT, wide=True)
ERF = unary("erf", _erf, FLOAT, wide=True)
FLOOR = unary("floor", np.floor, FLOAT)
CEIL = unary("ceil", np.ceil, FLOAT)
ROUND = unary("round", np.rint, FLOAT)
STOP_GRADIENT = unary("stop_gradient", _same, ANY)
CAST = Op("cast", _infer_cast, _cast, 1, elementwise=True, attributes=("dtype",))

OPS: tuple[Op, ...] = (
    *(NEG, ABS, SIGN, SQRT, RSQRT, EXP, EXPM1, LOG, LOG1P),
    *(SIN, COS, TANH, SIGMOID, ERF, FLOOR, CEIL, ROUND, STOP_GRADIENT, CAST),
)


def neg(x: Node) -> Node:
    """-x."""
    return apply(NEG, x)


def abs(x: Node) -> Node:
    """The absolute value."""
    return apply(ABS, x)


def sign(x: Node) -> Node:
    """-1, 0 or 1; NaN for NaN."""
    return apply(SIGN, x)


def sqrt(x: Node) -> Node:
    """The square root, floats only; NaN below zero."""
    return apply(SQRT, x)


def rsqrt(x: Node) -> Node:
    """1 / sqrt(x), floats only."""
    return apply(RSQRT, x)


def exp(x: Node) -> Node:
    """e to the x, floats only."""
    return apply(EXP, x)


def expm1(x: Node) -> Node:
    """exp(x) - 1 without cancellation near 0, floats only."""
    return apply(EXPM1, x)


def log(x: Node) -> Node:
    """The natural logarithm, floats only; -inf at 0, NaN below."""
    return apply(LOG, x)


def log1p(x: Node) -> Node:
    """log(1 + x) without cancellation near 0, floats only."""
    return apply(LOG1P, x)


def sin(x: Node) -> Node:
    """The sine of x in radians, floats only."""
    return apply(SIN, x)


def cos(x: Node) -> Node:
    """The cosine of x in radians, floats only."""
    return apply(COS, x)


def tanh(x: Node) -> Node:
    """The hyperbolic tangent, floats only."""
    return apply(TANH, x)


def sigmoid(x: Node) -> Node:
    """1 / (1 + exp(-x)), floats only; never overflows."""
    return apply(SIGMOID, x)


def erf(x: Node) -> Node:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x, of floats."""
    return apply(ERF, x)


def floor(x: Node) -> Node:
    """The largest whole number that is not above x, floats only."""
    return apply(FLOOR, x)


def ceil(x: Node) -> Node:
    """The smallest whole number that is not below x, floats only."""
    return apply(CEIL, x)


def round(x: Node) -> Node:
    """The nearest whole number, halves to even, floats only."""
    return apply(ROUND, x)


def stop_gradient(x: Node) -> Node:
    """x, taken as a constant by `gradient`."""
    return apply(STOP_GRADIENT, x)


def reciprocal(x: Node) -> Node:
    """1 / x."""
    return div(1, x)


def square(x: Node) -> Node:
    """x * x."""
    return mul(x, x)


def cast(x: Node, dtype: DTypeLike) -> Node:
    """x in another dtype, rounded once; x itself when it has the dtype already.

    Float to integer truncates (beyond the range is unspecified on devices; `evaluate` saturates),
    integer to a narrower integer wraps, and anything to bool is `x != 0`.
    """
    target = as_dtype(dtype)
    return x if x.dtype == target else apply(CAST, x, dtype=target)
