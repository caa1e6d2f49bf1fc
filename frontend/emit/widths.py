"""Narrow elements live in wide ones inside a function: 16-bit floats in f32, i8 in i32.

A bfloat16 node is an f32 tensor of bfloat16 numbers; only arguments and results have the narrow
element. Three defects of IREE 3.13 are the reason:
- On CPU a rounding to bfloat16 between two ops is dropped (f32 -> bf16 -> f32 in one loop).
- On Vulkan devices without 8- and 16-bit storage (the portable profile) loops that are vectorised
  and have a narrow element anywhere compute garbage, and the last, partial 32-bit word of a narrow
  buffer is lost; so narrow tensors should not stand between two dispatches either.
- VMVX has no conversion between floats or integers and 8- or 16-bit elements but a few.

Bools are i1, which IREE treats well in loops; ops that may leave them in a buffer use i32 words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stepforge.frontend.dtypes import Array, as_dtype, convert
from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.graph import Node

Rule = Callable[[Builder, Node, Sequence[Value]], Value]

_WIDE = {"f16": "f32", "bf16": "f32", "i8": "i32"}

_COMPARE_FLOATS = {"oeq": 1, "ogt": 2, "olt": 4, "ole": 5, "one": 6, "une": 13, "uno": 14}
_COMPARE_INTEGERS = {"eq": 0, "ne": 1, "slt": 2, "sle": 3, "sgt": 4, "sge": 5, "uge": 9}


def is_float(x: Value) -> bool:
    return x.element.startswith(("f", "bf"))


def wide_element(element: str) -> str:
    """The element that values of `element` are computed in."""
    return _WIDE.get(element, element)


def enter(b: Builder, x: Value) -> Value:
    """A narrow argument in its wide element."""
    if x.element not in _WIDE:
        return x
    return b.op("arith.extf" if is_float(x) else "arith.extsi", [x], element=_WIDE[x.element])


def leave(b: Builder, x: Value, element: str) -> Value:
    """x, of the wide element of `element` and maybe not rounded yet, as a result of `element`."""
    if x.element == element:
        return x
    return b.op("arith.truncf" if is_float(x) else "arith.trunci", [x], element=element)


def rounded(b: Builder, x: Value, element: str) -> Value:
    """x, of the wide element of `element`, as one of its numbers: integers wrap."""
    if element == "bf16":
        return _rounded_to_bfloat16(b, x)
    if element == "f16":
        return enter(b, leave(b, x, element))
    if element == "i8":
        bits = constant(b, x, 24)
        return b.op("arith.shrsi", [b.op("arith.shli", [x, bits]), bits])
    return x


def _rounded_to_bfloat16(b: Builder, x: Value) -> Value:
    """The upper half of the bits, rounded to nearest, ties to even; a NaN stays as it is."""
    bits = b.op("arith.bitcast", [x], element="i32")
    upper = b.op("arith.shrui", [bits, constant(b, bits, 16)])
    tie = b.op("arith.andi", [upper, constant(b, bits, 1)])
    half = b.op("arith.addi", [tie, constant(b, bits, 0x7FFF)])
    kept = b.op("arith.andi", [b.op("arith.addi", [bits, half]), constant(b, bits, -(2**16))])
    number = b.op("arith.bitcast", [kept], element="f32")
    return select(b, compare(b, "uno", x, x), x, number)


def in_words(rule: Rule) -> Rule:
    """The same rule, with bools as 0 and 1 in i32: a narrower tensor must not reach a buffer."""

    def in_integers(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        if node.dtype.kind != "bool":
            return rule(b, node, xs)
        words = [b.op("arith.extui", [x], element="i32") if x.element == "i1" else x for x in xs]
        result = rule(b, node, words)
        return compare(b, "ne", result, constant(b, result, 0))

    return in_integers


def whole(b: Builder, x: Value) -> Value:
    """x, which holds whole numbers, so that IREE does not merge the conversion that made a float of
    an integer with a rounding to 16 bits that comes next: VMVX has no such conversion."""
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


def ceil(b: Builder, x: Value) -> Value:
    """The smallest whole number not below x; in f64 by floor, because baseline x86-64 has nothing
    to link the other with."""
    if x.element != "f64":
        return b.op("math.ceil", [x])
    return b.op("arith.negf", [b.op("math.floor", [b.op("arith.negf", [x])])])


def select(b: Builder, condition: Value, x: Value, y: Value) -> Value:
    """x where the condition is true, else y."""
    return b.op("arith.select", [condition, x, y], element=x.element)
