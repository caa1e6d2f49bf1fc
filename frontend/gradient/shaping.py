"""Rows of ops that move elements, and of sources."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from stepforge.frontend import ops
from stepforge.frontend.gradient.rule import NotDifferentiable, Rows
from stepforge.frontend.graph import Node

Shares = Sequence[Node | None]

_SOURCE = NotDifferentiable("it has no operands")


def _broadcast(node: Node, g: Node) -> Shares:
    added = [axis for axis in range(node.rank) if axis not in node.attributes["axes"]]
    return (ops.reduce_sum(g, added),)


def _reshape(node: Node, g: Node) -> Shares:
    return (ops.reshape(g, node.inputs[0].shape),)


def _transpose(node: Node, g: Node) -> Shares:
    order: Sequence[int] = node.attributes["permutation"]
    return (ops.transpose(g, [order.index(axis) for axis in range(node.rank)]),)


def _slice(node: Node, g: Node) -> Shares:
    """Back to where the elements came from, with zeros between and around."""
    starts, strides = node.attributes["starts"], node.attributes["strides"]
    shape = node.inputs[0].shape
    if 0 in g.shape:
        return (g.graph.constant(0.0, g.dtype, shape),)
    wide = spread(g, strides)
    high = [size - a - n for size, a, n in zip(shape, starts, wide.shape, strict=True)]
    return (_pad_with_zeros(wide, starts, high),)


def spread(x: Node, strides: Sequence[int]) -> Node:
    """x with strides[i] - 1 zeros between neighbours on axis i: (n - 1) * stride + 1 elements."""
    if all(stride == 1 or size == 1 for stride, size in zip(strides, x.shape, strict=True)):
        return x
    pairs = [(size, 1) for size in x.shape]
    zeros = [(0, stride - 1) for stride in strides]
    split = ops.reshape(x, [size for pair in pairs for size in pair])
    filled = ops.pad(split, 0.0, [0] * split.rank, [count for pair in zeros for count in pair])
    whole = [size * stride for size, stride in zip(x.shape, strides, strict=True)]
    ends = [(size - 1) * stride + 1 for size, stride in zip(x.shape, strides, strict=True)]
    return ops.slice(ops.reshape(filled, whole), [0] * x.rank, ends)


def _pad_with_zeros(x: Node, low: Sequence[int], high: Sequence[int]) -> Node:
    return ops.pad(x, 0.0, low, high) if any(low) or any(high) else x


def _concatenate(node: Node, g: Node) -> Shares:
    axis: int = node.attributes["axis"]
    start = 0
    shares: list[Node] = []
    for x in node.inputs:
        starts, limits = [0] * g.rank, list(g.shape)
        starts[axis], limits[axis] = start, start + x.shape[axis]
        shares.append(ops.slice(g, starts, limits))
        start = limits[axis]
    return shares


def _pad(node: Node, g: Node) -> Shares:
    x, value = node.inputs
    low, high = node.attributes["low"], node.attributes["high"]
    limits = [start + size for start, size in zip(low, x.shape, strict=True)]
    by_x = ops.slice(g, low, limits)
    if value.op == "constant":
        return by_x, None
    # Not sum(g) - sum(by_x), which cancels.
    inside = ops.pad(g.graph.constant(1.0, g.dtype, x.shape), 0.0, low, high)
    return by_x, ops.reduce_sum(ops.where(ops.greater(inside, 0.5), 0.0, g))


def _reverse(node: Node, g: Node) -> Shares:
    return (ops.reverse(g, node.attributes["axes"]),)


RULES: Rows = MappingProxyType(
    {
        "input": _SOURCE,
        "constant": _SOURCE,
        "unfolded_constant": _SOURCE,
        "iota": _SOURCE,
        "broadcast": _broadcast,
        "reshape": _reshape,
        "transpose": _transpose,
        "slice": _slice,
        "concatenate": _concatenate,
        "pad": _pad,
        "reverse": _reverse,
    }
)
