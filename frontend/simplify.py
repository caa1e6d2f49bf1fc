"""The same computation in fewer nodes: no node without a use, and no two that compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Graph, Node

_Key: TypeAlias = tuple[tuple[str, str], ...]


def simplify(
    outputs: Iterable[Node], inputs: Iterable[Node], name: str
) -> tuple[Graph, Mapping[Node, Node]]:
    """A new graph with what `outputs` need, and each old node's new one.

    inputs: input nodes to keep even without a use; all inputs keep their order. Update rules are
    written one variable at a time, so terms that many variables share appear many times in the
    traced graph, and here once. Every op is pure, so the results are the same, bit for bit.
    """
    needed = reachable([*outputs, *inputs])
    graph = Graph(name)
    found: dict[object, Node] = {}
    keys: dict[int, _Key] = {}  # of attributes, of which copies of one node have the same object
    renamed: dict[Node, Node] = {}
    for node in sorted(needed, key=lambda node: (node.op != "input", node.id)):
        operands = [renamed[x] for x in node.inputs]
        if node.op == "stop_gradient":
            renamed[node] = operands[0]  # it has said all it has to say when gradients are there
            continue
        attributes = keys.get(id(node.attributes))
        if attributes is None:
            attributes = keys[id(node.attributes)] = _key(node.attributes)
        key = (node.op, tuple(x.id for x in operands), attributes)
        if key not in found:
            found[key] = graph.add_copy(node, operands)
        renamed[node] = found[key]
    return graph, renamed


def _key(attributes: Mapping[str, Any]) -> _Key:
    """By text, since 0.0 == -0.0 and 1 == True would merge different constants."""
    if not attributes:
        return ()
    return tuple(sorted((key, repr(value)) for key, value in attributes.items()))
