"""Bits of int32 and int64 numbers, for counter-based generators; integers are two's complement.

And of float32: as an int32, and rounded to bfloat16 by bits that are drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import (
    Array,
    DType,
    TensorType,
    bfloat16,
    convert,
    float32,
    int32,
    int64,
)
from stepforge.frontend.errors import DTypeError, ShapeError
from stepforge.frontend.ops.apply import Operand, apply
from stepforge.frontend.ops.op import Attributes, Op, Rule, Types, check_same

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def _op(name: str, rule: Rule) -> Op:
    def infer(types: Types, attributes: Attributes) -> TensorType:
        same = check_same(name, types)
        if same.dtype not in (int32, int64):
            rule = f"{name}: bits are those of whole numbers of 32 or 64 bits"
            raise DTypeError(rule, expected="int32 or int64", got=same.dtype.name)
        return same

    return Op(name, infer, rule, 2, elementwise=True)


def _shift_left(x: Array, amount: Array) -> Array:
    bits = 8 * x.dtype.itemsize
    return np.where((amount >= 0) & (amount < bits), np.left_shift(x, amount % bits), 0)


def _shift_right_logical(x: Array, amount: Array) -> Array:
    bits = 8 * x.dtype.itemsize
    word = np.dtype(f"u{x.dtype.itemsize}")
    shifted = np.right_shift(x.astype(word), (amount % bits).astype(word)).astype(x.dtype)
    return np.where((amount >= 0) & (amount < bits), shifted, 0)


def _infer_float_bits(types: Types, attributes: Attributes) -> TensorType:
    _check_float32("float_bits", types[0])
    return TensorType(int32, types[0].shape)


def _float_bits(x: Array) -> Array:
    return np.ascontiguousarray(convert(x, float32)).view(np.int32).reshape(x.shape)


def _infer_stochastic_round(types: Types, attributes: Attributes) -> TensorType:
    x, bits = types
    _check_float32("stochastic_round", x)
    if bits.dtype != int32:
        rule = "stochastic_round: the bits are words of 32 bits"
        raise DTypeError(rule, expected="int32", got=bits.dtype.name)
    if bits.shape != x.shape:
        rule = "stochastic_round: one word of bits for each number"
        raise ShapeError(rule, expected=x.shape, got=bits.shape)
    return TensorType(attributes["dtype"], x.shape)


def _stochastic_round(x: Array, bits: Array, dtype: DType) -> Array:
    if dtype != bfloat16:
        return convert(x, dtype)  # evaluated in another precision, which rounds no state
    pattern = _float_bits(x).view(np.uint32)
    moved = (pattern + (bits.view(np.uint32) >> np.uint32(16))) & np.uint32(0xFFFF0000)
    return convert(np.where(np.isnan(x), x, moved.view(np.float32)), bfloat16)


def _check_float32(name: str, type_: TensorType) -> None:
    if type_.dtype != float32:
        raise DTypeError(f"{name}: the bits are those of float32", got=type_.dtype.name)


BIT_AND = _op("bit_and", np.bitwise_and)
BIT_OR = _op("bit_or", np.bitwise_or)
BIT_XOR = _op("bit_xor", np.bitwise_xor)
SHIFT_LEFT = _op("shift_left", _shift_left)
SHIFT_RIGHT_LOGICAL = _op("shift_right_logical", _shift_right_logical)
FLOAT_BITS = Op("float_bits", _infer_float_bits, _float_bits, 1, elementwise=True)
STOCHASTIC_ROUND = Op(
    "stochastic_round",
    _infer_stochastic_round,
    _stochastic_round,
    2,
    elementwise=True,
    attributes=("dtype",),
)

OPS: tuple[Op, ...] = (
    *(BIT_AND, BIT_OR, BIT_XOR, SHIFT_LEFT, SHIFT_RIGHT_LOGICAL),
    *(FLOAT_BITS, STOCHASTIC_ROUND),
)


def bit_and(a: Operand, b: Operand) -> Node:
    """The bits that both have."""
    return apply(BIT_AND, a, b)


def bit_or(a: Operand, b: Operand) -> Node:
    """The bits that either has."""
    return apply(BIT_OR, a, b)


def bit_xor(a: Operand, b: Operand) -> Node:
    """The bits that one of both has."""
    return apply(BIT_XOR, a, b)


def shift_left(x: Operand, amount: Operand) -> Node:
    """x with its bits moved up, zeros below; 0 for an amount outside 0 .. bits - 1."""
    return apply(SHIFT_LEFT, x, amount)


def shift_right_logical(x: Operand, amount: Operand) -> Node:
    """x with its bits moved down, zeros above (the sign is a bit as any other); 0 for an amount
    outside 0 .. bits - 1."""
    return apply(SHIFT_RIGHT_LOGICAL, x, amount)


def float_bits(x: Node) -> Node:
    """The IEEE bits of a float32, as an int32."""
    return apply(FLOAT_BITS, x)


def stochastic_round(x: Node, bits: Node) -> Node:
    """A float32 as one of the two bfloat16 around it: away from zero where the upper 16 bits of
    `bits`, an unsigned number, are at least 2^16 - (the lower 16 bits of x).

    So with bits that are uniform and independent of x its expectation is x. A bfloat16 stays what
    it is, NaN stays NaN. Beyond the largest bfloat16 it may become infinite. bits: int32, of the
    shape of x. Evaluated in another precision it rounds to that one alone.
    """
    return apply(STOCHASTIC_ROUND, x, bits, dtype=bfloat16)
