"""Gradients of several micro-batches, added up for one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import float32, int64
from stepforge.frontend.errors import TrainingError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import Initializer, constant, zeros
from stepforge.frontend.variables import Role, Variable

#: Host variables: how many micro-batches make a step, and how many of them were taken.
ACCUMULATE_STEPS = "/trainer/accumulate_steps"
MICRO_STEP = "/trainer/micro_step"
_SCOPE = "/trainer/accumulated"


def begin_accumulation(ctx: Context, chosen: Sequence[Variable], steps: int) -> None:
    """Creates the sums, float32 or wider, and the two counters."""
    if not 1 < steps < 2**24:
        raise TrainingError("accumulate_steps counts micro-batches", expected=">= 1", got=steps)
    for variable in chosen:
        dtype = float32 if variable.dtype.is_half else variable.dtype
        ctx.variable(
            _SCOPE + variable.path, variable.shape, dtype, initializer=zeros(), trainable=False
        )
    _host_variable(ctx, ACCUMULATE_STEPS, "hyperparameter", constant(steps))
    _host_variable(ctx, MICRO_STEP, "counter", zeros())


def _host_variable(ctx: Context, path: str, role: Role, first: Initializer) -> None:
    ctx.variable(path, (), int64, initializer=first, trainable=False, storage="host", role=role)


def accumulate(ctx: Context, graph: Graph, gradients: Mapping[str, Node]) -> None:
    """Adds the gradients of a micro-batch to the sums."""
    for path, node in gradients.items():
        total = _sum(ctx, path)
        total.set_value_graph(total.value_graph(graph) + ops.cast(node, total.dtype))
    count = ctx.get_variable(MICRO_STEP)
    count.set_value_graph(count.value_graph(graph) + 1)


def accumulated(ctx: Context, graph: Graph, gradients: Mapping[str, Node]) -> dict[str, Node]:
    """The mean of the sums and the last gradients, as gradients; the sums begin anew."""
    share = 1.0 / ops.cast(ctx.get_variable(ACCUMULATE_STEPS).input(graph), float32)
    found: dict[str, Node] = {}
    for path, node in gradients.items():
        total = _sum(ctx, path)
        whole = total.value_graph(graph) + ops.cast(node, total.dtype)
        found[path] = ops.cast(whole * ops.cast(share, total.dtype), node.dtype)
        total.set_value_graph(graph.constant(0.0, total.dtype, total.shape))
    ctx.get_variable(MICRO_STEP).set_value_graph(graph.constant(0, int64))
    return found


def _sum(ctx: Context, path: str) -> Variable:
    return ctx.get_variable(_SCOPE + path)
