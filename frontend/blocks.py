"""Slots in 8 bits: a code for each element, and the largest magnitude of its block.

A tensor of N elements is k blocks of B neighbours in row-major order; B is 256 where that divides
N, else the divisor of N nearest to it (in ratio) from 160 to 640. A tensor of less than 4,096
elements, or without such a divisor, keeps its slots in the compute dtype. Of a block with the
largest magnitude L, 8-bit codes stand for

    signed      c L / 127               c from -127 to 127
    magnitude   c L / 255               c from 0 to 255, stored as c - 128
    square      c^2 L / 65025           the same codes: the root is what is linear

A signed value takes the nearest code (of two, the upper). Codes of magnitudes and squares are
rounded up (less 2^-18 of themselves, which is more than float32 is off by, so that a value that
only decays with its block keeps its code): what is divided by is never too small, and never zero
unless it was. With stochastic rounding every code is the one below or above by chance, but never 0
for what is not.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32, int8
from stepforge.frontend.graph import Node

Range: TypeAlias = Literal["signed", "magnitude", "square"]

SMALLEST = 4_096
"""Tensors of fewer elements are not worth blocks."""
_USUAL, _SHORTEST, _LONGEST = 256, 160, 640
_TINY = 2.0**-110
"""Blocks below it are rounded to their largest magnitude: its reciprocal overflows."""
_LEVELS = {"signed": 127.0, "magnitude": 255.0, "square": 255.0**2}
_MORE_THAN_ALL = 2.0**100
_SLACK = 1.0 - 2.0**-18
_WHOLE, _WHOLE_BITS = 1.5 * 2.0**23, 0x4B400000
"""Added to a whole number, its bits are this plus the number, whatever rounding a device has."""


def block_length(count: int) -> int | None:
    """How many elements of a tensor make a block; None where it has none."""
    if count < SMALLEST:
        return None
    found = [b for b in range(_SHORTEST, _LONGEST + 1) if count % b == 0]
    return min(found, key=lambda b: (abs(math.log2(b / _USUAL)), b), default=None)


def decode(codes: Node, largest: Node, range_: Range) -> Node:
    """The numbers that codes, [k, B] of int8, stand for, float32. largest: of each block, [k]."""
    number = ops.cast(codes, float32)
    unit_ = over(largest * (1.0 / _LEVELS[range_]), number)
    if range_ == "signed":
        return number * unit_
    number = number + 128.0
    return number * unit_ if range_ == "magnitude" else number * number * unit_


def encode(x: Node, range_: Range, draw: Node | None) -> tuple[Node, Node]:
    """The codes of x, [k, B] of float32, and the largest magnitude of each block, [k].

    draw: to round by chance, numbers of x's shape that are uniform in [0, 1).
    """
    largest = ops.reduce_max(ops.abs(x), 1)
    top = over(largest, x)
    if range_ == "signed":
        level = x * _reciprocal(top, _LEVELS[range_], 0.0)
        if draw is None:
            return _stored(ops.floor(level + 0.5), 0), largest
        return _stored(ops.clip(ops.floor(level + draw), -127.0, 127.0), 0), largest
    if range_ == "square":
        # The root of each element is, most of the time, what the rule needs too.
        below, level = ops.sqrt(top), ops.sqrt(x)
    else:
        below, level = top, x
    if draw is None and range_ == "square":
        # Rounded up, what is not 0 is at least 1; the root of what is in a tiny block is at least
        # 2^-75.
        level = level * _reciprocal(top, 255.0 * _SLACK, _MORE_THAN_ALL, below)
        return _stored(ops.minimum(ops.ceil(level), 255.0), 128), largest
    level = level * _reciprocal(top, 255.0, 0.0, below)
    whole = ops.ceil(level * _SLACK) if draw is None else ops.floor(level + draw)
    whole = ops.where(ops.greater_equal(top, _TINY), ops.clip(whole, 1.0, 255.0), 255.0)
    return _stored(ops.where(ops.equal(x, 0.0), 0.0, whole), 128), largest


def over(largest: Node, like: Node) -> Node:
    """A number of each block, [k], at each of its elements."""
    return ops.broadcast_to(largest, like.shape, (0,))


def _reciprocal(largest: Node, levels: float, tiny: float, below: Node | None = None) -> Node:
    """levels / below, which is the largest magnitude by default; `tiny` in blocks that are."""
    below = largest if below is None else below
    return ops.where(ops.greater_equal(largest, _TINY), levels / below, tiny)


def _stored(whole: Node, offset: int) -> Node:
    """Whole numbers as int8, less an offset."""
    bits = ops.float_bits(whole + _WHOLE)
    return ops.cast(bits - (_WHOLE_BITS + offset), int8)


def unit(word: Node) -> Node:
    """The upper 16 bits of an int32 as a float32 in [0, 1)."""
    return ops.cast(ops.shift_right_logical(word, 16), float32) * 2.0**-16
