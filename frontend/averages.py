"""`ema_decay`: a moving average of each parameter, kept in the loop that updates it."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.graph import Node
from stepforge.frontend.resolve import Resolved, read

EMA = "ema"
"""The kind of the slot that holds the average, and the name of what counts its steps."""


def moving_average(
    ctx: Context, setting: Resolved, average: Node, parameter: Node, step: Node
) -> Node:
    """d * average + (1 - d) * parameter, in the average's dtype.

    parameter: after the step. step: how many were averaged with it; the first has d = 0, so that
    the average is the parameter itself.
    """
    graph, dtype = average.graph, average.dtype
    decay = read(setting, ctx, graph, dtype)
    rest = read(setting, ctx, graph, dtype, "one_minus")
    first = ops.equal(step, 1)
    decay = ops.where(first, 0.0, _node(average, decay))
    rest = ops.where(first, 1.0, _node(average, rest))
    return decay * average + rest * ops.cast(parameter, dtype)


def _node(like: Node, value: float | Node) -> Node:
    return value if isinstance(value, Node) else like.graph.constant(value, like.dtype)
