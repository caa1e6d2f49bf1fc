"""What low-precision state must be, in NumPy, by the text of `frontend/low_precision.py`."""

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

BF16 = np.dtype(ml_dtypes.bfloat16)
_WORD = 2**32


def draws(x: NDArray[Any], gradient: NDArray[Any], step: int) -> NDArray[Any]:
    """The 16 bits drawn for each float32 `x`, 0 .. 65,535."""
    h = _bits(x) ^ ((step % 2**24) * 0x9E3779B1 % _WORD)
    h = (h ^ (h >> 16)) * 0x7FEB352D % _WORD
    h = h ^ _bits(gradient)
    h = (h ^ (h >> 15)) * 0x846CA68B % _WORD
    return h >> 16


def stochastic(x: NDArray[Any], gradient: NDArray[Any], step: int) -> NDArray[Any]:
    """Each float32 `x` as bfloat16, up or down as drawn."""
    carried = (_bits(x) + draws(x, gradient, step)) >> 16
    return carried.astype(np.uint16).view(BF16)


def neighbours(low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The largest bfloat16 not above `low`, and the smallest not below `high`, of float64."""
    return _towards(low, -np.inf), _towards(high, np.inf)


def _towards(x: NDArray[Any], end: float) -> NDArray[Any]:
    near = np.asarray(x, np.float64).astype(np.float32).astype(BF16)
    beyond = near.astype(np.float64) < x if end > 0 else near.astype(np.float64) > x
    return np.where(beyond, np.nextafter(near, BF16.type(end)), near)


def _bits(x: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
