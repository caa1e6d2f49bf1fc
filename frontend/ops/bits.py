"""Bits of int32 and int64 numbers, for counter-based generators; integers are two's complement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import Array, TensorType, int32, int64
from stepforge.frontend.errors import DTypeError
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


BIT_AND = _op("bit_and", np.bitwise_and)
BIT_OR = _op("bit_or", np.bitwise_or)
BIT_XOR = _op("bit_xor", np.bitwise_xor)
SHIFT_LEFT = _op("shift_left", _shift_left)
SHIFT_RIGHT_LOGICAL = _op("shift_right_logical", _shift_right_logical)

OPS: tuple[Op, ...] = (BIT_AND, BIT_OR, BIT_XOR, SHIFT_LEFT, SHIFT_RIGHT_LOGICAL)


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
