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


def check_steps(ctx: Context, steps: object) -> None:
    """Raises TrainingError for what is no number of micro-batches, or another than `ctx` has."""
    if not isinstance(steps, int) or isinstance(steps, bool) or not 0 < steps < 2**24:
        expected = "a whole number of at least 1, below 2^24"
        rule = "accumulate_steps counts micro-batches"
        raise TrainingError(rule, expected=expected, got=repr(steps))
    known = ctx.find_variable(ACCUMULATE_STEPS)
    if steps > 1 and known is not None and known.spec.initializer != constant(steps):
        raise TrainingError(
            f"the Context has the variable {ACCUMULATE_STEPS!r} already, which keeps its value",
            expected=known.spec.initializer.value,
            got=f"accumulate_steps={steps}",
            hint="use another Context, or set the variable of the artifact when it is loaded",
        )


def begin_accumulation(ctx: Context, chosen: Sequence[Variable], steps: int) -> None:
    """Creates the sums, float32 or wider, and the two counters."""
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
    """The mean of the sums and the last gradients, as gradients."""
    steps, taken = (ctx.get_variable(x).input(graph) for x in (ACCUMULATE_STEPS, MICRO_STEP))
    # More were taken than are to be, where the number was made smaller in between.
    share = 1.0 / ops.cast(ops.maximum(steps, taken + 1), float32)
    found: dict[str, Node] = {}
    for path, node in gradients.items():
        total = _sum(ctx, path)
        whole = total.value_graph(graph) + ops.cast(node, total.dtype)
        found[path] = ops.cast(whole * ops.cast(share, total.dtype), node.dtype)
    return found


def begin_anew(ctx: Context, graph: Graph, chosen: Sequence[Variable]) -> None:
    """Zeroes the sums and their count; of a skipped step too, whose sums are of no use."""
    for variable in chosen:
        total = _sum(ctx, variable.path)
        total.set_value_graph(graph.constant(0.0, total.dtype, total.shape))
    ctx.get_variable(MICRO_STEP).set_value_graph(graph.constant(0, int64))


def _sum(ctx: Context, path: str) -> Variable:
    return ctx.get_variable(_SCOPE + path)
