"""Self-attention with several heads."""

from __future__ import annotations

import math

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import bool_, float32
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import Initializer
from stepforge.frontend.nn.dense import check_layer, dense
from stepforge.frontend.nn.dropout import dropout

# Finite, so that an example whose keys are all masked gets numbers; exp makes it 0 beside others.
_MASKED = -1e30


def multi_head_attention(
    ctx: Context,
    x: Node,
    heads: int,
    *,
    causal: bool = True,
    mask: Node | None = None,
    dropout_rate: float = 0.0,
    use_bias: bool = True,
    initializer: Initializer | None = None,
) -> Node:
    """Each place of a sequence takes a mean of all: x[batch, time, width] gives the same shape.

    For each head, with q, k and v a slice of `width / heads` features of three dense layers of x,

        softmax(q @ k^T / sqrt(width / heads)) @ v

    and a dense layer of all heads together (Vaswani et al., "Attention Is All You Need", 2017).

    causal: a place sees itself and those before it (torch and Keras: not by default).
    mask: [batch, time] of any dtype; places where it is 0 are seen by none. Where an example has
        nothing to see at all, what comes out is finite and means nothing.
    dropout_rate: of the weights, in training; see `dropout`.
    use_bias, initializer: of the four dense layers. torch draws the first three as one matrix, so
        its glorot limit is smaller.

    Variables: `query/w`, `key/w`, `value/w` and `out/w` [width, width], and `query/b` .. [width].
    The softmax of 16-bit floats is computed in float32. Raises ShapeError, DTypeError.
    """
    check_layer("multi_head_attention", x, rank=3)
    if x.rank != 3 or heads < 1 or x.shape[2] % heads:
        raise ShapeError(
            "multi_head_attention: the heads share the width of [batch, time, width]",
            expected="rank 3, and a number of heads that divides the last size",
            got=f"{x!r} and {heads} heads",
        )
    batch, time, width = x.shape

    def projected(name: str) -> Node:
        y = dense(ctx.at(name), x, width, use_bias=use_bias, initializer=initializer)
        return ops.reshape(y, (batch, time, heads, width // heads))

    q, k, v = (projected(name) for name in ("query", "key", "value"))
    scores = ops.einsum("bqhd,bkhd->bhqk", q * (1 / math.sqrt(width // heads)), k)
    scores = ops.cast(scores, float32) if x.dtype.is_half else scores
    if causal:
        scores = scores + ops.broadcast_to(_later(x.graph, time, scores), scores.shape)
    if mask is not None:
        scores = scores + ops.broadcast_to(_absent(mask, x, scores), scores.shape, (0, 3))
    weights = ops.cast(ops.softmax(scores), x.dtype)
    weights = dropout(ctx, weights, dropout_rate)
    mixed = ops.reshape(ops.einsum("bhqk,bkhd->bqhd", weights, v), x.shape)
    return dense(ctx.at("out"), mixed, width, use_bias=use_bias, initializer=initializer)


def _later(graph: Graph, time: int, scores: Node) -> Node:
    """What to add to the scores [query, key], so that no query sees a later key."""
    query, key = (ops.iota(graph, "int32", (time, time), axis) for axis in (0, 1))
    return _masked(ops.greater(key, query), scores)


def _absent(mask: Node, x: Node, scores: Node) -> Node:
    if mask.shape != x.shape[:2]:
        rule = "multi_head_attention: the mask says for each place whether it is seen"
        raise ShapeError(rule, expected=x.shape[:2], got=repr(mask))
    return _masked(ops.logical_not(ops.cast(mask, bool_)), scores)


def _masked(hidden: Node, scores: Node) -> Node:
    # A number that is added: a condition would be needed, and stored, for the gradient once more.
    graph = scores.graph
    low, zero = (graph.constant(value, scores.dtype) for value in (_MASKED, 0.0))
    return ops.where(hidden, low, zero)
