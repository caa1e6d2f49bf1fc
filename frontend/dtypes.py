"""Element types, tensor types, and the one conversion rule between element types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepforge.frontend.errors import DTypeError

Array: TypeAlias = NDArray[Any]
Kind: TypeAlias = Literal["float", "integer", "bool"]


@dataclass(frozen=True, slots=True, repr=False)
class DType:
    """An element type. `name` is NumPy's spelling, `short` is MLIR's."""

    name: str
    short: str
    kind: Kind
    numpy: np.dtype[Any]

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind == "integer"

    @property
    def is_half(self) -> bool:
        """A 16-bit float: its arithmetic is done in float32 and rounded once."""
        return self.is_float and self.itemsize == 2

    @property
    def itemsize(self) -> int:
        return self.numpy.itemsize

    def __repr__(self) -> str:
        return self.name


float64 = DType("float64", "f64", "float", np.dtype(np.float64))
float32 = DType("float32", "f32", "float", np.dtype(np.float32))
float16 = DType("float16", "f16", "float", np.dtype(np.float16))
bfloat16 = DType("bfloat16", "bf16", "float", np.dtype(ml_dtypes.bfloat16))
int64 = DType("int64", "i64", "integer", np.dtype(np.int64))
int32 = DType("int32", "i32", "integer", np.dtype(np.int32))
int8 = DType("int8", "i8", "integer", np.dtype(np.int8))
bool_ = DType("bool", "i1", "bool", np.dtype(np.bool_))

DTYPES: tuple[DType, ...] = (float64, float32, float16, bfloat16, int64, int32, int8, bool_)
_BY_KEY: dict[object, DType] = {key: t for t in DTYPES for key in (t.name, t.short, t.numpy)}

DTypeLike: TypeAlias = "DType | str | np.dtype[Any] | type[Any]"


def as_dtype(like: DTypeLike) -> DType:
    """The DType named by a DType, a name ("float32"), a short name ("f32") or a NumPy dtype.

    Raises DTypeError for anything else; the message lists the valid names.
    """
    if isinstance(like, DType):
        return like
    found = _BY_KEY.get(like)
    if found is None and isinstance(like, type):
        try:
            found = _BY_KEY.get(np.dtype(like))
        except TypeError:
            found = None
    if found is None:
        names = ", ".join(t.name for t in DTYPES)
        raise DTypeError("this is not a dtype of a graph", expected=f"one of {names}", got=like)
    return found


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a node: an element type and a static shape."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]"


def convert(array: Array, dtype: DType) -> Array:
    """`array` in another element type, rounded once, half to even.

    Float to integer truncates and saturates, and NaN becomes 0. Integer to a narrower integer
    wraps. Anything to bool is `x != 0`. Never warns.
    """
    if array.dtype == dtype.numpy:
        return array
    with np.errstate(all="ignore"):
        if dtype.kind == "bool":
            return array != array.dtype.type(0)
        if dtype.is_integer and as_dtype(array.dtype).is_float:
            return _truncate(array, dtype)
        if dtype == bfloat16:
            return _to_odd_float32(array).astype(dtype.numpy)
        return array.astype(dtype.numpy)


def _truncate(array: Array, dtype: DType) -> Array:
    limits = np.iinfo(dtype.numpy)
    whole = np.trunc(array.astype(np.float64))
    high, low = whole >= -float(limits.min), whole < float(limits.min)
    inside = np.where(high | low | np.isnan(whole), 0.0, whole).astype(dtype.numpy)
    return np.where(high, limits.max, np.where(low, limits.min, inside)).astype(dtype.numpy)


def _to_odd_float32(array: Array) -> Array:
    """float32 rounded to odd, so that a second rounding, to bfloat16, is the only one that counts.

    (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
    rounding to odd", 2008.) ml_dtypes alone rounds float64 twice.
    """
    if array.dtype == np.int64:
        # Bits below the 2,048s only say "not exactly": one sticky bit keeps that in float64.
        sticky = np.where(array & 0x7FF, 0x400, 0)
        array = np.where(np.abs(array) < 2**53, array, (array & ~0x7FF) | sticky)
    exact = array.astype(np.float64)
    near = exact.astype(np.float32)
    back = near.astype(np.float64)
    too_far = (np.abs(back) > np.abs(exact)).astype(np.uint32)
    odd = ((near.view(np.uint32) - too_far) | np.uint32(1)).view(np.float32)
    return np.where((back == exact) | np.isnan(exact), near, odd).astype(np.float32)
