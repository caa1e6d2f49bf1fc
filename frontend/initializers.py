"""First values of variables, drawn by one counter-based generator that every part can repeat.

The generator is Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011). Everything that decides a value is written here, so that an implementation
elsewhere gives the same bits:

    key      the given seed modulo 2^64: k0 = its low 32 bits, k1 = its high 32 bits
    start    first 8 bytes of SHA-256(the initializer's own seed as 8 little-endian two's complement
             bytes, then the variable's path in UTF-8), read as two little-endian u32 words: s0, s1
    counter  for element i in row-major order: c0 = s0 + i mod 2^32, c1 = s1 + i div 2^32
    block    k2 = k0 ^ k1 ^ 0x1BD11BDA; (x0, x1) = (c0 + k0, c1 + k1); then five groups n = 1..5 of
             four rounds each: x0 += x1, x1 = rotate_left(x1, r), x1 ^= x0, with r from
             (13, 15, 26, 6) in odd groups and (17, 29, 16, 24) in even ones; after group n,
             x0 += k[n mod 3] and x1 += k[(n + 1) mod 3] + n. All sums are modulo 2^32.
    uniform  low + (high - low) * u, with u = (x0 >> 8) * 2^-24, in [0, 1)
    normal   mean + (stddev * sqrt(-2 * ln(a))) * cos((2 * pi) * b), with
             a = ((x0 >> 8) + 1) * 2^-24, in (0, 1], and b = (x1 >> 8) * 2^-24, in [0, 1)

Every expression is float64 with the operations grouped as written, and is rounded once, half to
even, to the variable's dtype; the limits and deviations of the glorot and he kinds are float64 too.
A variable's path is its name from the root, such as `/encoder/w`, so renaming a variable changes
its values, and creating another one before it does not. Hashes need neither the given seed nor the
device, so an artifact's `initialize` has them as numbers (`first_values`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend.dtypes import Array, DType, convert
from stepforge.frontend.errors import ContextError

Float64 = NDArray[np.float64]
Words = NDArray[np.uint32]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True)
class Initializer:
    """How a variable gets its first value; make one with the functions of this module.

    kind: `required` (the user gives the value), `constant`, `zeros`, `ones`, `uniform`, `normal`,
    or `glorot_` or `he_` before `uniform` or `normal`.
    """

    kind: str
    value: float | int | bool | None = None
    """Of `constant`."""
    seed: int | None = None
    """Of the random kinds."""
    arguments: tuple[float, ...] = ()
    """(low, high) of `uniform`, (mean, stddev) of `normal`."""

    def sample(self, path: str, dtype: DType, shape: tuple[int, ...], seed: int = 0) -> Array:
        """The first value of the variable at `path`. Raises ContextError when it is `required`.

        seed: given by whoever starts a training, modulo 2^64; the initializer's own enters too.
        """
        if self.kind == "required":
            raise ContextError(
                f"the variable {path!r} has no first value of its own",
                hint="give it one with set_value, or create it with an initializer",
            )
        if self.kind in _FILLS:
            return convert(np.full(shape, self.fill), dtype)
        kind, first, second = self.distribution(shape)
        words = _block(seed, stream_start(self.seed or 0, path), math.prod(shape))
        return convert(_DRAWS[kind](words, first, second).reshape(shape), dtype)

    @property
    def fill(self) -> float | int | bool | None:
        """The number that is everywhere; None for the kinds that have none."""
        return self.value if self.kind == "constant" else _FILLS.get(self.kind)

    def distribution(self, shape: tuple[int, ...]) -> tuple[str, float, float]:
        """("uniform", low, high) or ("normal", mean, stddev) of a random kind."""
        if self.kind not in _LIMITS:
            low, high = self.arguments
            return self.kind, low, high
        scale = _LIMITS[self.kind](*fans(shape))
        kind = self.kind.rpartition("_")[2]
        return kind, -scale if kind == "uniform" else 0.0, scale


def required() -> Initializer:
    """No first value: the user gives it before the first step."""
    return Initializer("required")


def zeros() -> Initializer:
    """Zero everywhere."""
    return Initializer("zeros")


def ones() -> Initializer:
    """One everywhere."""
    return Initializer("ones")


def constant(value: float | int | bool) -> Initializer:
    """One number everywhere."""
    return Initializer("constant", value=value)


def uniform(low: float = 0.0, high: float = 1.0, *, seed: int = 0) -> Initializer:
    """Uniform in [low, high); rounding to the dtype may reach `high`."""
    return _random("uniform", seed, float(low), float(high))


def normal(mean: float = 0.0, stddev: float = 1.0, *, seed: int = 0) -> Initializer:
    """Normal by Box and Muller's transform, one block an element; at most 5.8 stddev out."""
    return _random("normal", seed, float(mean), float(stddev))


def glorot_uniform(*, seed: int = 0) -> Initializer:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)); also called Xavier. See `fans`."""
    return _random("glorot_uniform", seed)


def glorot_normal(*, seed: int = 0) -> Initializer:
    """Normal, not truncated, with variance 2 / (fan_in + fan_out). See `fans`."""
    return _random("glorot_normal", seed)


def he_uniform(*, seed: int = 0) -> Initializer:
    """Uniform in +-sqrt(6 / fan_in). See `fans`."""
    return _random("he_uniform", seed)


def he_normal(*, seed: int = 0) -> Initializer:
    """Normal, not truncated, with variance 2 / fan_in. See `fans`."""
    return _random("he_normal", seed)


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out): the last two axes are input and output, all before them are positions.

    A vector counts its length both ways, a scalar 1; neither is ever below 1.
    """
    if len(shape) < 2:
        size = max(1, math.prod(shape))
        return size, size
    positions = math.prod(shape[:-2])
    return max(1, shape[-2] * positions), max(1, shape[-1] * positions)


def stream_start(seed: int, path: str) -> tuple[int, int]:
    """The two counter words of a variable's first element; the rule is in the module's docstring.

    seed: the initializer's own.
    """
    digest = hashlib.sha256(seed.to_bytes(8, "little", signed=True) + path.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def seed_words(seed: int) -> tuple[int, int]:
    """The key of a given seed: its low and its high 32 bits, in two's complement."""
    return seed % 2**32, (seed >> 32) % 2**32


def threefry2x32(key: tuple[int, int], low: Words, high: Words) -> tuple[Words, Words]:
    """One block of two words for each counter (low, high)."""
    words = [np.uint32(w) for w in (*key, key[0] ^ key[1] ^ _PARITY)]
    x0, x1 = low + words[0], high + words[1]
    for group in range(1, 6):
        for rotation in _ROTATIONS[(group - 1) % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))) ^ x0
        x0 = x0 + words[group % 3]
        x1 = x1 + words[(group + 1) % 3] + np.uint32(group)
    return x0, x1


def _random(kind: str, seed: int, *arguments: float) -> Initializer:
    if isinstance(seed, bool) or not -(2**63) <= seed < 2**63:
        raise ContextError("a seed is an integer of 64 bits", got=seed)
    if not all(math.isfinite(x) for x in arguments):
        raise ContextError(f"{kind}: the arguments are finite numbers", got=arguments)
    return Initializer(kind, seed=seed, arguments=arguments)


def _block(seed: int, start: tuple[int, int], count: int) -> _Bits:
    """The top 24 bits of both words for elements 0 to count - 1, as whole float64 numbers."""
    index = np.arange(count, dtype=np.uint64)
    low = (index & np.uint64(0xFFFFFFFF)).astype(np.uint32) + np.uint32(start[0])
    high = (index >> np.uint64(32)).astype(np.uint32) + np.uint32(start[1])
    x0, x1 = threefry2x32(seed_words(seed), low, high)
    return (x0 >> np.uint32(8)).astype(np.float64), (x1 >> np.uint32(8)).astype(np.float64)


def _uniform(words: _Bits, low: float, high: float) -> Float64:
    return low + (high - low) * (words[0] * _UNIT)


def _normal(words: _Bits, mean: float, stddev: float) -> Float64:
    first, second = words
    radius = np.sqrt(-2.0 * np.log((first + 1.0) * _UNIT))
    return mean + (stddev * radius) * np.cos((2.0 * math.pi) * (second * _UNIT))


_Bits = tuple[Float64, Float64]
_FILLS: Mapping[str, Any] = {"zeros": 0, "ones": 1, "constant": None}
_DRAWS: Mapping[str, Callable[[_Bits, float, float], Float64]] = {
    "uniform": _uniform,
    "normal": _normal,
}
_LIMITS: Mapping[str, Callable[[int, int], float]] = {
    "glorot_uniform": lambda fan_in, fan_out: math.sqrt(6.0 / (fan_in + fan_out)),
    "glorot_normal": lambda fan_in, fan_out: math.sqrt(2.0 / (fan_in + fan_out)),
    "he_uniform": lambda fan_in, _: math.sqrt(6.0 / fan_in),
    "he_normal": lambda fan_in, _: math.sqrt(2.0 / fan_in),
}
