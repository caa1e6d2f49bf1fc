"""Reductions over axes, and the cumulative sum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import Array, TensorType, float32
from stepforge.frontend.ops.apply import apply
from stepforge.frontend.ops.axes import Axes, as_axes, as_axis, check_axes, check_axis
from stepforge.frontend.ops.op import (
    BOOL,
    FLOAT,
    NUMBER,
    Attributes,
    Kinds,
    Op,
    Rule,
    Types,
    check_kind,
)
from stepforge.frontend.ops.shape import reshape
from stepforge.frontend.ops.unary import cast

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def reduction(name: str, rule: Rule, kinds: Kinds, *, wide: bool = False) -> Op:
    """An op that removes `axes` by combining their elements; no axis leaves all as they are."""

    def infer(types: Types, attributes: Attributes) -> TensorType:
        operand, axes = types[0], attributes["axes"]
        check_kind(name, operand.dtype, kinds)
        check_axes(name, axes, operand)
        kept = tuple(size for i, size in enumerate(operand.shape) if i not in axes)
        return TensorType(operand.dtype, kept)

    return Op(name, infer, rule, 1, attributes=("axes",), wide=wide)


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    return np.sum(x, axes, dtype=x.dtype)


def _prod(x: Array, axes: tuple[int, ...]) -> Array:
    return np.prod(x, axes, dtype=x.dtype)


def _max(x: Array, axes: tuple[int, ...]) -> Array:
    smallest = -math.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return np.max(x, axes, initial=smallest)


def _min(x: Array, axes: tuple[int, ...]) -> Array:
    largest = math.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).max
    return np.min(x, axes, initial=largest)


def _all(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.all(x, axes))


def _any(x: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.any(x, axes))


def _infer_cumsum(types: Types, attributes: Attributes) -> TensorType:
    check_kind("cumsum", types[0].dtype, NUMBER)
    check_axis("cumsum", attributes["axis"], types[0])
    return types[0]


def _cumsum(x: Array, axis: int) -> Array:
    return np.cumsum(x, axis, dtype=x.dtype)


REDUCE_SUM = reduction("reduce_sum", _sum, NUMBER, wide=True)
REDUCE_PROD = reduction("reduce_prod", _prod, NUMBER, wide=True)
REDUCE_MAX = reduction("reduce_max", _max, NUMBER)
REDUCE_MIN = reduction("reduce_min", _min, NUMBER)
REDUCE_ALL = reduction("reduce_all", _all, BOOL)
REDUCE_ANY = reduction("reduce_any", _any, BOOL)
CUMSUM = Op("cumsum", _infer_cumsum, _cumsum, 1, attributes=("axis",), wide=True)

OPS: tuple[Op, ...] = (
    *(REDUCE_SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ALL, REDUCE_ANY, CUMSUM),
)


def _reduce(op: Op, x: Node, axes: Axes, keep_dims: bool) -> Node:
    removed = as_axes(op.name, axes, x.type)
    result = apply(op, x, axes=removed)
    if not keep_dims:
        return result
    return reshape(result, [1 if i in removed else size for i, size in enumerate(x.shape)])


def reduce_sum(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """The sum over the axes (None: all), which are removed, or kept with size 1.

    Integers wrap. The order of a float sum is unspecified.
    """
    return _reduce(REDUCE_SUM, x, axes, keep_dims)


def reduce_prod(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """The product over the axes; see `reduce_sum`."""
    return _reduce(REDUCE_PROD, x, axes, keep_dims)


def reduce_max(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """The largest over the axes; NaN if any is NaN; of none: -inf, or the least integer."""
    return _reduce(REDUCE_MAX, x, axes, keep_dims)


def reduce_min(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """The smallest over the axes; NaN if any is NaN; of none: inf, or the largest integer."""
    return _reduce(REDUCE_MIN, x, axes, keep_dims)


def reduce_all(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """Whether all bools over the axes are true."""
    return _reduce(REDUCE_ALL, x, axes, keep_dims)


def reduce_any(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """Whether at least one bool over the axes is true."""
    return _reduce(REDUCE_ANY, x, axes, keep_dims)


def reduce_mean(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """The mean over the axes, floats only; NaN of none.

    A 16-bit float is summed in float32, since sums leave its range long before means do.
    """
    check_kind("reduce_mean", x.dtype, FLOAT)
    wide = cast(x, float32) if x.dtype.is_half else x
    total = reduce_sum(wide, axes, keep_dims)
    count = math.prod(x.shape[axis] for axis in as_axes("reduce_mean", axes, x.type))
    return cast(total / count, x.dtype)


def cumsum(x: Node, axis: int = 0) -> Node:
    """Element i is the sum of the elements 0 to i along the axis."""
    return apply(CUMSUM, x, axis=as_axis("cumsum", axis, x.type))
