"""Counting the non-finite values of gradients, for a logger that the runtime attaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from stepforge.frontend import ops
from stepforge.frontend.dtypes import int32

if TYPE_CHECKING:
    from stepforge.frontend.context import Context
    from stepforge.frontend.graph import Node
    from stepforge.frontend.variables import Variable

NONFINITE = "nonfinite"
"""An output of this name followed by a variable's path is that gradient's count."""


@runtime_checkable
class Tracer(Protocol):
    """Told of non-finite values after a step; the runtime's NanLogger is one.

    As the value of the parameter `nanlogger` only its presence is compiled. It is never saved.
    """

    def trace(self, count: int, *scopes: str) -> None:
        """count: non-finite values found; scopes: what was looked at, as ("Gradients", path)."""
        ...


def trace_nan_in_gradients(ctx: Context, variable: Variable, gradients: Node) -> None:
    """Adds the i32 output `nonfinite<path>`: how many elements of the gradient are NaN or infinite.

    Does nothing unless the Context parameter `nanlogger` is set to True or a Tracer. Call it before
    `clip_nans_in_gradients`, which hides what it looks for.
    """
    if ctx.get_param("nanlogger") is None:
        return
    ctx.add_output(gradients.graph, NONFINITE + variable.path, count_nonfinite(gradients))


def count_nonfinite(x: Node) -> Node:
    """How many elements are NaN or infinite: a rank-0 i32."""
    return ops.reduce_sum(ops.cast(ops.logical_not(ops.is_finite(x)), int32))
