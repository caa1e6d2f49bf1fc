"""Rows of reductions and of the cumulative sum.

`reduce_max` and `reduce_min` share the cotangent equally between all elements that tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32
from stepforge.frontend.gradient.rule import NotDifferentiable, Rows, Rule
from stepforge.frontend.graph import Node

Shares = Sequence[Node | None]

_BOOL = NotDifferentiable("its result is a bool")


def _kept(node: Node) -> list[int]:
    return [axis for axis in range(node.inputs[0].rank) if axis not in node.attributes["axes"]]


def _to_operand(node: Node, value: Node) -> Node:
    """A value of the shape of the result of a reduction, repeated over the axes it removed."""
    return ops.broadcast_to(value, node.inputs[0].shape, _kept(node))


def _sum(node: Node, g: Node) -> Shares:
    return (_to_operand(node, g),)


def _prod(node: Node, g: Node) -> Shares:
    """g times the product of the other elements, without a division: right for zeros too.

    The elements are multiplied in pairs, the products in pairs, and so on; on the way back each of
    a pair gets the cotangent times the other.
    """
    x = node.inputs[0]
    if 0 in x.shape:
        return (x.graph.constant(0.0, x.dtype, x.shape),)
    order = [*node.attributes["axes"], *_kept(node)]
    moved = ops.transpose(x, order)
    rest = math.prod(node.shape)
    count = math.prod(x.shape) // rest
    share = _other_factors(ops.reshape(moved, (count, rest)), ops.reshape(g, (1, rest)))
    back = [order.index(axis) for axis in range(x.rank)]
    return (ops.transpose(ops.reshape(share, moved.shape), back),)


def _other_factors(factors: Node, g: Node) -> Node:
    """g times the product of all other rows, for each row of `factors`."""
    count, width = factors.shape
    if count == 1:
        return g
    half = (count + 1) // 2
    first = ops.slice(factors, (0, 0), (half, width))
    second = ops.slice(factors, (half, 0), (count, width))
    if count % 2:
        second = ops.pad(second, 1.0, (0, 0), (1, 0))
    above = _other_factors(first * second, g)
    both = ops.concatenate([above * second, above * first], 0)
    return ops.slice(both, (0, 0), (count, width)) if count % 2 else both


def _extreme(beaten: Callable[[Node, Node], Node]) -> Rule:
    def rule(node: Node, g: Node) -> Shares:
        x, best = node.inputs[0], _to_operand(node, node)
        wide = float32 if x.dtype.is_half else x.dtype
        ties = ops.reduce_sum(ops.cast(ops.equal(x, best), wide), node.attributes["axes"])
        each = ops.cast(ops.cast(g, wide) / ties, g.dtype)
        return (ops.where(beaten(x, best), 0.0, _to_operand(node, each)),)

    return rule


def _cumsum(node: Node, g: Node) -> Shares:
    axis = node.attributes["axis"]
    return (ops.reverse(ops.cumsum(ops.reverse(g, axis), axis), axis),)


RULES: Rows = MappingProxyType(
    {
        "reduce_sum": _sum,
        "reduce_prod": _prod,
        "reduce_max": _extreme(ops.less),
        "reduce_min": _extreme(ops.greater),
        "reduce_all": _BOOL,
        "reduce_any": _BOOL,
        "cumsum": _cumsum,
    }
)
