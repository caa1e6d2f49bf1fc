"""Reductions, and the cumulative sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stepforge.frontend.dtypes import DType
from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.shaping import empty, index, integers, pointwise, spread
from stepforge.frontend.emit.widths import Rule, constant, in_words, is_float
from stepforge.frontend.graph import Node

Identity = Callable[[DType], float]


def _number(value: float) -> Identity:
    return lambda _: value


def _least(dtype: DType) -> float:
    return -math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


def _greatest(dtype: DType) -> float:
    return math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).max)


def _reduce(float_op: str, integer_op: str, identity: Identity) -> Rule:
    """linalg.reduce with one combining op, over an output filled with its identity."""

    def rule(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
        x, axes = xs[0], sorted(node.attributes["axes"])
        if not axes:
            return x
        return reduced(b, x, axes, float_op if is_float(x) else integer_op, identity(node.dtype))

    return in_words(rule)


def reduced(b: Builder, x: Value, axes: Sequence[int], combiner: str, identity: float) -> Value:
    """x combined over sorted axes, which the result lacks."""

    def body(inner: Builder, element: Value, total: Value) -> Value:
        return inner.op(combiner, [total, element])

    kept = tuple(size for i, size in enumerate(x.shape or ()) if i not in axes)
    out = filled(b, x.element, kept, identity)
    attributes = {"dimensions": integers(axes)}
    return b.op("linalg.reduce", [x, out], like=out, attributes=attributes, body=body)


def filled(b: Builder, element: str, shape: tuple[int, ...], number: float) -> Value:
    return spread(b, constant(b, Value(None, element, None), number), shape)


def _cumsum(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Adds the elements 1, 2, 4, ... before each: log2(size) parallel steps.

    Each step is one linalg.generic; a serial scan would run in one thread, and is wrong past 65,536
    iterations on lavapipe. The float sum of element i has at most log2(i) roundings on its way.
    """
    total, axis, distance = xs[0], node.attributes["axis"], 1
    while distance < node.shape[axis]:
        total = _add_from_before(b, total, axis, distance)
        distance *= 2
    return total


def _add_from_before(b: Builder, x: Value, axis: int, distance: int) -> Value:
    def body(inner: Builder, element: Value, _: Value) -> Value:
        here = [index(inner, i) for i in range(len(x.shape or ()))]
        start = here[axis]
        offset = constant(inner, start, distance)
        inside = inner.scalar("arith.cmpi", [start, offset], "i1", {"predicate": "9 : i64"})
        before = inner.scalar("arith.subi", [start, offset], "index")
        # The index must be valid in the elements that do not use what it reads, too.
        here[axis] = inner.scalar("arith.select", [inside, before, start], "index")
        other = inner.scalar("tensor.extract", [x, *here], x.element)
        both = inner.op("arith.addf" if is_float(x) else "arith.addi", [element, other])
        return inner.op("arith.select", [inside, both, element], like=element)

    return pointwise(b, [x], empty(b, x.element, x.shape or ()), body)


RULES: Mapping[str, Rule] = {
    "reduce_sum": _reduce("arith.addf", "arith.addi", _number(0)),
    "reduce_prod": _reduce("arith.mulf", "arith.muli", _number(1)),
    "reduce_max": _reduce("arith.maximumf", "arith.maxsi", _least),
    "reduce_min": _reduce("arith.minimumf", "arith.minsi", _greatest),
    "reduce_all": _reduce("", "arith.andi", _number(1)),
    "reduce_any": _reduce("", "arith.ori", _number(0)),
    "cumsum": _cumsum,
}
