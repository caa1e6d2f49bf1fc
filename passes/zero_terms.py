"""What the body of a loop makes of a zero: whether padding adds nothing to a sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stepforge.passes import bindings
from stepforge.passes.bindings import ir

_EQUAL, _NOT_EQUAL = 0, 1  # of arith.cmpi


def yields_zero(loop: ir.Operation) -> bool:
    """Whether an element-wise loop yields 0 where its first operand is 0, whatever finite numbers
    the others are."""
    block = loop.regions[0].blocks[0]
    known: dict[ir.Value, float | None] = dict.fromkeys(block.arguments)
    known[block.arguments[0]] = 0
    *steps, end = bindings.operations(block)
    for step in steps:
        known[step.results[0]] = _value(step, [known.get(value) for value in step.operands])
    return [known.get(value) for value in end.operands] == [0]


def is_zero(op: ir.Operation) -> bool:
    """Whether an `arith.constant` is 0, or repeats it."""
    return _constant(op) == 0


def _constant(op: ir.Operation) -> float | None:
    if op.name != "arith.constant":
        return None
    value = bindings.splat(op) or op.attributes["value"]
    if isinstance(value, ir.BoolAttr):
        return float(value.value)
    return value.value if isinstance(value, ir.IntegerAttr | ir.FloatAttr) else None


def _value(op: ir.Operation, operands: list[float | None]) -> float | None:
    """None: not known. A product with 0 is 0."""
    if op.name == "arith.constant":
        return _constant(op)
    if op.name in ("arith.mulf", "arith.andi", "arith.muli") and 0 in operands:
        return 0
    if any(value is None for value in operands):
        return None
    numbers = [value for value in operands if value is not None]
    if op.name == "arith.cmpi":
        kind = ir.IntegerAttr(op.attributes["predicate"]).value
        equal = numbers[0] == numbers[1]
        return {_EQUAL: float(equal), _NOT_EQUAL: float(not equal)}.get(kind)
    rule = _RULES.get(op.name)
    return None if rule is None else rule(numbers)


_RULES: Mapping[str, Callable[[list[float]], float | None]] = {
    "arith.addf": sum,
    "arith.addi": sum,
    "math.absf": lambda x: abs(x[0]),
    "arith.extui": lambda x: x[0],
    "arith.extf": lambda x: x[0],
    "arith.truncf": lambda x: x[0],
    "arith.bitcast": lambda x: 0 if x[0] == 0 else None,
    "arith.xori": lambda x: float(x[0] != x[1]) if set(x) <= {0, 1} else None,
    "arith.select": lambda x: x[1] if x[0] else x[2],
}
"""What each operation makes of numbers; of others nothing is known."""
