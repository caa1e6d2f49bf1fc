"""Ops that `Graph` itself needs: input, constants, iota, and broadcast."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from stepforge.frontend.dtypes import Array, DType, DTypeLike, TensorType, as_dtype, convert
from stepforge.frontend.errors import DTypeError, GraphError, ShapeError
from stepforge.frontend.ops.op import NUMBER, Attributes, Op, Types, check_kind

if TYPE_CHECKING:
    from stepforge.frontend.graph import Graph, Node

Scalar: TypeAlias = bool | int | float
ConstantValue: TypeAlias = "Scalar | tuple[ConstantValue, ...]"


def as_shape(shape: Iterable[int] | int) -> tuple[int, ...]:
    """A shape as a tuple of Python integers; raises ShapeError for anything else."""
    sizes: tuple[object, ...] = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple(_as_size(size, sizes) for size in sizes)


def _as_size(size: object, shape: object) -> int:
    exact = cast("object", size.item()) if isinstance(size, np.integer) else size
    if isinstance(exact, bool) or not isinstance(exact, int) or exact < 0:
        raise ShapeError("a shape is a sequence of sizes of 0 or more", got=shape)
    return exact


def _infer_source(types: Types, attributes: Attributes) -> TensorType:
    return TensorType(attributes["dtype"], as_shape(attributes["shape"]))


def _no_rule(**attributes: Any) -> Array:
    raise GraphError(f"input {attributes['name']!r} has no value of its own")


def _infer_constant(types: Types, attributes: Attributes) -> TensorType:
    type_ = _infer_source(types, attributes)
    _check_value(attributes["value"], type_.dtype, type_.shape)
    return type_


def _constant(value: ConstantValue, dtype: DType, shape: tuple[int, ...]) -> Array:
    numbers = _as_array(value, dtype)
    return np.broadcast_to(numbers, shape) if numbers.ndim == 0 else numbers.reshape(shape)


def _as_array(value: ConstantValue, dtype: DType) -> Array:
    if not dtype.is_float:
        return np.array(value, dtype.numpy)
    exact = np.array(value)
    if exact.dtype.kind not in "if":
        exact = exact.astype(np.float64)
    return convert(exact, dtype)


def _check_value(value: ConstantValue, dtype: DType, shape: tuple[int, ...]) -> None:
    """A single number fits any shape; a nested tuple must have exactly the shape."""
    if not isinstance(value, tuple):
        return _check_number(value, dtype)
    if not shape or len(value) != shape[0]:
        got = f"{len(value)} entries in one axis of the value"
        raise ShapeError("constant: the value does not have the shape", expected=shape, got=got)
    for row in value:
        if not isinstance(row, tuple) and len(shape) > 1:
            raise ShapeError("constant: the value has too few axes", expected=shape, got=value)
        _check_value(row, dtype, shape[1:])
    return None


def _check_number(value: Scalar, dtype: DType) -> None:
    allowed: tuple[type, ...] = {"float": (int, float), "integer": (int,), "bool": (bool,)}[
        dtype.kind
    ]
    if type(value) not in allowed:
        raise DTypeError(
            f"a constant of {dtype.name} cannot be of type {type(value).__name__}",
            expected=" or ".join(t.__name__ for t in allowed),
            got=repr(value),
            hint="cast the node, or write the number in the node's own type",
        )
    if not _fits(value, dtype):
        raise DTypeError(f"the value does not fit {dtype.name}", expected=dtype.name, got=value)


_FITS_ANY = 65504.0  # the largest float16, which every float dtype holds


def _fits(value: Scalar, dtype: DType) -> bool:
    """Whether an integer is in range, and a finite float stays finite when it is rounded."""
    if dtype.kind == "bool":
        return True
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        return limits.min <= value <= limits.max
    try:
        exact = float(value)
    except OverflowError:
        return False
    if abs(exact) <= _FITS_ANY or not math.isfinite(exact):
        return True
    return _is_finite(convert(np.array(exact), dtype))


def _is_finite(scalar: Array) -> bool:
    return math.isfinite(float(scalar))


def _infer_iota(types: Types, attributes: Attributes) -> TensorType:
    type_, axis = _infer_source(types, attributes), attributes["axis"]
    check_kind("iota", type_.dtype, NUMBER)
    if not 0 <= axis < type_.rank:
        expected = f"0 <= axis < {type_.rank}"
        raise ShapeError("iota: the axis is not one of the shape", expected=expected, got=axis)
    return type_


def _iota(dtype: DType, shape: tuple[int, ...], axis: int) -> Array:
    column = [-1 if i == axis else 1 for i in range(len(shape))]
    return np.broadcast_to(convert(np.arange(shape[axis]), dtype).reshape(column), shape)


def _unfolded_constant(value: Scalar, dtype: DType, shape: tuple[int, ...], name: str) -> Array:
    return _constant(value, dtype, shape)


def _infer_broadcast(types: Types, attributes: Attributes) -> TensorType:
    operand, shape = types[0], as_shape(attributes["shape"])
    axes: tuple[int, ...] = attributes["axes"]
    increasing = all(a < b for a, b in itertools.pairwise(axes))
    inside = all(0 <= a < len(shape) for a in axes)
    if len(axes) != operand.rank or not increasing or not inside:
        raise ShapeError(
            "broadcast: axes must name one result axis per operand axis, in increasing order",
            expected=f"{operand.rank} axes of {shape}",
            got=axes,
        )
    if any(size != shape[a] for size, a in zip(operand.shape, axes, strict=True)):
        got = f"{operand} at axes {axes} of {shape}"
        raise ShapeError("broadcast: sizes of matched axes must be equal", got=got)
    return TensorType(operand.dtype, shape)


def _broadcast(x: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    aligned = [1] * len(shape)
    for size, axis in zip(x.shape, axes, strict=True):
        aligned[axis] = size
    return np.broadcast_to(x.reshape(aligned), shape)


INPUT = Op("input", _infer_source, _no_rule, 0, attributes=("name", "dtype", "shape"))
CONSTANT = Op("constant", _infer_constant, _constant, 0, attributes=("value", "dtype", "shape"))
UNFOLDED_CONSTANT = Op(
    "unfolded_constant",
    _infer_constant,
    _unfolded_constant,
    0,
    attributes=("value", "dtype", "shape", "name"),
)
IOTA = Op("iota", _infer_iota, _iota, 0, attributes=("dtype", "shape", "axis"))
BROADCAST = Op("broadcast", _infer_broadcast, _broadcast, 1, attributes=("shape", "axes"))

OPS: tuple[Op, ...] = (INPUT, CONSTANT, UNFOLDED_CONSTANT, IOTA, BROADCAST)


def as_constant_value(value: object) -> ConstantValue:
    """Numbers, NumPy scalars, arrays and nested sequences as exact Python numbers and tuples."""
    if isinstance(value, np.ndarray | np.generic):
        exact = np.asarray(cast("Array", value))
        integral = exact.dtype.kind in "iub" or not as_dtype(exact.dtype).is_float
        return as_constant_value((exact if integral else exact.astype(np.float64)).tolist())
    if isinstance(value, list | tuple):
        return tuple(as_constant_value(row) for row in cast("Iterable[object]", value))
    if isinstance(value, float) and math.isnan(value):
        return math.nan  # one NaN: its sign and payload are not kept anywhere
    for type_ in (bool, int, float):
        if isinstance(value, type_):
            return type_(value)
    raise DTypeError(
        "a constant is a number, an array of numbers, or nested sequences of numbers",
        got=type(value).__name__,
    )


def constant(
    graph: Graph, value: object, dtype: DTypeLike, shape: Iterable[int] | None = None
) -> Node:
    """A constant node; see `Graph.constant`."""
    return graph.constant(value, dtype, shape)


def iota(graph: Graph, dtype: DTypeLike, shape: Iterable[int], axis: int = 0) -> Node:
    """0, 1, 2, ... along one axis, the same along all others."""
    attributes = {"dtype": as_dtype(dtype), "shape": as_shape(shape), "axis": axis}
    return graph.add(IOTA, (), attributes)


def unfolded_constant(
    graph: Graph, value: Scalar, dtype: DTypeLike, shape: Iterable[int], name: str
) -> Node:
    """One number everywhere, which compiled code is given when it runs: it has it from the host.

    Code that differs in such numbers alone is compiled once. name: of what it is a number; those
    of one name may become one tensor, those of two never do, be they equal or not.
    """
    attributes = {
        "value": value,
        "dtype": as_dtype(dtype),
        "shape": as_shape(shape),
        "name": name,
    }
    return graph.add(UNFOLDED_CONSTANT, (), attributes)
