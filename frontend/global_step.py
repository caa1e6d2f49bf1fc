"""The global step: how often a Context's variables were updated."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, DTypeLike, int32, int64
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import PARAM_SKIP_NONFINITE
from stepforge.frontend.initializers import zeros
from stepforge.frontend.settable import Scalar
from stepforge.frontend.variables import Storage, Variable

GLOBAL_STEP_VARIABLE_NAME = "global_step"
_HALF = 2**16


def counter_variable(ctx: Context, name: str) -> Variable:
    """A counter that starts at 0, created if it does not exist: an i64 on the host.

    With `skip_nonfinite` only the device knows whether to count: an i32 there.
    """
    found = ctx.find_variable(name)
    if found is None:
        on_device = ctx.get_param(PARAM_SKIP_NONFINITE, False)
    else:
        on_device = found.spec.storage == "device"
    return device_counter(ctx, name) if on_device else _counter(ctx, name, int64, "host")


def device_counter(ctx: Context, name: str) -> Variable:
    """An i32 counter that starts at 0, kept on the device; created if it does not exist."""
    return _counter(ctx, name, int32, "device")


def _counter(ctx: Context, name: str, dtype: DType, storage: Storage) -> Variable:
    return ctx.variable(
        name, (), dtype, initializer=zeros(), trainable=False, storage=storage, role="counter"
    )


def increment_counter_graph(
    ctx: Context, graph: Graph, name: str, dtype: DTypeLike | None = None
) -> Node:
    """The counter's newest value plus one, which becomes its value.

    dtype: of what is returned; by default the counter's own.
    """
    counter = counter_variable(ctx, name)
    value = counter.value_graph(graph) + 1
    counter.set_value_graph(value)
    return value if dtype is None else ops.cast(value, dtype)


def largest_count(counter: Node) -> int:
    """What a counter of this dtype can hold."""
    return 2**63 - 1 if counter.dtype == int64 else 2**31 - 1


def as_counter(like: Node, value: Scalar) -> Node:
    """An integer hyperparameter in the dtype of a counter, to compute with it.

    An i64 of the host comes to the device in two halves that a float32 holds exactly: tables of
    host scalars have no integers. It counts as at most 2^31 - 1, as counters there do.
    """
    most = largest_count(like)
    if not isinstance(value, Node):
        return like.graph.constant(min(int(value), most), like.dtype)
    if value.dtype == like.dtype:
        return value
    bounded = ops.maximum(ops.minimum(value, most), -most)
    high, low = (op(bounded, _HALF) for op in (ops.div, ops.rem))
    return ops.cast(high, like.dtype) * _HALF + ops.cast(low, like.dtype)


def get_global_step_var(ctx: Context) -> Variable:
    """The variable `global_step` of this scope; created with 0 if it does not exist.

    It is an i64 of the host; with `skip_nonfinite` an i32 of the device.
    """
    return counter_variable(ctx, GLOBAL_STEP_VARIABLE_NAME)


def get_global_step(ctx: Context) -> int:
    """The Context's value of the global step; the variable is created if it does not exist."""
    return int(get_global_step_var(ctx).value)


def delete_global_step(ctx: Context) -> None:
    """Forgets the global step of this scope; does nothing if there is none."""
    if ctx.find_variable(GLOBAL_STEP_VARIABLE_NAME) is not None:
        ctx.delete_variable(GLOBAL_STEP_VARIABLE_NAME)


def increment_global_step_graph(ctx: Context, graph: Graph, dtype: DTypeLike | None = None) -> Node:
    """The incremented global step, 1 the first time. Optimizers call it in every update.

    It is stored as an integer and cast to `dtype` on return, so that a narrow float never stops
    it; by default it is returned as it is stored (see `get_global_step_var`).
    """
    return increment_counter_graph(ctx, graph, GLOBAL_STEP_VARIABLE_NAME, dtype)
