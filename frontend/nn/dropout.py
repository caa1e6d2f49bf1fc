"""Dropout, whose random bits depend on the layer, the element and the step alone."""

from __future__ import annotations

import math

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import int32
from stepforge.frontend.errors import FrontendError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import zeros
from stepforge.frontend.nn.dense import check_layer
from stepforge.frontend.random import constant_key, threefry2x32

#: How many steps have trained with dropout: an int32 of all layers, which wraps.
DROPOUT_STEP = "/trainer/dropout_step"

_BITS = 24


def dropout(ctx: Context, x: Node, rate: float, *, seed: int = 0) -> Node:
    """In a step that trains each element is 0 with probability `rate`, else x / (1 - rate).

    In any other step, and with rate 0, it is x itself. x is a float of any shape; 0 <= rate < 1,
    which is rounded to a multiple of 2^-24 (Srivastava et al., "Dropout: A Simple Way to Prevent
    Neural Networks from Overfitting", 2014). The gradient drops the same elements.

    An element is dropped when the top 24 bits of the first word of Threefry-2x32 are below
    rate * 2^24 (the generator of `stepforge.frontend.initializers`). The counter is the element's
    row-major index and the step; the key is that of `seed` and the path `<scope>/dropout_<n>`,
    with n = 0 for the first call in the scope, 1 for the second, ... So a run is repeatable from a
    checkpoint on, and layers differ. (torch and Keras have generators of their own.)

    Variable, shared by all layers and not trainable: `/trainer/dropout_step`, an int32, zero at
    first, which each step that trains (or accumulates gradients) makes one larger.
    Raises FrontendError for a wrong rate, DTypeError.
    """
    check_layer("dropout", x, rank=0)
    if not 0 <= rate < 1:
        raise FrontendError("dropout: wrong rate", expected="0 <= rate < 1", got=rate)
    below = min(round(rate * 2**_BITS), 2**_BITS - 1)
    if not below or not ctx.is_training(x.graph):
        return x
    key = constant_key(x, seed, ctx.numbered(x.graph, "dropout"))
    step = ops.broadcast_to(_step(ctx, x.graph), x.shape)
    word, _ = threefry2x32(key, (_index(x), step))
    kept = ops.greater_equal(ops.shift_right_logical(word, 32 - _BITS), below)
    return ops.where(kept, x * (2**_BITS / (2**_BITS - below)), 0.0)


def _step(ctx: Context, graph: Graph) -> Node:
    """The number of steps before this one, which makes it one larger."""
    steps = ctx.variable(DROPOUT_STEP, (), int32, initializer=zeros(), trainable=False)
    if DROPOUT_STEP not in graph.variable_values:
        steps.set_value_graph(steps.input(graph) + 1)
    return steps.input(graph)


def _index(x: Node) -> Node:
    """The row-major index of each element, int32."""
    return ops.reshape(ops.iota(x.graph, int32, (math.prod(x.shape),)), x.shape)
