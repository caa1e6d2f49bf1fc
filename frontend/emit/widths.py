"""Narrow elements are computed in wide ones: 16-bit floats in f32, i8 and i1 in i32.

16-bit floats, because the meaning of an op on them is its float32 result rounded once. i8, because
VMVX has no conversion between floats and 8-bit integers. And even ops that only move elements,
because of a trap: on Vulkan devices without 8- and 16-bit storage (the portable profile) IREE 3.13
accesses narrow elements through 32-bit words, and the last, partial word of a buffer is neither
read nor written; so as few narrow tensors as possible should stand between two dispatches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stepforge.frontend.dtypes import Array, as_dtype, convert
from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.graph import Node

Rule = Callable[[Builder, Node, Sequence[Value]], Value]

_WIDE = {"f16": "f32", "bf16": "f32", "i8": "i32", "i1": "i32"}
_TO_WIDE = {"f16": "arith.extf", "bf16": "arith.extf", "i8": "arith.extsi", "i1": "arith.extui"}

_COMPARE_FLOATS = {"oeq": 1, "ogt": 2, "olt": 4, "ole": 5, "one": 6, "une": 13, "uno": 14}
_COMPARE_INTEGERS = {"eq": 0, "ne": 1, "slt": 2, "sle": 3, "sgt": 4, "sge": 5, "uge": 9}


def is_float(x: Value) -> bool:
    return x.element.startswith(("f", "bf"))


def wide_element(element: str) -> str:
    """The element that values of `element` are computed in."""
    return _WIDE.get(element, element)


def widen(b: Builder, x: Value) -> Value:
    """x in its wide element, exactly."""
    if x.element not in _WIDE:
        return x
    return b.op(_TO_WIDE[x.element], [x], element=_WIDE[x.element])


def narrow(b: Builder, x: Value, element: str) -> Value:
    """x, which is of the wide element of `element`, rounded (integers: wrapped) to `element`."""
    if x.element == element:
        return x
    if element == "i1":
        return compare(b, "ne", x, constant(b, x, 0))
    return b.op("arith.truncf" if is_float(x) else "arith.trunci", [x], element=element)


def widened(rule: Rule) -> Rule:
    """The same rule on widened operands, its result narrowed to the node's dtype."""

    def in_wide_element(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        return narrow(b, rule(b, node, [widen(b, x) for x in xs]), node.dtype.short)

    return in_wide_element


def whole(b: Builder, x: Value) -> Value:
    """x, which holds whole numbers, so that IREE does not merge the conversion that made a float of
    an integer with the rounding to 16 bits that comes next: VMVX has no such conversion."""
    return b.op("math.roundeven", [x]) if is_float(x) else x


def constant(b: Builder, like: Value, number: float) -> Value:
    """`number` in every element of a constant of the type of `like`."""
    text = literal(number, like.element)
    text = text if like.shape is None else f"dense<{text}>"
    return b.op("arith.constant", [], like=like, attributes={"value": f"{text} : {like.type}"})


def literal(number: float, element: str) -> str:
    """One element as MLIR text: a float by its bits, which covers infinities and needs no rounding
    by the parser."""
    if element == "index":
        return str(int(number))
    return literals(convert(np.array(number), as_dtype(element)))[0]


def literals(array: Array) -> list[str]:
    dtype = as_dtype(array.dtype)
    if dtype.is_float:
        bits = array.view(f"uint{8 * dtype.itemsize}")
        return [f"0x{int(x):0{2 * dtype.itemsize}X}" for x in bits.reshape(-1)]
    if dtype.is_integer:
        return [str(int(x)) for x in array.reshape(-1)]
    return ["true" if x else "false" for x in array.reshape(-1)]


def compare(b: Builder, predicate: str, x: Value, y: Value) -> Value:
    """x against y, an i1: predicates as MLIR spells them ("ogt" for floats, "sgt" for integers)."""
    if predicate == "oge":
        x, y, predicate = y, x, "ole"  # the VM's oge, so VMVX's too, is true for NaN
    if is_float(x):
        name, number = "arith.cmpf", _COMPARE_FLOATS[predicate]
    else:
        name, number = "arith.cmpi", _COMPARE_INTEGERS[predicate]
    attributes = {"predicate": f"{number} : i64"}
    return b.op(name, [x, y], element="i1", attributes=attributes)


def select(b: Builder, condition: Value, x: Value, y: Value) -> Value:
    """x where the condition is true, else y."""
    return b.op("arith.select", [condition, x, y], element=x.element)
