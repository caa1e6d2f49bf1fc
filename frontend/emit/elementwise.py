"""Element-wise math: one op of `arith` or `math` where IREE computes it right on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from stepforge.frontend.emit import double
from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.widths import Rule, ceil, compare, constant, is_float, select
from stepforge.frontend.graph import Node

Function = Callable[[Builder, Value], Value]


def _math(float_op: str, integer_op: str = "") -> Rule:
    """One op, by the kind of the operands."""

    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return b.op(float_op if is_float(xs[0]) else integer_op, xs)

    return rule


def _by_width(single: Function, double: Function) -> Rule:
    """Another function for float64 than for the other floats."""

    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return (double if xs[0].element == "f64" else single)(b, xs[0])

    return rule


def _op(name: str) -> Function:
    return lambda b, x: b.op(name, [x])


def _neg(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    if is_float(xs[0]):
        return b.op("arith.negf", xs)
    return b.op("arith.subi", [constant(b, xs[0], 0), xs[0]])


def _same(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return xs[0]


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
    divisor = y if _is_safe_divisor(node.inputs[1]) else _safe_divisor(b, y)[2]  # x rem 1 is 0
    if x.element == "i64":
        return b.op("arith.remsi", [x, divisor])
    # On Vulkan the remsi of INT_MIN has the wrong sign: IREE takes it from the absolute value.
    quotient = b.op("arith.divsi", [x, divisor])
    return b.op("arith.subi", [x, b.op("arith.muli", [quotient, divisor])])


def _float_rem(b: Builder, x: Value, y: Value) -> Value:
    """C's fmod: exact while the quotient is small, and in f32 on CPU and VMVX everywhere.

    Not arith.remf alone: VMVX and the VM of the host round its quotient to nearest (the IEEE
    remainder, of either sign), SPIR-V rounds it before it is truncated, and in f64 CPU has no fmod
    to link with. A quotient that is off by one is put right after either way.
    """
    size, divisor, zero = b.op("math.absf", [x]), b.op("math.absf", [y]), constant(b, x, 0)
    quotient = b.op("math.floor", [b.op("arith.divf", [size, divisor])])
    rest = _exact_rest(b, size, divisor, quotient)
    if x.element == "f32":
        few = compare(b, "olt", quotient, constant(b, x, 2.0 ** _LOW_BITS["f32"]))
        rest = select(b, few, rest, b.op("arith.remf", [size, divisor]))
    more, less = b.op("arith.addf", [rest, divisor]), b.op("arith.subf", [rest, divisor])
    too_small, too_large = compare(b, "olt", rest, zero), compare(b, "oge", rest, divisor)
    rest = select(b, too_small, more, select(b, too_large, less, rest))
    rest = select(b, compare(b, "olt", x, zero), b.op("arith.negf", [rest]), rest)
    return select(b, compare(b, "olt", size, divisor), x, rest)


_LOW_BITS = {"f32": 12, "f64": 27}


def _exact_rest(b: Builder, size: Value, divisor: Value, quotient: Value) -> Value:
    """size - quotient * divisor without a rounding: the divisor in two halves of its bits, each of
    whose products with a small quotient is exact (fma is not fused on every target)."""
    low_bits, integer = _LOW_BITS[size.element], f"i{size.element[1:]}"
    pattern = b.op("arith.bitcast", [divisor], element=integer)
    kept = b.op("arith.andi", [pattern, constant(b, pattern, -(2**low_bits))])
    high = b.op("arith.bitcast", [kept], element=divisor.element)
    low = b.op("arith.subf", [divisor, high])
    rest = b.op("arith.subf", [size, b.op("arith.mulf", [quotient, high])])
    return b.op("arith.subf", [rest, b.op("arith.mulf", [quotient, low])])


def _safe_divisor(b: Builder, y: Value) -> tuple[Value, Value, Value]:
    by_zero = compare(b, "eq", y, constant(b, y, 0))
    by_minus_one = compare(b, "eq", y, constant(b, y, -1))
    one = constant(b, y, 1)
    return by_zero, by_minus_one, select(b, by_zero, one, select(b, by_minus_one, one, y))


def _is_safe_divisor(node: Node) -> bool:
    """A constant that is neither 0 nor -1."""
    return constant_value(node) not in (None, 0, -1)


def constant_value(node: Node) -> float | None:
    """The number that a constant, maybe broadcast, has everywhere."""
    while node.op == "broadcast":
        node = node.inputs[0]
    value = node.attributes.get("value")
    return value if isinstance(value, int | float) else None


_PRODUCTS = (2.0, 3.0, 4.0)


def _power(b: Builder, x: Value, exponent: int) -> Value:
    product = x
    for _ in range(exponent - 1):
        product = b.op("arith.mulf", [product, x])
    return product


def _pow(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """|x| to the y, then what C's pow says where that is not enough; products for x^2, x^3, x^4.

    math.powf is exp2(y * log2(x)) on CPU and Vulkan: NaN for every negative x, for 0 to the 0, and
    for 1 and infinity to some powers.
    """
    exponent = constant_value(node.inputs[1])
    if exponent in _PRODUCTS:
        return _power(b, xs[0], int(exponent))
    x, y = xs
    zero, one, infinity = (constant(b, x, c) for c in (0.0, 1.0, math.inf))
    size = b.op("math.absf", [x])
    power = b.op("math.powf", [size, y])
    at_zero = select(b, compare(b, "ogt", y, zero), zero, y)
    at_zero = select(b, compare(b, "olt", y, zero), infinity, at_zero)
    power = select(b, compare(b, "oeq", size, zero), at_zero, power)
    power = select(b, compare(b, "oeq", size, one), one, power)
    half = b.op("arith.mulf", [y, constant(b, y, 0.5)])
    is_odd = _both(b, _is_whole(b, y, "oeq"), _is_whole(b, half, "une"))
    flipped = _both(b, is_odd, _has_sign_bit(b, x))
    power = select(b, flipped, b.op("arith.negf", [power]), power)
    is_negative = _both(b, compare(b, "olt", x, zero), compare(b, "olt", size, infinity))
    undefined = _both(b, is_negative, _is_whole(b, y, "une"))
    power = select(b, undefined, constant(b, x, math.nan), power)
    return select(b, compare(b, "oeq", y, zero), one, power)


def _is_whole(b: Builder, x: Value, predicate: str) -> Value:
    """floor and ceil in comparison. LLVM makes trunc(x) == x of floor(x) == x, which does not link
    for CPUs without an instruction for it (baseline x86-64)."""
    return compare(b, predicate, b.op("math.floor", [x]), ceil(b, x))


def _both(b: Builder, x: Value, y: Value) -> Value:
    return b.op("arith.andi", [x, y])


def _has_sign_bit(b: Builder, x: Value) -> Value:
    bits = b.op("arith.bitcast", [x], element=f"i{x.element[1:]}")
    return compare(b, "slt", bits, constant(b, bits, 0))


def _ceil(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return ceil(b, xs[0])


def _sigmoid(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """exp of -|x| cannot overflow: 1 / (1 + e) above zero, e / (1 + e) below."""
    x, one = xs[0], constant(b, xs[0], 1)
    small = b.op("math.exp", [b.op("arith.negf", [b.op("math.absf", [x])])])
    top = select(b, compare(b, "olt", x, constant(b, x, 0)), small, one)
    return b.op("arith.divf", [top, b.op("arith.addf", [one, small])])


def _tanh(b: Builder, x: Value) -> Value:
    """Clamped first: Vulkan defines tanh by sinh and cosh, which overflow. tanh(20) rounds to 1."""
    low, high = constant(b, x, -20), constant(b, x, 20)
    clamped = b.op("arith.minimumf", [b.op("arith.maximumf", [x, low]), high])
    return b.op("math.tanh", [clamped])


RULES: Mapping[str, Rule] = {
    "add": _math("arith.addf", "arith.addi"),
    "sub": _math("arith.subf", "arith.subi"),
    "mul": _math("arith.mulf", "arith.muli"),
    "div": _div,
    "rem": _rem,
    "pow": _pow,
    "maximum": _math("arith.maximumf", "arith.maxsi"),
    "minimum": _math("arith.minimumf", "arith.minsi"),
    "neg": _neg,
    "abs": _math("math.absf", "math.absi"),
    "sign": _sign,
    "sqrt": _math("math.sqrt"),
    "rsqrt": _math("math.rsqrt"),
    "exp": _math("math.exp"),
    "expm1": _by_width(_op("math.expm1"), double.expm1),
    "log": _math("math.log"),
    "log1p": _by_width(_op("math.log1p"), double.log1p),
    "sin": _by_width(_op("math.sin"), double.sin),
    "cos": _by_width(_op("math.cos"), double.cos),
    "tanh": _by_width(_tanh, double.tanh),
    "sigmoid": _sigmoid,
    "erf": _by_width(_op("math.erf"), double.erf),
    "floor": _math("math.floor"),
    "ceil": _ceil,
    "round": _math("math.roundeven"),
    "stop_gradient": _same,
}
