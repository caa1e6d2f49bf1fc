"""The global step: how often a Context's variables were updated."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DTypeLike, int64
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import zeros
from stepforge.frontend.variables import Variable

GLOBAL_STEP_VARIABLE_NAME = "global_step"


def counter_variable(ctx: Context, name: str) -> Variable:
    """An i64 counter that starts at 0, kept on the host; created if it does not exist."""
    return ctx.variable(
        name, (), int64, initializer=zeros(), trainable=False, storage="host", role="counter"
    )


def increment_counter_graph(
    ctx: Context, graph: Graph, name: str, dtype: DTypeLike = int64
) -> Node:
    """The counter's newest value plus one, which becomes its value; cast to `dtype` on return."""
    counter = counter_variable(ctx, name)
    value = counter.value_graph(graph) + 1
    counter.set_value_graph(value)
    return ops.cast(value, dtype)


def get_global_step_var(ctx: Context) -> Variable:
    """The i64 variable `global_step` of this scope; created with 0 if it does not exist."""
    return counter_variable(ctx, GLOBAL_STEP_VARIABLE_NAME)


def get_global_step(ctx: Context) -> int:
    """The Context's value of the global step; the variable is created if it does not exist."""
    return int(get_global_step_var(ctx).value)


def delete_global_step(ctx: Context) -> None:
    """Forgets the global step of this scope; does nothing if there is none."""
    if ctx.find_variable(GLOBAL_STEP_VARIABLE_NAME) is not None:
        ctx.delete_variable(GLOBAL_STEP_VARIABLE_NAME)


def increment_global_step_graph(ctx: Context, graph: Graph, dtype: DTypeLike = int64) -> Node:
    """The incremented global step, 1 the first time. Optimizers call it in every update.

    It is stored as int64 and cast to `dtype` on return, so that a narrow float never stops it.
    """
    return increment_counter_graph(ctx, graph, GLOBAL_STEP_VARIABLE_NAME, dtype)
