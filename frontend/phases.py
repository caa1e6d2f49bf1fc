"""A step in two phases: `reduce` sums over the gradients, and `apply` updates with the sums.

A step that clips by the global norm, or skips what is not finite, needs a number that is made of
all gradients. Whoever keeps only some of them takes the phases apart: the sums of all shards are
added up in between.
"""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.collect import PARTIALS, collect
from stepforge.frontend.context import Context
from stepforge.frontend.entry_names import phase_names
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.program import EntryPoint
from stepforge.frontend.simplify import simplify


def split_phases(name: str, ctx: Context, traced: Graph) -> tuple[EntryPoint, EntryPoint]:
    """`reduce` and `apply` of the step that was traced, which is both together.

    Raises OptimizerError for a step that sums nothing over all its gradients.
    """
    if len(traced.partials) != 1:
        raise OptimizerError(
            f"{name!r} has no phases: it sums nothing over all gradients, so every shard can take "
            "the step alone",
            expected="clip_global_norm or skip_nonfinite, of one optimizer",
            got=f"{len(traced.partials)} such sums",
            hint="leave phases out, or set one of them",
        )
    ((cut, label),) = traced.partials.items()
    first, second = phase_names(name)
    return _reduce(first, ctx, cut, label), _apply(second, ctx, traced, cut, label)


def _reduce(name: str, ctx: Context, cut: Node, label: str) -> EntryPoint:
    graph, renamed = simplify([cut], [], name)
    partials = {label: ops.reshape(renamed[cut], (1,))}
    return collect(name, ctx, graph, partials=partials)


def _apply(name: str, ctx: Context, traced: Graph, cut: Node, label: str) -> EntryPoint:
    """The same nodes, with an input in place of the sum."""
    graph = Graph(name)
    renamed = dict[Node, Node]()
    for node in traced.nodes:
        if node is cut:
            given = graph.input(PARTIALS + label, cut.dtype, (1,))
            renamed[node] = ops.reshape(given, ())
        else:
            renamed[node] = graph.add_copy(node, [renamed[x] for x in node.inputs])
    graph.variable_values.update(
        (path, renamed[node]) for path, node in traced.variable_values.items()
    )
    for key, node in ctx.outputs(traced).items():
        ctx.add_output(graph, key, renamed[node])
    return collect(name, ctx, graph)
