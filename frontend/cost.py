"""What a call of an entry point must do at least: floating-point operations, and bytes moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Node
from stepforge.frontend.ops import OPS
from stepforge.frontend.program import EntryPoint


@dataclass(frozen=True, slots=True)
class Cost:
    """flops: additions, products and the like, one per element and op; integer ops count too.

    bytes: arguments read and results written once, as if nothing between were ever stored.
    """

    flops: int
    bytes: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.flops - other.flops, self.bytes - other.bytes)


def cost(entry: EntryPoint) -> Cost:
    """The cost of one call."""
    nodes = reachable(x.node for x in entry.results)
    device = [x.node for x in entry.arguments if x.storage == "device"]
    written = {x.node for x in entry.results}
    return Cost(
        flops=sum(_flops(node) for node in nodes),
        bytes=sum(_bytes(node) for node in (*device, *written)),
    )


def _flops(node: Node) -> int:
    if node.op in _FLOPS:
        return _FLOPS[node.op](node)
    return math.prod(node.shape) if OPS[node.op].elementwise else 0


def _bytes(node: Node) -> int:
    return math.prod(node.shape) * node.dtype.itemsize


def _reduction(node: Node) -> int:
    return math.prod(node.inputs[0].shape)


def _dot_general(node: Node) -> int:
    axes: tuple[int, ...] = node.attributes["contract"][0]
    return 2 * math.prod(node.shape) * math.prod(node.inputs[0].shape[axis] for axis in axes)


def _convolution(node: Node) -> int:
    # Each output element sums over the window and the channels of its group.
    return 2 * math.prod(node.shape) * math.prod(node.inputs[1].shape[:-1])


_FLOPS: Mapping[str, Callable[[Node], int]] = {
    "dot_general": _dot_general,
    "convolution": _convolution,
    "cumsum": _reduction,
    **{name: _reduction for name in OPS if name.startswith("reduce_")},
}
