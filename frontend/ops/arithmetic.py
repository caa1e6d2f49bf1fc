"""Element-wise arithmetic of two operands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import Array
from stepforge.frontend.ops.apply import Operand, apply
from stepforge.frontend.ops.op import FLOAT, NUMBER, Op, binary

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def _divide(a: Array, b: Array) -> Array:
    """Division; of integers it truncates towards zero (0 for a zero divisor)."""
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    floor = np.floor_divide(a, b)
    inexact = floor * b != a
    return (floor + (inexact & ((a < 0) != (b < 0)))).astype(a.dtype)


ADD = binary("add", np.add, NUMBER)
SUB = binary("sub", np.subtract, NUMBER)
MUL = binary("mul", np.multiply, NUMBER)
DIV = binary("div", _divide, NUMBER)
REM = binary("rem", np.fmod, NUMBER)
POW = binary("pow", np.power, FLOAT, wide=True)
MAXIMUM = binary("maximum", np.maximum, NUMBER)
MINIMUM = binary("minimum", np.minimum, NUMBER)

OPS: tuple[Op, ...] = (ADD, SUB, MUL, DIV, REM, POW, MAXIMUM, MINIMUM)


def add(a: Operand, b: Operand) -> Node:
    """a + b. Integers wrap."""
    return apply(ADD, a, b)


def sub(a: Operand, b: Operand) -> Node:
    """a - b. Integers wrap."""
    return apply(SUB, a, b)


def mul(a: Operand, b: Operand) -> Node:
    """a * b. Integers wrap."""
    return apply(MUL, a, b)


def div(a: Operand, b: Operand) -> Node:
    """a / b. Integers truncate towards zero; an integer divided by zero is unspecified."""
    return apply(DIV, a, b)


def rem(a: Operand, b: Operand) -> Node:
    """The remainder of the truncated division a / b: C's fmod, with the sign of a."""
    return apply(REM, a, b)


def pow(a: Operand, b: Operand) -> Node:
    """a to the power b, floats only. A negative a with a fractional b is NaN."""
    return apply(POW, a, b)


def maximum(a: Operand, b: Operand) -> Node:
    """The larger of two numbers; NaN if either is NaN."""
    return apply(MAXIMUM, a, b)


def minimum(a: Operand, b: Operand) -> Node:
    """The smaller of two numbers; NaN if either is NaN."""
    return apply(MINIMUM, a, b)


def clip(x: Node, low: Operand, high: Operand) -> Node:
    """minimum(maximum(x, low), high): x limited to [low, high]; NaN stays NaN."""
    return minimum(maximum(x, low), high)
