"""Ops that move elements: broadcast, reshape, transpose, slice, concatenate, pad, reverse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import Array, TensorType
from stepforge.frontend.errors import DTypeError, ShapeError
from stepforge.frontend.ops.apply import Operand, apply, lift
from stepforge.frontend.ops.axes import (
    Axes,
    Integers,
    as_axes,
    as_axis,
    as_integers,
    check_axes,
    check_axis,
    matched,
)
from stepforge.frontend.ops.op import Attributes, Op, Types, show
from stepforge.frontend.ops.source import BROADCAST, as_shape

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def _infer_reshape(types: Types, attributes: Attributes) -> TensorType:
    shape = as_shape(attributes["shape"])
    if math.prod(shape) != math.prod(types[0].shape):
        raise ShapeError(
            "reshape: the number of elements must stay the same",
            expected=f"{math.prod(types[0].shape)} elements, as in {types[0]}",
            got=f"{math.prod(shape)} elements in {shape}",
        )
    return TensorType(types[0].dtype, shape)


def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)


def _infer_transpose(types: Types, attributes: Attributes) -> TensorType:
    operand = types[0]
    permutation: tuple[int, ...] = attributes["permutation"]
    if sorted(permutation) != list(range(operand.rank)):
        expected = f"each axis of {operand} once"
        raise ShapeError("transpose: not a permutation", expected=expected, got=permutation)
    return TensorType(operand.dtype, tuple(operand.shape[axis] for axis in permutation))


def _transpose(x: Array, permutation: tuple[int, ...]) -> Array:
    return np.transpose(x, permutation)


def _infer_slice(types: Types, attributes: Attributes) -> TensorType:
    operand = types[0]
    sizes: list[int] = []
    for size, start, limit, stride in matched(
        "slice", operand, attributes, "starts", "limits", "strides"
    ):
        if not (0 <= start <= limit <= size and stride > 0):
            raise ShapeError(
                "slice: bounds must lie inside the operand, and strides be positive",
                expected=f"0 <= start <= limit <= {size}",
                got=f"[{start}:{limit}:{stride}] of {operand}",
            )
        sizes.append(-(-(limit - start) // stride))
    return TensorType(operand.dtype, tuple(sizes))


def _slice(
    x: Array, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]
) -> Array:
    bounds = zip(starts, limits, strides, strict=True)
    return x[tuple(np.s_[a:b:c] for a, b, c in bounds)]


def _infer_concatenate(types: Types, attributes: Attributes) -> TensorType:
    first = types[0]
    axis: int = attributes["axis"]
    check_axis("concatenate", axis, first)
    if any(t.dtype != first.dtype for t in types):
        raise DTypeError("concatenate: dtypes must be equal", expected=first.dtype, got=show(types))
    rest = [t.shape[:axis] + t.shape[axis + 1 :] for t in types]
    if any(t.rank != first.rank for t in types) or any(shape != rest[0] for shape in rest):
        raise ShapeError(
            f"concatenate: sizes must be equal on every axis but axis {axis}",
            expected=first,
            got=show(types),
        )
    length = sum(t.shape[axis] for t in types)
    return TensorType(first.dtype, (*first.shape[:axis], length, *first.shape[axis + 1 :]))


def _concatenate(*arrays: Array, axis: int) -> Array:
    return np.concatenate(arrays, axis)


def _infer_pad(types: Types, attributes: Attributes) -> TensorType:
    operand, value = types
    if value != TensorType(operand.dtype, ()):
        expected = TensorType(operand.dtype, ())
        raise DTypeError("pad: the value has another type", expected=expected, got=value)
    sizes: list[int] = []
    for size, low, high in matched("pad", operand, attributes, "low", "high"):
        if low < 0 or high < 0:
            raise ShapeError("pad: amounts must be 0 or more", got=f"{low} and {high}")
        sizes.append(low + size + high)
    return TensorType(operand.dtype, tuple(sizes))


def _pad(x: Array, value: Array, low: tuple[int, ...], high: tuple[int, ...]) -> Array:
    return np.pad(x, tuple(zip(low, high, strict=True)), constant_values=value)


def _infer_reverse(types: Types, attributes: Attributes) -> TensorType:
    check_axes("reverse", attributes["axes"], types[0])
    return types[0]


def _reverse(x: Array, axes: tuple[int, ...]) -> Array:
    return np.flip(x, axes)


RESHAPE = Op("reshape", _infer_reshape, _reshape, 1, attributes=("shape",))
TRANSPOSE = Op("transpose", _infer_transpose, _transpose, 1, attributes=("permutation",))
SLICE = Op("slice", _infer_slice, _slice, 1, attributes=("starts", "limits", "strides"))
CONCATENATE = Op("concatenate", _infer_concatenate, _concatenate, None, attributes=("axis",))
PAD = Op("pad", _infer_pad, _pad, 2, attributes=("low", "high"))
REVERSE = Op("reverse", _infer_reverse, _reverse, 1, attributes=("axes",))

OPS: tuple[Op, ...] = (RESHAPE, TRANSPOSE, SLICE, CONCATENATE, PAD, REVERSE)


def broadcast_to(x: Node, shape: Iterable[int], axes: Integers | None = None) -> Node:
    """x repeated to `shape`.

    axes: the result axis of each axis of x, in increasing order, with equal sizes. None aligns the
    last axes and repeats axes of size 1, as NumPy does. Raises ShapeError where sizes differ.
    """
    target = as_shape(shape)
    if axes is not None:
        return apply(BROADCAST, x, shape=target, axes=as_integers("broadcast", axes))
    if x.shape == target:
        return x
    offset = len(target) - x.rank
    if offset < 0:
        raise ShapeError("broadcast_to: the result has fewer axes", expected=x.type, got=target)
    kept = [i for i, size in enumerate(x.shape) if size != 1 or target[i + offset] == 1]
    squeezed = reshape(x, [x.shape[i] for i in kept])
    return apply(BROADCAST, squeezed, shape=target, axes=tuple(i + offset for i in kept))


def reshape(x: Node, shape: Iterable[int]) -> Node:
    """The elements of x, in row-major order, in another shape of as many elements."""
    target = as_shape(shape)
    return x if x.shape == target else apply(RESHAPE, x, shape=target)


def transpose(x: Node, permutation: Integers | None = None) -> Node:
    """Axis i of the result is axis permutation[i] of x; None reverses the axes."""
    order = range(x.rank - 1, -1, -1) if permutation is None else permutation
    return apply(TRANSPOSE, x, permutation=tuple(as_axis("transpose", a, x.type) for a in order))


def slice(
    x: Node,
    starts: Integers,
    limits: Integers,
    strides: Integers | None = None,
) -> Node:
    """The elements from starts up to, not including, limits; one number per axis, none negative."""
    given = {"starts": starts, "limits": limits, "strides": strides or (1,) * x.rank}
    return apply(SLICE, x, **{key: as_integers("slice", v) for key, v in given.items()})


def concatenate(nodes: Sequence[Node], axis: int = 0) -> Node:
    """Nodes of one dtype, one after the other along an axis; all other sizes are equal."""
    if not nodes:
        raise ShapeError("concatenate: at least one node is needed", got="none")
    return apply(CONCATENATE, *nodes, axis=as_axis("concatenate", axis, nodes[0].type))


def pad(x: Node, value: Operand, low: Integers, high: Integers) -> Node:
    """x with `value` (rank 0) before and after: low[i] and high[i] elements on axis i."""
    before, after = as_integers("pad", low), as_integers("pad", high)
    return apply(PAD, *lift("pad", (x, value)), low=before, high=after)


def reverse(x: Node, axes: Axes = None) -> Node:
    """x in reverse order along the axes; None means all."""
    return apply(REVERSE, x, axes=as_axes("reverse", axes, x.type))
