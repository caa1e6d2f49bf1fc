"""Comparisons, logic, selection, the test for finite values, and conversions.

Bools are i1 inside a function. Comparisons with NaN are false, except `not_equal`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.widths import (
    Rule,
    ceil,
    compare,
    constant,
    is_float,
    select,
    whole,
    wide_element,
)
from stepforge.frontend.graph import Node

_LIMIT = {"i32": 2.0**31, "i64": 2.0**63}


def _compare(float_predicate: str, integer_predicate: str) -> Rule:
    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return compare(b, float_predicate if is_float(xs[0]) else integer_predicate, *xs)

    return rule


def _op(name: str) -> Rule:
    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return b.op(name, xs)

    return rule


def _not(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return b.op("arith.xori", [xs[0], constant(b, xs[0], True)])


def _where(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return select(b, xs[0], xs[1], xs[2])


_EXPONENT = {"f32": ("i32", 0x7F800000), "f64": ("i64", 0x7FF0000000000000)}


def _is_finite(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Not all exponent bits set.

    math.isfinite does not compile for VMVX, and x - x == 0 calls NaN finite on lavapipe.
    """
    x = xs[0]
    element, bits = _EXPONENT[x.element]
    pattern = b.op("arith.bitcast", [x], element=element)
    mask = constant(b, pattern, bits)
    return compare(b, "ne", b.op("arith.andi", [pattern, mask]), mask)


def _cast(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Between the wide elements: from f16 to i8 is from f32 to i32, saturated as i8."""
    x, target = xs[0], node.dtype.short
    if target == "i1":
        return compare(b, "une" if is_float(x) else "ne", x, constant(b, x, 0))
    if x.element == "i1":
        x = b.op("arith.extui", [x], element="i32")
    if is_float(x) and node.dtype.is_integer:
        return _saturate(b, x, target)
    if x.element == "f64" and node.dtype.is_half:
        return _round_to_odd(b, x)
    wide = _resize(b, x, wide_element(target))
    return whole(b, wide) if node.dtype.is_half and not is_float(x) else wide


def _resize(b: Builder, x: Value, element: str) -> Value:
    """Between i32, i64, f32 and f64, floats to integers excepted."""
    if x.element == element:
        return x
    return b.op(_CONVERSIONS[x.element, element], [x], element=element)


_CONVERSIONS = {
    ("i32", "i64"): "arith.extsi",
    ("i64", "i32"): "arith.trunci",
    ("i32", "f32"): "arith.sitofp",
    ("i32", "f64"): "arith.sitofp",
    ("i64", "f32"): "arith.sitofp",
    ("i64", "f64"): "arith.sitofp",
    ("f32", "f64"): "arith.extf",
    ("f64", "f32"): "arith.truncf",
}


def _round_to_odd(b: Builder, x: Value) -> Value:
    """f64 to f32 such that a second rounding, to 16 bits, is the only one that counts.

    An inexact result gets an odd last bit: the neighbour towards zero, or one bit more.
    """
    near = b.op("arith.truncf", [x], element="f32")
    back = b.op("arith.extf", [near], element="f64")
    sizes = [b.op("math.absf", [back]), b.op("math.absf", [x])]
    too_far = b.op("arith.extui", [compare(b, "ogt", *sizes)], element="i32")
    inexact = b.op("arith.extui", [compare(b, "one", back, x)], element="i32")
    bits = b.op("arith.bitcast", [near], element="i32")
    odd = b.op("arith.ori", [b.op("arith.subi", [bits, too_far]), inexact])
    return b.op("arith.bitcast", [odd], element="f32")


def _saturate(b: Builder, x: Value, target: str) -> Value:
    """Truncates; beyond the range the nearest integer, for NaN 0.

    arith.fptosi is undefined there: CPU gives INT_MIN, Vulkan and VMVX other values.
    """
    if target == "i8":
        low, high = constant(b, x, -128), constant(b, x, 127)
        x = b.op("arith.minimumf", [b.op("arith.maximumf", [x, low]), high])
    wide = wide_element(target)
    limit = _LIMIT[wide]
    above = compare(b, "oge", x, constant(b, x, limit))
    below = compare(b, "olt", x, constant(b, x, -limit))
    zero = constant(b, x, 0)
    outside = b.op("arith.ori", [above, b.op("arith.ori", [below, compare(b, "uno", x, x)])])
    number = b.op("arith.fptosi", [_truncate(b, select(b, outside, zero, x), zero)], element=wide)
    least, greatest = constant(b, number, int(-limit)), constant(b, number, int(limit) - 1)
    return select(b, above, greatest, select(b, below, least, number))


def _truncate(b: Builder, x: Value, zero: Value) -> Value:
    """Because the fptosi of the VM, so of VMVX too, rounds to nearest; neither has math.trunc."""
    down, up = b.op("math.floor", [x]), ceil(b, x)
    return select(b, compare(b, "olt", x, zero), up, down)


RULES: Mapping[str, Rule] = {
    "equal": _compare("oeq", "eq"),
    "not_equal": _compare("une", "ne"),
    "less": _compare("olt", "slt"),
    "less_equal": _compare("ole", "sle"),
    "greater": _compare("ogt", "sgt"),
    "greater_equal": _compare("oge", "sge"),
    "logical_and": _op("arith.andi"),
    "logical_or": _op("arith.ori"),
    "logical_xor": _op("arith.xori"),
    "logical_not": _not,
    "where": _where,
    "is_finite": _is_finite,
    "cast": _cast,
}
