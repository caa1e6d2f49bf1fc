"""Element-wise math: one op of `arith` or `math` where IREE computes it right on every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.widths import Rule, compare, constant, is_float, select, widened
from stepforge.frontend.graph import Node


def _math(float_op: str, integer_op: str = "") -> Rule:
    """One op, by the kind of the operands, in their wide element."""

    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return b.op(float_op if is_float(xs[0]) else integer_op, xs)

    return widened(rule)


def _neg(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    if is_float(xs[0]):
        return b.op("arith.negf", xs)
    return b.op("arith.subi", [constant(b, xs[0], 0), xs[0]])


def _sign(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Zero and NaN are neither above nor below zero, and stay what they are."""
    x, zero = xs[0], constant(b, xs[0], 0)
    above, below = ("ogt", "olt") if is_float(x) else ("sgt", "slt")
    negative = select(b, compare(b, below, x, zero), constant(b, x, -1), x)
    return select(b, compare(b, above, x, zero), constant(b, x, 1), negative)


def _div(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    x, y = xs
    if is_float(x):
        return b.op("arith.divf", xs)
    if _is_safe_divisor(node.inputs[1]):
        return b.op("arith.divsi", xs)
    # x / 0 and INT_MIN / -1 are hardware exceptions on CPU: the process dies. 0 and -x here.
    by_zero, by_minus_one, safe = _safe_divisor(b, y)
    quotient = b.op("arith.divsi", [x, safe])
    negative = b.op("arith.subi", [constant(b, x, 0), x])
    quotient = select(b, by_minus_one, negative, quotient)
    return select(b, by_zero, constant(b, x, 0), quotient)


def _rem(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    x, y = xs
    if is_float(x):
        return _float_rem(b, x, y)
    if _is_safe_divisor(node.inputs[1]):
        return b.op("arith.remsi", xs)
    return b.op("arith.remsi", [x, _safe_divisor(b, y)[2]])  # x rem 1 is 0, as for 0 and -1


def _float_rem(b: Builder, x: Value, y: Value) -> Value:
    """arith.remf, corrected.

    VMVX and host scalars round the quotient to nearest (IEEE remainder), so the result can have the
    other sign: then one |y| with the sign of x, added exactly, makes it fmod. SPIR-V's FRem rounds
    the quotient before it is truncated, which the same correction undoes, and gives NaN for
    infinite y, where x is the answer. Large quotients stay inexact on Vulkan.
    """
    size, one = b.op("math.absf", [y]), constant(b, x, 1)
    raw = b.op("arith.remf", [x, y])
    along_x = b.op("arith.mulf", [raw, b.op("math.copysign", [one, x])])
    shifted = b.op("arith.addf", [raw, b.op("math.copysign", [size, x])])
    fixed = select(b, compare(b, "olt", along_x, constant(b, x, 0)), shifted, raw)
    return select(b, compare(b, "olt", b.op("math.absf", [x]), size), x, fixed)


def _safe_divisor(b: Builder, y: Value) -> tuple[Value, Value, Value]:
    by_zero = compare(b, "eq", y, constant(b, y, 0))
    by_minus_one = compare(b, "eq", y, constant(b, y, -1))
    one = constant(b, y, 1)
    return by_zero, by_minus_one, select(b, by_zero, one, select(b, by_minus_one, one, y))


def _is_safe_divisor(node: Node) -> bool:
    """A constant that is neither 0 nor -1, maybe broadcast."""
    while node.op == "broadcast":
        node = node.inputs[0]
    value = node.attributes.get("value")
    return isinstance(value, int) and value not in (0, -1)


def _pow(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """|x| to the y, then what C's pow says where that is not enough.

    math.powf is exp2(y * log2(x)) on CPU and Vulkan: NaN for every negative x, for 0 to the 0 and
    for infinity to the 0.
    """
    x, y = xs
    zero, one, infinity = (constant(b, x, c) for c in (0.0, 1.0, math.inf))
    size = b.op("math.absf", [x])
    power = b.op("math.powf", [size, y])
    at_zero = select(b, compare(b, "ogt", y, zero), zero, infinity)
    power = select(b, compare(b, "oeq", size, zero), at_zero, power)
    half = b.op("arith.mulf", [y, constant(b, y, 0.5)])
    is_odd = compare(b, "une", b.op("math.floor", [half]), half)
    signed = select(b, is_odd, b.op("arith.negf", [power]), power)
    is_whole = compare(b, "oeq", b.op("math.floor", [y]), y)
    not_a_number = constant(b, x, math.nan)
    signed = select(b, is_whole, signed, not_a_number)
    power = select(b, compare(b, "olt", x, zero), signed, power)
    return select(b, compare(b, "oeq", y, zero), one, power)


def _sigmoid(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """exp of -|x| cannot overflow: 1 / (1 + e) above zero, e / (1 + e) below."""
    x, one = xs[0], constant(b, xs[0], 1)
    small = b.op("math.exp", [b.op("arith.negf", [b.op("math.absf", [x])])])
    top = select(b, compare(b, "olt", x, constant(b, x, 0)), small, one)
    return b.op("arith.divf", [top, b.op("arith.addf", [one, small])])


def _tanh(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Clamped first: Vulkan defines tanh by sinh and cosh, which overflow. tanh(20) rounds to 1."""
    low, high = constant(b, xs[0], -20), constant(b, xs[0], 20)
    clamped = b.op("arith.minimumf", [b.op("arith.maximumf", [xs[0], low]), high])
    return b.op("math.tanh", [clamped])


RULES: Mapping[str, Rule] = {
    "add": _math("arith.addf", "arith.addi"),
    "sub": _math("arith.subf", "arith.subi"),
    "mul": _math("arith.mulf", "arith.muli"),
    "div": widened(_div),
    "rem": widened(_rem),
    "pow": widened(_pow),
    "maximum": _math("arith.maximumf", "arith.maxsi"),
    "minimum": _math("arith.minimumf", "arith.minsi"),
    "neg": widened(_neg),
    "abs": _math("math.absf", "math.absi"),
    "sign": widened(_sign),
    "sqrt": _math("math.sqrt"),
    "rsqrt": _math("math.rsqrt"),
    "exp": _math("math.exp"),
    "expm1": _math("math.expm1"),
    "log": _math("math.log"),
    "log1p": _math("math.log1p"),
    "sin": _math("math.sin"),
    "cos": _math("math.cos"),
    "tanh": widened(_tanh),
    "sigmoid": widened(_sigmoid),
    "floor": _math("math.floor"),
    "ceil": _math("math.ceil"),
    "round": _math("math.roundeven"),
}
