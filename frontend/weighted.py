"""Means and sums with weights, of losses and metrics."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32
from stepforge.frontend.errors import FrontendError, ShapeError
from stepforge.frontend.graph import Node

Reduction: TypeAlias = 'Literal["mean", "sum"] | None'


def reduced(name: str, values: Node, weights: Node | None, reduction: Reduction) -> Node:
    """The values, each times its weight: their mean, their sum, or all of them for None.

    The mean is sum(weights * values) / sum(weights), and 0 where the weights are all 0.
    """
    if reduction not in ("mean", "sum", None):
        expected = "'mean', 'sum' or None"
        raise FrontendError(f"{name}: unknown reduction", expected=expected, got=repr(reduction))
    spread = None if weights is None else _spread(name, weights, values)
    weighted = values if spread is None else values * spread
    if reduction is None:
        return weighted
    total = ops.reduce_sum(weighted)
    if reduction == "sum":
        return total
    if spread is None:
        return total / max(1, math.prod(values.shape))
    return shared(total, ops.reduce_sum(spread))


def shared(total: Node, mass: Node) -> Node:
    """total / mass; the total itself, which is then 0 too, where the mass is 0."""
    return total / ops.where(ops.equal(mass, 0.0), 1.0, mass)


def in_float32(x: Node) -> Node:
    """Bools, integers and 16-bit floats in float32; wider floats as they are."""
    return x if x.dtype.is_float and not x.dtype.is_half else ops.cast(x, float32)


def _spread(name: str, weights: Node, values: Node) -> Node:
    """Weights in the dtype of the values; those of leading axes are repeated over the others."""
    wide = ops.cast(weights, values.dtype)
    if weights.shape != values.shape[: weights.rank]:
        raise ShapeError(
            f"{name}: the weights belong to the leading axes of what they weigh",
            expected=f"{values.shape}, or its first sizes",
            got=repr(weights),
        )
    return ops.broadcast_to(wide, values.shape, range(weights.rank))
