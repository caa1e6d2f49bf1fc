"""Reverse mode: one walk over a graph, from an output back to the nodes that are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from stepforge.frontend import ops
from stepforge.frontend.errors import GradientError
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.gradient.rows import GRADIENTS
from stepforge.frontend.gradient.rule import NotDifferentiable
from stepforge.frontend.graph import Node


def gradient(output: Node, wrt: Sequence[Node]) -> list[Node]:
    """The derivatives of `output` with respect to each node of `wrt`, as new nodes of the graph.

    output: rank 0, a float. wrt: any float nodes of its graph, inputs or not; a result has the
    dtype and shape of its node, and is zero where `output` does not depend on it.
    Raises GradientError where that does not hold, and where `output` depends on `wrt` through an
    op without a derivative.

    Where a function has a kink or a tie, the rows say which subgradient they take. As in all such
    systems, a `where` stops the cotangent of the branch that is not taken as a zero, and zero times
    an infinite derivative is NaN: keep the argument of `sqrt`, `log` or `/` inside its domain in
    that branch too (with a `where` before it).
    """
    _check(output, wrt)
    path = _between(frozenset(wrt), output)
    cotangents: dict[Node, Node] = {output: output.graph.constant(1.0, output.dtype)}
    for node in reversed(list(path)):
        if node not in cotangents or not any(x in path for x in node.inputs):
            continue
        for x, share in _shares(node, cotangents[node]):
            if x in path:
                known = cotangents.get(x)
                cotangents[x] = share if known is None else ops.add(known, share)
    return [cotangents[x] if x in cotangents else _zeros(x) for x in wrt]


def followed(output: Node) -> frozenset[Node]:
    """The nodes that a gradient of `output` reaches.

    Not those only behind `stop_gradient`, integers or bools: their gradient is zero, whatever the
    numbers are.
    """
    seen: set[Node] = {output}
    pending = [output]
    while pending:
        node = pending.pop()
        if node.op == "stop_gradient":
            continue
        found = [x for x in node.inputs if x.dtype.is_float and x not in seen]
        seen.update(found)
        pending.extend(found)
    return frozenset(seen)


def _between(wrt: frozenset[Node], output: Node) -> dict[Node, None]:
    """The float nodes on a way from `wrt` to `output`, operands first."""
    path: dict[Node, None] = {}
    for node in reachable([output]):
        if node.dtype.is_float and (node in wrt or any(x in path for x in node.inputs)):
            path[node] = None
    return path


def _shares(node: Node, cotangent: Node) -> Iterator[tuple[Node, Node]]:
    rule = GRADIENTS[node.op]
    if isinstance(rule, NotDifferentiable):
        raise GradientError(
            f"{node.op} has no derivative: {rule.reason}",
            got=repr(node),
            hint="put ops.stop_gradient around its operands, or do without it",
        )
    for x, share in zip(node.inputs, rule(node, cotangent), strict=True):
        if share is None or not x.dtype.is_float:
            continue
        assert share.type == x.type, f"the gradient row of {node.op} gives {share!r} for {x!r}"
        yield x, share


def _zeros(node: Node) -> Node:
    return node.graph.constant(0.0, node.dtype, node.shape)


def _check(output: Node, wrt: Collection[Node]) -> None:
    if output.rank or not output.dtype.is_float:
        raise GradientError(
            "a gradient is taken of a single float",
            expected="a float dtype and shape ()",
            got=repr(output),
            hint="reduce it first, for example with ops.reduce_mean",
        )
    for node in wrt:
        if node.graph is not output.graph or not node.dtype.is_float:
            raise GradientError(
                "a gradient is taken with respect to float nodes of the output's graph",
                expected=f"a float node of {output.graph!r}",
                got=f"{node!r} of {node.graph!r}",
            )
