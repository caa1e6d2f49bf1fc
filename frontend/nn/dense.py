"""A fully connected layer, and the bias that other layers add too."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import Initializer, glorot_uniform, zeros
from stepforge.frontend.ops.op import FLOAT, check_kind


def dense(
    ctx: Context,
    x: Node,
    features: int,
    *,
    use_bias: bool = True,
    initializer: Initializer | None = None,
) -> Node:
    """x @ w + b over the last axis: a float x[.., n] gives [.., features].

    Variables: `w`[n, features] by `initializer` (None: glorot_uniform, as Keras; torch draws from
    +-1/sqrt(n) and keeps the transpose), and with `use_bias` `b`[features], zeros at first.
    Raises ShapeError, DTypeError.
    """
    check_layer("dense", x, rank=1)
    how = glorot_uniform() if initializer is None else initializer
    w = ctx.variable("w", (x.shape[-1], features), x.dtype, initializer=how)
    product = ops.matmul(x, w.value_graph(x.graph))
    return add_bias(ctx, product) if use_bias else product


def add_bias(ctx: Context, x: Node) -> Node:
    """x plus a variable `b`, zeros at first, with one number for each place of the last axis."""
    b = ctx.variable("b", x.shape[-1:], x.dtype, initializer=zeros())
    return x + ops.broadcast_to(b.value_graph(x.graph), x.shape)


def check_layer(name: str, x: Node, *, rank: int) -> None:
    """Raises DTypeError unless x is a float, ShapeError unless it has that rank or more."""
    check_kind(name, x.dtype, FLOAT)
    if x.rank < rank:
        rule = f"{name}: the input has too few axes"
        raise ShapeError(rule, expected=f"{rank} or more", got=repr(x))
