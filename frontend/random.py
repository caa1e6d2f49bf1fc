"""Random numbers inside a graph: the generator of `initializers`, bit for bit.

Threefry-2x32 with 20 rounds on int32 words (their bits are the unsigned words of that module's
docstring). Nothing has a state: who draws gives a key, and another one for other numbers, for
example the key of a path and a step counter folded in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from stepforge.frontend import initializers
from stepforge.frontend.dtypes import DTypeLike, as_dtype, float32, int32
from stepforge.frontend.errors import DTypeError, ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.ops import (
    add,
    bit_or,
    bit_xor,
    broadcast_to,
    cast,
    iota,
    reshape,
    shift_left,
    shift_right_logical,
)
from stepforge.frontend.ops.source import as_shape

Key = tuple[Node, Node]
"""Two int32 nodes of rank 0."""

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def constant_key(like: Node, seed: int, path: str) -> Key:
    """The hash of a seed and a path (`initializers.stream_start`), in the graph of `like`."""
    words = np.array(initializers.stream_start(seed, path), np.uint32).view(np.int32)
    first, second = (like.graph.constant(int(word), int32) for word in words)
    return first, second


def fold_in(key: Key, number: Node) -> Key:
    """Another key for each int32 number, such as a step counter."""
    return threefry2x32(key, (number, number.graph.constant(0, int32)))


def threefry2x32(key: Key, counter: tuple[Node, Node]) -> tuple[Node, Node]:
    """One block of two words for each counter (low, high): int32 nodes of one shape, as results.

    Raises DTypeError for anything but int32, ShapeError for a key that is not of rank 0.
    """
    _check(key, counter)
    keys = [*key, bit_xor(bit_xor(key[0], key[1]), _PARITY)]
    x0, x1 = add(counter[0], keys[0]), add(counter[1], keys[1])
    for group in range(1, 6):
        for rotation in _ROTATIONS[(group - 1) % 2]:
            x0 = add(x0, x1)
            x1 = bit_xor(_rotated(x1, rotation), x0)
        x0 = add(x0, keys[group % 3])
        x1 = add(x1, add(keys[(group + 1) % 3], group))
    return x0, x1


def random_bits(key: Key, shape: Iterable[int], start: int = 0) -> tuple[Node, Node]:
    """Two words of 32 random bits for each element, as int32 nodes of a shape.

    The counter of an element is its row-major index, from `start` on. Raises ShapeError for more
    than 2^31 - 1 elements.
    """
    sizes = as_shape(shape)
    count = math.prod(sizes)
    if not 0 <= start <= 2**31 - 1 - count:
        got = f"{count} from {start}"
        raise ShapeError("random_bits: the counter has 31 bits", expected="2^31 - 1", got=got)
    graph = key[0].graph
    low = iota(graph, int32, (count,)) if sizes else graph.constant(0, int32)
    low = reshape(low, sizes)
    low = add(low, start) if start else low
    return threefry2x32(key, (low, broadcast_to(graph.constant(0, int32), sizes)))


def random_uniform(
    key: Key,
    shape: Iterable[int],
    low: float = 0.0,
    high: float = 1.0,
    dtype: DTypeLike = float32,
) -> Node:
    """Uniform numbers in [low, high): low + (high - low) * u, u = the top 24 bits * 2^-24.

    Made of bits as `initializers.uniform` makes them, but computed in the dtype (16-bit floats: in
    float32), not in float64. Rounding to the dtype may reach `high`.
    """
    target = as_dtype(dtype)
    if not target.is_float:
        rule = "random_uniform: the numbers are floats"
        raise DTypeError(rule, expected="a float dtype", got=target.name)
    wide = float32 if target.is_half else target
    first, _ = random_bits(key, shape)
    unit = cast(shift_right_logical(first, 8), wide) * 2.0**-24
    if (low, high) != (0.0, 1.0):
        unit = unit * (high - low) + low
    return cast(unit, target)


def _rotated(x: Node, distance: int) -> Node:
    return bit_or(shift_left(x, distance), shift_right_logical(x, 32 - distance))


def _check(key: Key, counter: tuple[Node, Node]) -> None:
    for node in (*key, *counter):
        if node.dtype != int32:
            rule = "threefry2x32: keys and counters are int32"
            raise DTypeError(rule, expected="int32", got=node.type)
    for word in key:
        if word.rank:
            raise ShapeError("threefry2x32: a key word has rank 0", expected=(), got=word.shape)
