"""Conditions that a backward pass needs once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stepforge.frontend import ops
from stepforge.frontend.graph import Node

_MIRRORED: Mapping[str, Callable[[Node, Node], Node]] = {
    "equal": ops.equal,
    "not_equal": ops.not_equal,
    "less": ops.greater,
    "less_equal": ops.greater_equal,
    "greater": ops.less,
    "greater_equal": ops.less_equal,
}
_LOGIC: Mapping[str, Callable[[Node, Node], Node]] = {
    "logical_and": ops.logical_and,
    "logical_or": ops.logical_or,
    "logical_xor": ops.logical_xor,
}


def again(condition: Node) -> Node:
    """The same bool, computed a second time: from mirrored comparisons, `b > a` for `a < b`.

    A mask that both the forward and the backward pass use would be kept in memory between their
    kernels, as bytes, which the portable Vulkan target cannot do; what it was computed from is
    there anyway. Mirrored, because equal nodes are merged, here (`simplify`) and by the compiler.
    """
    if condition.op in _MIRRORED:
        a, b = condition.inputs
        return _MIRRORED[condition.op](b, a)
    if condition.op in _LOGIC:
        a, b = map(again, condition.inputs)
        return _LOGIC[condition.op](a, b)
    if condition.op == "logical_not":
        return ops.logical_not(again(condition.inputs[0]))
    if condition.op == "broadcast":
        return ops.broadcast_to(again(condition.inputs[0]), **condition.attributes)
    return condition
