"""First values of variables: the runtime's copy of the frontend's counter-based generator.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
The key is the given seed as two words; the counter of an element is its index, counted from the
first 8 bytes of SHA-256(the initializer's own seed as 8 little-endian signed bytes, then the
variable's path in UTF-8). Uniform numbers take the top 24 bits of the
first word; normal ones are Box and Muller's, from both words. All is float64, rounded once to the
variable's dtype. The bits equal `stepforge.frontend.initializers`, whose docstring defines them; a
test compares.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.runtime.arrays import BFLOAT16, Array, numpy_dtype
from stepforge.runtime.manifest import Initializer, Variable

Float64 = NDArray[np.float64]
Words = NDArray[np.uint32]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_UNIT = 2.0**-24
_PIECE = 2**20
_FILLS: Mapping[str, float] = {"zeros": 0.0, "ones": 1.0}


def first_value(variable: Variable, seed: int = 0) -> Array:
    """The value that the variable's initializer gives; `required` has none (AssertionError).

    seed: given by whoever starts a training, modulo 2^64; the initializer's own enters too.
    """
    item = variable.initializer
    assert item.kind != "required", variable.name
    dtype = numpy_dtype(variable.dtype)
    if item.kind == "constant" or item.kind in _FILLS:
        fill = item.value if item.kind == "constant" else _FILLS[item.kind]
        return _rounded(np.full(variable.shape, fill), dtype)
    key, begin = _key(seed), _start(item.seed or 0, variable.name)
    draw = _drawing(item, variable.shape)
    count = math.prod(variable.shape)
    values = np.empty(count, dtype)
    # In pieces: the generator needs some ten times the memory of what it draws.
    for start in range(0, count, _PIECE):
        index = np.arange(start, min(start + _PIECE, count), dtype=np.uint64)
        values[start : start + _PIECE] = _rounded(draw(*_bits(key, begin, index)), dtype)
    return values.reshape(variable.shape)


def _drawing(item: Initializer, shape: tuple[int, ...]) -> Callable[[Float64, Float64], Float64]:
    """How the two words' bits become values."""
    if item.kind in _LIMITS:
        rule, limit = _LIMITS[item.kind]
        scale = limit(*_fans(shape))
        return partial(rule, -scale if rule is _uniform else 0.0, scale)
    return partial(_uniform if item.kind == "uniform" else _normal, *item.arguments)


def _rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """`array`, which is float64, int64 or bool, in another dtype; rounded once, half to even."""
    with np.errstate(all="ignore"):
        if dtype == np.bool_:
            return array != 0
        if dtype == BFLOAT16:
            return _to_odd(array.astype(np.float64)).astype(BFLOAT16)
        return array.astype(dtype)


def _to_odd(exact: Float64) -> NDArray[np.float32]:
    """float32 rounded to odd, so that the rounding to bfloat16 is the only one that counts.

    (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.)
    """
    near = exact.astype(np.float32)
    back = near.astype(np.float64)
    too_far = (np.abs(back) > np.abs(exact)).astype(np.uint32)
    odd = ((near.view(np.uint32) - too_far) | np.uint32(1)).view(np.float32)
    return np.where((back == exact) | np.isnan(exact), near, odd).astype(np.float32)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out): the last two axes are input and output, all before them are positions."""
    if len(shape) < 2:
        size = max(1, math.prod(shape))
        return size, size
    positions = math.prod(shape[:-2])
    return max(1, shape[-2] * positions), max(1, shape[-1] * positions)


def _key(seed: int) -> tuple[int, int]:
    """The low and the high 32 bits of a seed, in two's complement."""
    return seed % 2**32, (seed >> 32) % 2**32


def _start(seed: int, path: str) -> tuple[int, int]:
    """The counter words of the first element; `seed` is the initializer's own."""
    digest = hashlib.sha256(seed.to_bytes(8, "little", signed=True) + path.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def _threefry(key: tuple[int, int], low: Words, high: Words) -> tuple[Words, Words]:
    words = [np.uint32(w) for w in (*key, key[0] ^ key[1] ^ _PARITY)]
    x0, x1 = low + words[0], high + words[1]
    for group in range(1, 6):
        for rotation in _ROTATIONS[(group - 1) % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))) ^ x0
        x0 = x0 + words[group % 3]
        x1 = x1 + words[(group + 1) % 3] + np.uint32(group)
    return x0, x1


def _bits(
    key: tuple[int, int], start: tuple[int, int], index: NDArray[np.uint64]
) -> tuple[Float64, Float64]:
    """The top 24 bits of both words of the elements at `index`."""
    low = (index & np.uint64(0xFFFFFFFF)).astype(np.uint32) + np.uint32(start[0])
    high = (index >> np.uint64(32)).astype(np.uint32) + np.uint32(start[1])
    x0, x1 = _threefry(key, low, high)
    return (x0 >> np.uint32(8)).astype(np.float64), (x1 >> np.uint32(8)).astype(np.float64)


def _uniform(low: float, high: float, first: Float64, _: Float64) -> Float64:
    return low + (high - low) * (first * _UNIT)


def _normal(mean: float, stddev: float, first: Float64, second: Float64) -> Float64:
    radius = np.sqrt(-2.0 * np.log((first + 1.0) * _UNIT))
    return mean + (stddev * radius) * np.cos((2.0 * math.pi) * (second * _UNIT))


_Draw = Callable[[float, float, Float64, Float64], Float64]
_LIMITS: Mapping[str, tuple[_Draw, Callable[[int, int], float]]] = {
    "glorot_uniform": (_uniform, lambda fan_in, fan_out: math.sqrt(6.0 / (fan_in + fan_out))),
    "glorot_normal": (_normal, lambda fan_in, fan_out: math.sqrt(2.0 / (fan_in + fan_out))),
    "he_uniform": (_uniform, lambda fan_in, _: math.sqrt(6.0 / fan_in)),
    "he_normal": (_normal, lambda fan_in, _: math.sqrt(2.0 / fan_in)),
}
