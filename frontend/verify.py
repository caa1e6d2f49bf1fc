"""Checks every rule of a graph again, as if its nodes came from somewhere else."""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.frontend.errors import FrontendError, VerifyError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.ops import OPS


def verify(graph: Graph) -> None:
    """Raises VerifyError, naming the node, unless the graph is well formed.

    Every node belongs to the graph, follows its operands, has a known op with its operands and
    attributes, and has the type that the op's rule gives. Input names are unique.
    """
    nodes = graph.nodes
    names = [node.attributes["name"] for node in nodes if node.op == "input"]
    if len(names) != len(set(names)) or set(names) != set(graph.inputs):
        raise VerifyError("input names are unique and known to their graph", got=sorted(names))
    for index, node in enumerate(nodes):
        _verify_place(nodes, index, node, graph)
        _verify_type(node)


def _verify_place(nodes: Sequence[Node], index: int, node: Node, graph: Graph) -> None:
    if node.graph is not graph or node.id != index:
        raise _error(node, "a node's id is its place in its graph", f"%{index}", f"%{node.id}")
    for x in node.inputs:
        if x.graph is not graph or x.id >= index or nodes[x.id] is not x:
            expected = "earlier nodes of the graph"
            raise _error(node, "operands stand before the node, in one graph", expected, repr(x))


def _verify_type(node: Node) -> None:
    op = OPS.get(node.op)
    if op is None:
        raise _error(node, "the op is in the table", ", ".join(OPS), node.op)
    if len(node.inputs) != op.arity and (op.arity is not None or not node.inputs):
        expected = "1 or more" if op.arity is None else op.arity
        raise _error(node, "an op has its number of operands", expected, len(node.inputs))
    if set(node.attributes) != set(op.attributes):
        raise _error(
            node, "an op has exactly its attributes", sorted(op.attributes), sorted(node.attributes)
        )
    try:
        inferred = op.infer([x.type for x in node.inputs], node.attributes)
    except FrontendError as error:
        raise _error(node, "the type rule accepts the operands", "no error", error) from error
    if inferred != node.type:
        raise _error(node, "a node has the type of its op's rule", inferred, node.type)


def _error(node: Node, rule: str, expected: object, got: object) -> VerifyError:
    return VerifyError(f"{node!r}: {rule}", expected=expected, got=got, location=node.location)
