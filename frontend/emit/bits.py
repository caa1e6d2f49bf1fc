"""Bits of integers. arith's shifts are undefined from the number of bits on: those give 0 here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.elementwise import constant_value
from stepforge.frontend.emit.widths import Rule, compare, constant, select
from stepforge.frontend.graph import Node


def _op(name: str) -> Rule:
    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return b.op(name, xs)

    return rule


def _shift(name: str) -> Rule:
    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        x, amount = xs
        bits = int(x.element[1:])
        known = constant_value(node.inputs[1])
        if known is not None and 0 <= known < bits:
            return b.op(name, xs)
        kept = b.op("arith.andi", [amount, constant(b, amount, bits - 1)])
        inside = compare(b, "eq", kept, amount)
        return select(b, inside, b.op(name, [x, kept]), constant(b, x, 0))

    return rule


def _float_bits(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return b.op("arith.bitcast", xs, element="i32")


def _stochastic_round(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """The upper half of the bits, after a draw is added to the lower half."""
    x, drawn = xs
    pattern = b.op("arith.bitcast", [x], element="i32")
    upper = b.op("arith.shrui", [drawn, constant(b, drawn, 16)])
    moved = b.op("arith.addi", [pattern, upper])
    kept = b.op("arith.andi", [moved, constant(b, moved, -(2**16))])
    number = b.op("arith.bitcast", [kept], element="f32")
    return select(b, compare(b, "uno", x, x), x, number)


RULES: Mapping[str, Rule] = {
    "bit_and": _op("arith.andi"),
    "bit_or": _op("arith.ori"),
    "bit_xor": _op("arith.xori"),
    "shift_left": _shift("arith.shli"),
    "shift_right_logical": _shift("arith.shrui"),
    "float_bits": _float_bits,
    "stochastic_round": _stochastic_round,
}
