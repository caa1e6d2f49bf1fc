"""Distances in units in the last place, for every float dtype."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def ulp_distance(got: Array, exact: Array, dtype: np.dtype[Any]) -> Array:
    """|got - exact| in units of the last place that `dtype` has at `exact`, element by element.

    exact: longdouble, not rounded. 0 where both are NaN or the same infinity (an exact value that
    rounds to infinity counts as one), inf where only one of them is.
    """
    info = ml_dtypes.finfo(dtype)
    with np.errstate(all="ignore"):
        value, wide = got.astype(np.longdouble), exact.astype(np.longdouble)
        largest = np.longdouble(float(info.max))
        beyond = np.abs(wide) >= largest + np.ldexp(np.longdouble(1), info.maxexp - info.nmant - 2)
        wide = np.where(beyond, np.copysign(np.longdouble(np.inf), wide), wide)
        _, exponent = np.frexp(np.where(np.isfinite(wide), wide, 1))
        lowest = np.maximum(exponent, info.minexp + 1)
        distance = np.abs(value - wide) / np.ldexp(np.longdouble(1), lowest - info.nmant - 1)
    same = (value == wide) | (np.isnan(value) & np.isnan(wide))
    return np.where(same, 0, np.where(np.isnan(distance), np.inf, distance))
