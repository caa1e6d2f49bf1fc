"""Pooling over windows, channels last: ops that are made of slices, so they need no rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from stepforge.frontend.errors import ShapeError
from stepforge.frontend.ops.arithmetic import add, div, maximum
from stepforge.frontend.ops.axes import Integers
from stepforge.frontend.ops.convolutions import SPATIAL, Padding, as_padding, per_axis
from stepforge.frontend.ops.op import FLOAT, NUMBER, check_kind
from stepforge.frontend.ops.reduce import reduce_max, reduce_sum
from stepforge.frontend.ops.shape import broadcast_to, pad, reshape, slice

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node

Pairs = tuple[tuple[int, int], ...]


def max_pool(
    x: Node,
    window: SupportsIndex | Integers,
    strides: SupportsIndex | Integers | None = None,
    padding: Padding = "valid",
) -> Node:
    """The largest number of each window of x[batch, spatial.., channels], of 1-D or 2-D.

    window, strides: one number for all spatial axes, or one each; strides are the window's sizes by
    default. padding: as of `conv`; what is padded never wins. NaN wins. The gradient goes to the
    largest elements, as `maximum` and `reduce_max` share it among equal ones. Raises ShapeError.
    """
    check_kind("max_pool", x.dtype, NUMBER)
    sizes, steps, pairs = _window("max_pool", x, window, strides, padding)
    least = -math.inf if x.dtype.is_float else int(np.iinfo(x.dtype.numpy).min)
    return _pooled(x, sizes, steps, pairs, least, maximum, reduce_max)


def avg_pool(
    x: Node,
    window: SupportsIndex | Integers,
    strides: SupportsIndex | Integers | None = None,
    padding: Padding = "valid",
) -> Node:
    """The mean of each window of x; floats only. Padded elements do not count. See `max_pool`."""
    check_kind("avg_pool", x.dtype, FLOAT)
    sizes, steps, pairs = _window("avg_pool", x, window, strides, padding)
    total = _pooled(x, sizes, steps, pairs, 0.0, add, reduce_sum)
    if not any(itertools.chain(*pairs)):
        return total / math.prod(sizes)
    rows = zip(x.shape[1:-1], total.shape[1:-1], sizes, steps, pairs, strict=True)
    counts = [
        [min(o * step - low + window, size) - max(o * step - low, 0) for o in range(out)]
        for size, out, window, step, (low, _) in rows
    ]
    table = reduce(np.multiply.outer, (np.array(row, np.float64) for row in counts))
    real = x.graph.constant(table, x.dtype)
    return div(total, broadcast_to(real, total.shape, range(1, x.rank - 1)))


def _window(
    name: str,
    x: Node,
    window: SupportsIndex | Integers,
    strides: SupportsIndex | Integers | None,
    padding: Padding,
) -> tuple[tuple[int, ...], tuple[int, ...], Pairs]:
    count = x.rank - 2
    if count not in SPATIAL:
        expected = "[batch, spatial.., channels] with 1 or 2 spatial axes"
        raise ShapeError(f"{name}: the operand", expected=expected, got=x.type)
    sizes = per_axis(name, window, count)
    steps = sizes if strides is None else per_axis(name, strides, count)
    if min(*sizes, *steps) < 1:
        got = f"window {sizes}, strides {steps}"
        raise ShapeError(f"{name}: windows and strides are 1 or more", got=got)
    pairs = as_padding(name, padding, x.shape[1:-1], sizes, steps)
    if len(pairs) != count or any(
        not (0 <= low < size and 0 <= high < size)
        for (low, high), size in zip(pairs, sizes, strict=False)
    ):
        expected = f"{count} pairs of 0 or more, less than the window {sizes}"
        raise ShapeError(f"{name}: every window holds real elements", expected=expected, got=pairs)
    for size, low_high, extent in zip(x.shape[1:-1], pairs, sizes, strict=True):
        if size + sum(low_high) < extent:
            rule = f"{name}: the window must fit into the padded operand"
            raise ShapeError(rule, expected=f"at most {size + sum(low_high)}", got=sizes)
    return sizes, steps, pairs


def _pooled(
    x: Node,
    sizes: tuple[int, ...],
    steps: tuple[int, ...],
    pairs: Pairs,
    neutral: float,
    combine: Callable[[Node, Node], Node],
    reduction: Callable[[Node, Sequence[int]], Node],
) -> Node:
    low, high = (tuple(pair[side] for pair in pairs) for side in (0, 1))
    padded = pad(x, neutral, (0, *low, 0), (0, *high, 0)) if any((*low, *high)) else x
    spatial = padded.shape[1:-1]
    counts = [(n - w) // step + 1 for n, w, step in zip(spatial, sizes, steps, strict=True)]
    if sizes == steps:
        return _by_blocks(padded, counts, sizes, reduction)
    parts = [
        slice(
            padded,
            (0, *at, 0),
            (
                x.shape[0],
                *(i + (n - 1) * step + 1 for i, n, step in zip(at, counts, steps, strict=True)),
                x.shape[-1],
            ),
            (1, *steps, 1),
        )
        for at in itertools.product(*map(range, sizes))
    ]
    return reduce(combine, parts)


def _by_blocks(
    x: Node,
    counts: Sequence[int],
    sizes: Sequence[int],
    reduction: Callable[[Node, Sequence[int]], Node],
) -> Node:
    """Windows that do not overlap are axes of their own."""
    batch, channels = x.shape[0], x.shape[-1]
    limits = (batch, *(n * size for n, size in zip(counts, sizes, strict=True)), channels)
    whole = x if limits == x.shape else slice(x, (0,) * x.rank, limits)
    blocks = [extent for pair in zip(counts, sizes, strict=True) for extent in pair]
    axes = range(2, 2 + 2 * len(sizes), 2)
    return reduction(reshape(whole, (batch, *blocks, channels)), list(axes))
