"""Arrays as users give them: checked against what the step needs, without changing anything."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepforge.runtime.errors import InputError

Array = NDArray[Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": BFLOAT16,
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
    "int16": np.dtype(np.int16),
    "int8": np.dtype(np.int8),
    "bool": np.dtype(np.bool_),
}
# How a message spells the dtype in a call of astype.
_SPELLED = {"bfloat16": "ml_dtypes.bfloat16", "bool": "np.bool_"}

# NumPy would make arrays of these, but of a dtype that it chooses.
_NO_ARRAYS = (type(None), bool, int, float, complex, str, bytes, list, tuple, dict)
_EXPORTS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("__dlpack__", np.from_dlpack),
    ("__array__", np.asarray),
)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a manifest's dtype name."""
    return _DTYPES[name]


def checked(
    value: Any,
    where: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    error: type[InputError] = InputError,
) -> Array:
    """`value` as an array of exactly this dtype and shape; a view where possible.

    Takes NumPy arrays (strided, unaligned and read-only ones too) and objects that offer DLPack or
    `__array__`. Raises `error`, which says what was expected, what was got, and what to do.
    """
    array = as_array(value, where, dtype, shape, error)
    if array.shape != shape:
        raise error(f"{where}: expected shape {shape}, got {array.shape}{_reshape(array, shape)}")
    if array.dtype != dtype:
        raise error(
            f"{where}: expected dtype {dtype.name}, got {array.dtype.name}"
            f"{_byte_order(array)}; convert it with .astype({_spelled(dtype)})"
        )
    return array


def _spelled(dtype: np.dtype[Any]) -> str:
    return _SPELLED.get(dtype.name, f"np.{dtype.name}")


def _byte_order(array: Array) -> str:
    return "" if array.dtype.isnative else " in foreign byte order"


def _reshape(array: Array, shape: tuple[int, ...]) -> str:
    if array.size != math.prod(shape):
        return ""
    return f"; the sizes agree: if the order of the elements does too, use .reshape({shape})"


def as_array(
    value: Any,
    where: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    error: type[InputError] = InputError,
) -> Array:
    """`value` as an array of any dtype and shape; those that are expected are for messages."""
    expected = f"expected an array of {dtype.name}{list(shape)}"
    kind = cast(Any, type(value))
    # An array can be masked only where numpy.ma was loaded, which takes as long as this package.
    masked = sys.modules.get("numpy.ma")
    if masked is not None and issubclass(kind, masked.MaskedArray):
        raise error(f"{where}: {expected}, got a masked array; fill it first with .filled(0)")
    if issubclass(kind, np.ndarray):
        return np.asarray(value)
    if shape == () and issubclass(kind, np.generic):
        return np.asarray(value)
    if shape == () and kind in (float, int):
        return _number(value, where, dtype, error)
    if issubclass(kind, _NO_ARRAYS):
        text = "None" if value is None else f"a {kind.__name__}"
        hint = "" if value is None else f"; make one with np.asarray(value, {_spelled(dtype)})"
        raise error(f"{where}: {expected}, got {text}{hint}")
    return _exported(value, f"{where}: {expected}", error)


def _number(value: float, where: str, dtype: np.dtype[Any], error: type[InputError]) -> Array:
    """A Python number: exact as an integer, rounded as a float."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        if isinstance(value, int) and limits.min <= value <= limits.max:
            return np.asarray(value, dtype)
        raise error(
            f"{where}: expected an integer from {limits.min} to {limits.max}, got {_short(value)}"
        )
    try:
        return np.asarray(float(value)).astype(dtype)
    except OverflowError:
        raise error(f"{where}: expected a {dtype.name}, got {_short(value)}") from None


def _short(value: float) -> str:
    # The digits of a huge int take long, and Python refuses more than some thousands.
    return repr(value) if isinstance(value, float) else f"an int of {value.bit_length()} bits"


def _exported(value: Any, expected: str, error: type[InputError]) -> Array:
    """Import through DLPack, else through `__array__`."""
    failure: Exception | None = None
    kind = cast(Any, type(value))
    for method, convert in _EXPORTS:
        # Asked of the type, so that no attribute of the object runs.
        if getattr(kind, method, None) is None:
            continue
        try:
            return np.asarray(convert(value))
        except Exception as caught:  # whatever the other library raises becomes the cause
            failure = failure or caught
    got = f"{expected}, got {kind.__module__}.{kind.__qualname__}"
    if failure is None:
        raise error(f"{got}, which offers neither __dlpack__ nor __array__")
    raise error(
        f"{got}, which cannot be exported: {failure}; copy it to the host and detach it from any "
        "gradient tape first"
    ) from failure
