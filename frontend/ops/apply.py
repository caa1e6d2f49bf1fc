"""How an op function makes a node: numbers become constants, rank-0 operands are broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from stepforge.frontend.errors import GraphError
from stepforge.frontend.ops.op import Op, Value
from stepforge.frontend.ops.source import BROADCAST

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node

Operand: TypeAlias = "Node | bool | int | float"


def apply(op: Op, *operands: Operand, **attributes: Any) -> Node:
    """Appends a node of `op` to the graph of its operands, and returns it."""
    nodes = lift(op.name, operands)
    if op.elementwise:
        nodes = _broadcast_scalars(nodes)
    return nodes[0].graph.add(op, nodes, attributes)


def lift(name: str, operands: Sequence[Operand]) -> list[Node]:
    """The operands as nodes; a number becomes a constant of the first node's dtype."""
    anchor = next((x for x in operands if isinstance(x, Value)), None)
    if anchor is None:
        raise GraphError(
            f"{name}: at least one operand must be a node",
            expected="a Node",
            got=", ".join(type(x).__name__ for x in operands),
            hint="make constants with graph.constant(value, dtype)",
        )
    return [x if isinstance(x, Value) else _constant(name, x, anchor) for x in operands]


def _constant(name: str, number: object, beside: Node) -> Node:
    if isinstance(number, bool | int | float | np.generic):
        return beside.graph.constant(cast("object", number), beside.dtype)
    raise GraphError(
        f"{name}: operands are nodes and numbers",
        expected="a Node or a number",
        got=type(number).__name__,
        hint="make arrays constants with graph.constant(array, dtype)",
    )


def _broadcast_scalars(nodes: Sequence[Node]) -> list[Node]:
    shape = next((x.shape for x in nodes if x.rank), ())
    return [x if x.rank or not shape else broadcast_scalar(x, shape) for x in nodes]


def broadcast_scalar(node: Node, shape: tuple[int, ...]) -> Node:
    return node.graph.add(BROADCAST, (node,), {"shape": shape, "axes": ()})
