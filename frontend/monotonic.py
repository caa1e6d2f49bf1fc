"""Projection onto sequences that increase by at least a margin."""

from __future__ import annotations

import math
from typing import Literal

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32, int32
from stepforge.frontend.errors import DTypeError, FrontendError, ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.ops.axes import as_axis

Method = Literal["approximate", "exact"]
_PASSES = 3


def monotonic_projection(
    input: Node, margin: Node, axis: int, *, method: Method = "approximate"
) -> Node:
    """`input` made increasing along `axis`: consecutive elements differ by `margin` or more.

    input: of any float dtype, with at least 2 elements along the axis.
    margin: of the same dtype; rank 0, or the input's shape with one element less along the axis,
        where any size may be 1 instead.
    method: "approximate" is the seed's, cheap and not the nearest sequence; "exact" is the L2
        projection, which takes n^2 memory for n elements along the axis.
    Raises ShapeError for an axis that is too short and for a margin that does not fit.

    approximate: gaps that are too small are widened by pushing the elements after them to the
    right, where wide gaps absorb the push for the first three of its steps; the same to the left;
    the result is the mean of both. An input that is viable already is returned but for rounding.

    exact: with the margins' running sum taken off, the nearest increasing sequence is isotonic
    regression, y_i = max over k <= i of min over j >= i of mean(x_k .. x_j). All n^2 means come
    from one running sum, and the inner extreme from log2(n) shifts, without a loop on the device.

    Call it from `trace(..., after_update=...)` to project variables after each step.
    """
    place = as_axis("monotonic_projection", axis, input.type)
    size = input.shape[place]
    if size < 2:
        raise ShapeError(
            "monotonic_projection: the axis has at least 2 elements",
            expected=f"an axis of {input.type} with 2 elements or more",
            got=f"axis {axis} with {size}",
        )
    gaps = (*input.shape[:place], size - 1, *input.shape[place + 1 :])
    pairs = zip(margin.shape, gaps, strict=False)
    if margin.rank and (margin.rank != input.rank or any(m not in (1, g) for m, g in pairs)):
        raise ShapeError(
            "monotonic_projection: the margin does not fit",
            expected=f"rank 0, or shape {gaps} (or 1 on any axis)",
            got=repr(margin),
        )
    if margin.dtype != input.dtype:
        rule = "monotonic_projection: the margin has the input's dtype"
        raise DTypeError(rule, expected=input.dtype, got=repr(margin))
    # A 16-bit float cannot hold running sums.
    wide = float32 if input.dtype.is_half else input.dtype
    x, wanted = ops.cast(input, wide), ops.cast(ops.broadcast_to(margin, gaps), wide)
    if method == "approximate":
        return ops.cast(_approximate(x, wanted, place), input.dtype)
    if method == "exact":
        return ops.cast(_exact(x, wanted, place), input.dtype)
    raise FrontendError("unknown method", expected="'approximate' or 'exact'", got=repr(method))


def _cut(x: Node, axis: int, start: int, stop: int) -> Node:
    starts, limits = [0] * x.rank, list(x.shape)
    starts[axis], limits[axis] = start, stop
    return ops.slice(x, starts, limits)


def _shift(x: Node, axis: int, by: int, fill: float) -> Node:
    """Elements moved up along the axis (down for a negative `by`); `fill` takes their place."""
    size = x.shape[axis]
    low, high = [0] * x.rank, [0] * x.rank
    if by > 0:
        low[axis] = by
        return ops.pad(_cut(x, axis, 0, size - by), fill, low, high)
    high[axis] = -by
    return ops.pad(_cut(x, axis, -by, size), fill, low, high)


def _approximate(x: Node, margin: Node, axis: int) -> Node:
    size = x.shape[axis]
    first = _cut(x, axis, 0, 1)
    gaps = _cut(x, axis, 1, size) - _cut(x, axis, 0, size - 1)
    right = _widened(gaps, margin, axis, 1)
    left = _widened(gaps, margin, axis, -1)
    growth = ops.reduce_sum(left - gaps, axis, keep_dims=True)
    pushed_right = ops.cumsum(ops.concatenate([first, right], axis), axis)
    pushed_left = ops.cumsum(ops.concatenate([first - growth, left], axis), axis)
    return (pushed_right + pushed_left) * 0.5


def _widened(gaps: Node, margin: Node, axis: int, direction: int) -> Node:
    """Gaps of at least the margin; what a gap gains is taken from the next one in `direction`."""
    if gaps.shape[axis] > 1:
        for _ in range(_PASSES):
            wide = ops.maximum(gaps, margin)
            gaps = wide + _shift(gaps - wide, axis, direction, 0.0)
    return ops.maximum(gaps, margin)


def _exact(x: Node, margin: Node, axis: int) -> Node:
    low = [0] * x.rank
    low[axis] = 1
    offset = ops.cumsum(ops.pad(margin, 0.0, low, [0] * x.rank), axis)
    # The axis goes last, where a new axis after it holds the second index.
    order = [*(a for a in range(x.rank) if a != axis), axis]
    back = [order.index(a) for a in range(x.rank)]
    level = _isotonic(ops.transpose(x - offset, order))
    return ops.transpose(level, back) + offset


def _isotonic(x: Node) -> Node:
    """The nearest non-decreasing sequence along the last axis."""
    size, rank = x.shape[-1], x.rank
    table = (*x.shape, size)
    # Sums of differences from the mean: the smaller the sums, the smaller their rounding.
    center = ops.reduce_mean(x, rank - 1, keep_dims=True)
    centered = x - ops.broadcast_to(center, x.shape)
    sums = ops.cumsum(centered, rank - 1)
    before = _shift(sums, rank - 1, 1, 0.0)
    # means[k, j] = mean(x_k .. x_j), for k <= j.
    total = ops.broadcast_to(sums, table, [*range(rank - 1), rank]) - ops.broadcast_to(
        before, table, range(rank)
    )
    count = ops.iota(x.graph, int32, table, rank) - ops.iota(x.graph, int32, table, rank - 1) + 1
    valid = count > 0
    means = total / ops.cast(ops.maximum(count, 1), x.dtype)
    # least[k, i] = min over j >= i of means[k, j], where k <= i.
    least = _least_from(ops.where(valid, means, math.inf), rank)
    best = ops.reduce_max(ops.where(valid, least, -math.inf), rank - 1)
    return best + ops.broadcast_to(center, x.shape)


def _least_from(x: Node, axis: int) -> Node:
    """The smallest of each element and all after it along the axis, by doubling steps."""
    step = 1
    while step < x.shape[axis]:
        x = ops.minimum(x, _shift(x, axis, -step, math.inf))
        step *= 2
    return x
