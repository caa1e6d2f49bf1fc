"""Normalization of each example by itself: layer_norm, rms_norm."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import float32
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import ones, zeros
from stepforge.frontend.nn.dense import check_layer


def layer_norm(ctx: Context, x: Node, *, epsilon: float = 1e-5) -> Node:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, over the last axis.

    x is a float of any shape but rank 0; the variance is the biased one, the mean of
    (x - mean)^2 (Ba, Kiros and Hinton, "Layer Normalization", 2016). epsilon: as torch; Keras has
    1e-3. Variables: `scale`, ones, and `offset`, zeros, of the last axis' size.
    """
    check_layer("layer_norm", x, rank=1)
    wide = in_float32(x)
    centered = wide - along_last(ops.reduce_mean(wide, -1), wide)
    variance = ops.reduce_mean(centered * centered, -1)
    normal = centered * along_last(ops.rsqrt(variance + epsilon), wide)
    return ops.cast(normal * scale(ctx, x) + offset(ctx, x), x.dtype)


def rms_norm(ctx: Context, x: Node, *, epsilon: float = 1e-6) -> Node:
    """x / sqrt(mean(x^2) + epsilon) * scale, over the last axis.

    x is a float of any shape but rank 0 (Zhang and Sennrich, "Root Mean Square Layer
    Normalization", 2019). epsilon: as Keras; torch takes the dtype's own, 1.2e-7 for float32.
    Variable: `scale`, ones, of the last axis' size.
    """
    check_layer("rms_norm", x, rank=1)
    wide = in_float32(x)
    root = ops.rsqrt(ops.reduce_mean(wide * wide, -1) + epsilon)
    return ops.cast(wide * along_last(root, wide) * scale(ctx, x), x.dtype)


def in_float32(x: Node) -> Node:
    """A 16-bit float in float32, any other as it is."""
    return ops.cast(x, float32) if x.dtype.is_half else x


def along_last(value: Node, x: Node) -> Node:
    """A value of the shape of x without its last axis, repeated along it."""
    return ops.broadcast_to(value, x.shape, range(x.rank - 1))


def scale(ctx: Context, x: Node) -> Node:
    """The variable `scale` of the dtype of x, over its last axis, as wide as it is computed."""
    w = ctx.variable("scale", x.shape[-1:], x.dtype, initializer=ones())
    return ops.broadcast_to(in_float32(w.value_graph(x.graph)), x.shape)


def offset(ctx: Context, x: Node) -> Node:
    """The variable `offset`, as `scale`."""
    b = ctx.variable("offset", x.shape[-1:], x.dtype, initializer=zeros())
    return ops.broadcast_to(in_float32(b.value_graph(x.graph)), x.shape)
