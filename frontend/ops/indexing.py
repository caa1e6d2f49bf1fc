"""Rows of a tensor by number: gather, take, scatter_add, one_hot.

A number out of range means the nearest row: -1 is row 0, not the last one. Both directions do so,
which makes each the gradient of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from stepforge.frontend.dtypes import Array, DTypeLike, TensorType, float32, int32, int64
from stepforge.frontend.errors import DTypeError, ShapeError
from stepforge.frontend.ops.apply import apply
from stepforge.frontend.ops.axes import as_axis
from stepforge.frontend.ops.logic import equal
from stepforge.frontend.ops.op import NUMBER, Attributes, Op, Types, check_kind, show
from stepforge.frontend.ops.shape import broadcast_to, transpose
from stepforge.frontend.ops.source import iota
from stepforge.frontend.ops.unary import cast

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def _check(name: str, x: TensorType, indices: TensorType) -> None:
    if indices.dtype not in (int32, int64):
        raise DTypeError(
            f"{name}: row numbers are int32 or int64", expected="int32 or int64", got=indices
        )
    if not x.rank or (not x.shape[0] and 0 not in indices.shape):
        rule = f"{name}: the operand must have rows to choose from"
        raise ShapeError(rule, expected="a first axis of 1 or more", got=x)


def _infer_gather(types: Types, attributes: Attributes) -> TensorType:
    x, indices = types
    _check("gather", x, indices)
    return TensorType(x.dtype, (*indices.shape, *x.shape[1:]))


def _gather(x: Array, indices: Array) -> Array:
    return np.take(x, indices, axis=0, mode="clip")


def _infer_scatter_add(types: Types, attributes: Attributes) -> TensorType:
    x, indices, updates = types
    _check("scatter_add", x, indices)
    check_kind("scatter_add", x.dtype, NUMBER)
    if updates.dtype != x.dtype:
        raise DTypeError(
            "scatter_add: the updates have the dtype of what they are added to",
            expected=x.dtype.name,
            got=show(types),
        )
    if updates.shape != (*indices.shape, *x.shape[1:]):
        raise ShapeError(
            "scatter_add: there is one update, of the shape of a row, per row number",
            expected=(*indices.shape, *x.shape[1:]),
            got=show(types),
        )
    return x


def _scatter_add(x: Array, indices: Array, updates: Array) -> Array:
    total = np.array(x)
    np.add.at(total, np.clip(indices, 0, max(len(x) - 1, 0)), updates)
    return total


GATHER = Op("gather", _infer_gather, _gather, 2)
SCATTER_ADD = Op("scatter_add", _infer_scatter_add, _scatter_add, 3, wide=True)

OPS: tuple[Op, ...] = (GATHER, SCATTER_ADD)


def gather(x: Node, indices: Node) -> Node:
    """x[indices]: for each row number (int32 or int64, of any shape) that row of x.

    x[n, ..] of any dtype and indices[i, ..] give [i, .., ..]. A number out of range means the
    nearest row. Raises DTypeError, ShapeError.
    """
    return apply(GATHER, x, indices)


def take(x: Node, indices: Node, axis: SupportsIndex = 0) -> Node:
    """As `gather`, along any axis of x; the axes of indices stand in its place."""
    place = as_axis("take", axis, x.type)
    if not place:
        return gather(x, indices)
    others = [i for i in range(x.rank) if i != place]
    rows = gather(transpose(x, (place, *others)), indices)
    count = indices.rank
    before = range(count, count + place)
    return transpose(rows, (*before, *range(count), *range(count + place, rows.rank)))


def scatter_add(x: Node, indices: Node, updates: Node) -> Node:
    """x with each update added to the row that its number names; numbers may repeat.

    x[n, ..], indices[i, ..] (int32 or int64) and updates[i, .., ..] give [n, ..]. A number out of
    range means the nearest row. Numbers only; integers wrap; 16-bit floats are summed in float32.
    The order of the sum is unspecified, but the same in every run. On devices an update that is not
    finite may spread NaN to other rows, in the columns where it is not finite.
    Raises DTypeError, ShapeError.
    """
    return apply(SCATTER_ADD, x, indices, updates)


def one_hot(indices: Node, depth: int, dtype: DTypeLike = float32) -> Node:
    """1 where the new last axis, of size `depth`, has the index, else 0; all 0 out of range."""
    shape = (*indices.shape, depth)
    places = iota(indices.graph, indices.dtype, shape, indices.rank)
    return cast(equal(broadcast_to(indices, shape, range(indices.rank)), places), dtype)
