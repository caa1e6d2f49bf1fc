"""Normalization of each channel over the batch, with running statistics for evaluation."""

from __future__ import annotations

import math

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import ones, zeros
from stepforge.frontend.nn.dense import check_layer
from stepforge.frontend.nn.normalization import in_float32, offset, scale
from stepforge.frontend.variables import Variable


def batch_norm(ctx: Context, x: Node, *, momentum: float = 0.9, epsilon: float = 1e-5) -> Node:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, of each channel (the last axis).

    x is a float of rank 2 or more. In a step that trains, mean and variance are those of x over all
    axes but the last, and the running ones become

        running = momentum * running + (1 - momentum) * batch

    Otherwise the running ones are used. x is normalized by the biased variance, the mean of
    (x - mean)^2; the running variance takes the unbiased one, n / (n - 1) times that, with n the
    number of values of a channel in x (Ioffe and Szegedy, "Batch Normalization", 2015). That is
    what torch does, whose momentum is 1 minus this one. Keras keeps the biased variance, and has
    momentum 0.99 and epsilon 1e-3.

    Variables of the last axis' size: `scale`, ones, and `offset`, zeros; not trainable, and float32
    for 16-bit floats: `mean`, zeros, and `variance`, ones. A frozen scope keeps the first two; the
    running statistics go on as long as the step trains.

    Raises ShapeError in training when n is 1, where nothing would be left of x.
    """
    check_layer("batch_norm", x, rank=2)
    wide = in_float32(x)
    running = [
        ctx.variable(name, x.shape[-1:], wide.dtype, initializer=first, trainable=False)
        for name, first in (("mean", zeros()), ("variance", ones()))
    ]
    if ctx.is_training(x.graph):
        mean, variance = _batch_statistics(wide, running, momentum)
    else:
        mean, variance = (v.value_graph(x.graph) for v in running)
    factor = ops.rsqrt(variance + epsilon)
    normal = (wide - ops.broadcast_to(mean, x.shape)) * ops.broadcast_to(factor, x.shape)
    return ops.cast(normal * scale(ctx, x) + offset(ctx, x), x.dtype)


def _batch_statistics(x: Node, running: list[Variable], momentum: float) -> tuple[Node, Node]:
    """Mean and biased variance of x; the running ones move towards it."""
    count = math.prod(x.shape[:-1])
    if count < 2:
        rule = "batch_norm: training needs more than one value of each channel"
        raise ShapeError(rule, expected="a larger batch", got=repr(x))
    axes = range(x.rank - 1)
    mean = ops.reduce_mean(x, axes)
    centered = x - ops.broadcast_to(mean, x.shape)
    variance = ops.reduce_mean(centered * centered, axes)
    unbiased = variance * (count / (count - 1))
    for variable, new in zip(running, (mean, unbiased), strict=True):
        old = variable.value_graph(x.graph)
        variable.set_value_graph(momentum * old + (1.0 - momentum) * new)
    return mean, variance
