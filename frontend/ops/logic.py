"""Comparisons, logic, selection, and the test for finite values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stepforge.frontend.dtypes import TensorType, bool_
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.ops.apply import Operand, apply, lift
from stepforge.frontend.ops.op import (
    ANY,
    BOOL,
    FLOAT,
    NUMBER,
    Attributes,
    Op,
    Types,
    binary,
    check_kind,
    check_same,
    predicate,
    show,
    unary,
)

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def _infer_where(types: Types, attributes: Attributes) -> TensorType:
    condition, same = types[0], check_same("where", types[1:])
    check_kind("where (condition)", condition.dtype, BOOL)
    if condition.shape != same.shape:
        raise ShapeError(
            "where: the condition and the two choices must have the same shape",
            expected=same.shape,
            got=show(types),
        )
    return same


EQUAL = predicate("equal", np.equal, ANY)
NOT_EQUAL = predicate("not_equal", np.not_equal, ANY)
LESS = predicate("less", np.less, NUMBER)
LESS_EQUAL = predicate("less_equal", np.less_equal, NUMBER)
GREATER = predicate("greater", np.greater, NUMBER)
GREATER_EQUAL = predicate("greater_equal", np.greater_equal, NUMBER)
LOGICAL_AND = binary("logical_and", np.logical_and, BOOL)
LOGICAL_OR = binary("logical_or", np.logical_or, BOOL)
LOGICAL_XOR = binary("logical_xor", np.logical_xor, BOOL)
LOGICAL_NOT = unary("logical_not", np.logical_not, BOOL)
IS_FINITE = unary("is_finite", np.isfinite, FLOAT, result=bool_)
WHERE = Op("where", _infer_where, np.where, 3, elementwise=True)

OPS: tuple[Op, ...] = (
    *(EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL),
    *(LOGICAL_AND, LOGICAL_OR, LOGICAL_XOR, LOGICAL_NOT, IS_FINITE, WHERE),
)


def equal(a: Operand, b: Operand) -> Node:
    """a equals b, a bool; false where either is NaN. (`==` on nodes is identity.)"""
    return apply(EQUAL, a, b)


def not_equal(a: Operand, b: Operand) -> Node:
    """a differs from b, a bool; true where either is NaN."""
    return apply(NOT_EQUAL, a, b)


def less(a: Operand, b: Operand) -> Node:
    """a < b, a bool; false where either is NaN."""
    return apply(LESS, a, b)


def less_equal(a: Operand, b: Operand) -> Node:
    """a <= b, a bool; false where either is NaN."""
    return apply(LESS_EQUAL, a, b)


def greater(a: Operand, b: Operand) -> Node:
    """a > b, a bool; false where either is NaN."""
    return apply(GREATER, a, b)


def greater_equal(a: Operand, b: Operand) -> Node:
    """a >= b, a bool; false where either is NaN."""
    return apply(GREATER_EQUAL, a, b)


def logical_and(a: Operand, b: Operand) -> Node:
    """Both of two bools."""
    return apply(LOGICAL_AND, a, b)


def logical_or(a: Operand, b: Operand) -> Node:
    """At least one of two bools."""
    return apply(LOGICAL_OR, a, b)


def logical_xor(a: Operand, b: Operand) -> Node:
    """Exactly one of two bools."""
    return apply(LOGICAL_XOR, a, b)


def logical_not(x: Node) -> Node:
    """The other bool."""
    return apply(LOGICAL_NOT, x)


def is_finite(x: Node) -> Node:
    """Neither infinite nor NaN, a bool; floats only."""
    return apply(IS_FINITE, x)


def where(condition: Node, a: Operand, b: Operand) -> Node:
    """a where the condition (bool) is true, else b. Numbers take the dtype of the other choice."""
    first, second = lift("where", (a, b))
    return apply(WHERE, condition, first, second)
