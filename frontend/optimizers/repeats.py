"""Updates of variables that are alike: one is traced, and its nodes are copied for the others.

A model has hundreds of variables of a few shapes. A rule makes the same nodes for each of a shape,
but for what stands for the variable itself, its gradient and its slots.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from stepforge.frontend.context import Context
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.variables import Variable, VariableSpec


@dataclass(frozen=True, slots=True)
class _Traced:
    """What one variable's update appended to the graph and set in it."""

    path: str
    given: Mapping[Node, str]
    """Nodes of before that stand for the variable alone, and what they are."""
    nodes: tuple[Node, ...]
    """Those that are made of what stands for the variable; the others are the same for all."""
    slots: tuple[VariableSpec, ...]
    """In the order of their creation."""
    values: Mapping[str, Node]
    """The new values, by path, in the order in which they were set."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The updates of one step, by what decides about their nodes.

    The first of a kind makes what all share, such as the input of the learning rate; the second is
    the one that is copied.
    """

    ctx: Context
    graph: Graph
    create: Callable[[VariableSpec, Variable], Variable]
    """The slot of a variable that is as another variable's is, created if it does not exist."""
    seen: dict[Hashable, _Traced | None] = field(default_factory=dict[Hashable, "_Traced | None"])
    """By kind; None where there is nothing to copy, or not yet."""

    def kind(self, sight: Hashable, variable: Variable, gradient: Node) -> Hashable:
        """Equal for variables whose updates are alike. sight: what the Context says of it."""
        value = _value(self.graph, variable)
        at_hand = variable.path in self.graph.inputs, value is None, value is gradient
        return sight, variable.shape, variable.dtype, gradient.type, at_hand

    def copy(self, kind: Hashable, variable: Variable, gradient: Node) -> bool:
        """Appends the update of a variable as one of its kind was; False if it must be traced."""
        traced = self.seen.get(kind)
        if traced is None:
            return False
        graph = self.graph
        names = {spec.name: self.create(spec, variable).path for spec in traced.slots}
        if any(x in graph.inputs or x in graph.variable_values for x in names.values()):
            return False
        names[traced.path] = variable.path
        own = _given(graph, variable, gradient)
        new = {node: own[what] for node, what in traced.given.items()}
        for node in traced.nodes:
            name = names[node.attributes["name"]] if node.op == "input" else None
            new[node] = graph.add_copy(node, [new.get(x, x) for x in node.inputs], name=name)
        for path, node in traced.values.items():
            graph.variable_values[names[path]] = new.get(node, node)
        return True

    @contextmanager
    def tracing(self, kind: Hashable, variable: Variable, gradient: Node) -> Generator[None]:
        """Remembers the update of a variable, which is traced inside."""
        graph, path = self.graph, variable.path
        start, count, had = graph.next_id, len(graph.variable_values), path in graph.variable_values
        given = {node: what for what, node in _given(graph, variable, gradient).items()}
        yield
        if kind not in self.seen:
            self.seen[kind] = None
            return
        values = dict(list(graph.variable_values.items())[count:])
        if had:
            values = {path: graph.variable_values[path], **values}
        specs = [x.spec for x in self.ctx.root if x.path in values]
        slots = tuple(spec for spec in specs if spec.of == path)
        names = [spec.name for spec in slots]
        nodes = graph.nodes[start:]
        own = {path, *names}
        if any(x.op == "input" and x.attributes["name"] not in own for x in nodes):
            return
        fresh = all(x not in graph.inputs or graph.inputs[x].id >= start for x in names)
        if fresh and own == set(values):
            self.seen[kind] = _Traced(path, given, _made_of(given, nodes), slots, values)


def _made_of(given: Iterable[Node], nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes that need what is given, or an input among them."""
    needing = set(given)
    for node in nodes:
        if node.op == "input" or not needing.isdisjoint(node.inputs):
            needing.add(node)
    return tuple(node for node in nodes if node in needing)


def _value(graph: Graph, variable: Variable) -> Node | None:
    """Where a variable's value is in the graph already."""
    newest = graph.variable_values.get(variable.path)
    return graph.inputs.get(variable.path) if newest is None else newest


def _given(graph: Graph, variable: Variable, gradient: Node) -> dict[str, Node]:
    value = _value(graph, variable)
    return {"gradient": gradient} if value is None else {"value": value, "gradient": gradient}
