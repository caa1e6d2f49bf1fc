"""The record of one op, and the type rules that many ops share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from stepforge.frontend.dtypes import Array, DType, TensorType, bool_
from stepforge.frontend.errors import DTypeError, ShapeError

Types: TypeAlias = Sequence[TensorType]
Attributes: TypeAlias = Mapping[str, Any]
Infer: TypeAlias = Callable[[Types, Attributes], TensorType]
Rule: TypeAlias = Callable[..., Array]
Kinds: TypeAlias = frozenset[str]

FLOAT: Kinds = frozenset({"float"})
NUMBER: Kinds = frozenset({"float", "integer"})
BOOL: Kinds = frozenset({"bool"})
ANY: Kinds = FLOAT | NUMBER | BOOL


@dataclass(frozen=True, slots=True)
class Op:
    """One op: a name, its type rule and its NumPy rule.

    infer: (operand types, attributes) -> result type; raises ShapeError or DTypeError.
    numpy: (*arrays, **attributes) -> array, in the dtype of its operands.
    arity: number of operands; None means one or more.
    elementwise: each result element depends only on the operand elements at its own index.
    attributes: the exact attribute names of a node.
    wide: `evaluate` computes it in float64 and rounds once, because NumPy's float32 version is
        not correctly rounded (or depends on the order of the sum, or on the CPU).
    """

    name: str
    infer: Infer
    numpy: Rule
    arity: int | None
    elementwise: bool = False
    attributes: tuple[str, ...] = ()
    wide: bool = False


class Value:
    """What op functions accept beside a number. Node is its only subclass.

    It stands here so that the op functions need no import of the graph, which imports them.
    """

    __slots__ = ()


def show(types: Types) -> str:
    return " and ".join(map(str, types))


def check_kind(name: str, dtype: DType, kinds: Kinds) -> None:
    """Raises DTypeError unless the dtype is of one of the kinds."""
    if dtype.kind in kinds:
        return
    expected = " or ".join(sorted(kinds))
    raise DTypeError(f"{name}: wrong dtype", expected=f"a {expected} dtype", got=dtype.name)


def check_same(name: str, types: Types) -> TensorType:
    """The one type that all operands have; raises DTypeError or ShapeError otherwise."""
    first = types[0]
    if any(t.dtype != first.dtype for t in types):
        raise DTypeError(
            f"{name}: operands must have the same dtype, there is no implicit promotion",
            expected=first.dtype.name,
            got=show(types),
            hint=f'convert one side, for example with ops.cast(x, "{first.dtype.name}")',
        )
    if any(t.shape != first.shape for t in types):
        raise ShapeError(
            f"{name}: operands must have the same shape; only rank-0 operands are broadcast",
            expected=first,
            got=show(types),
            hint="make the shapes equal, for example with ops.broadcast_to or ops.reshape",
        )
    return first


def unary(
    name: str, rule: Rule, kinds: Kinds, *, result: DType | None = None, wide: bool = False
) -> Op:
    """An element-wise op of one operand; its dtype is the operand's unless `result` is given."""

    def infer(types: Types, attributes: Attributes) -> TensorType:
        check_kind(name, types[0].dtype, kinds)
        return TensorType(result or types[0].dtype, types[0].shape)

    return Op(name, infer, rule, 1, elementwise=True, wide=wide)


def binary(
    name: str, rule: Rule, kinds: Kinds, *, result: DType | None = None, wide: bool = False
) -> Op:
    """An element-wise op of two operands of one type."""

    def infer(types: Types, attributes: Attributes) -> TensorType:
        same = check_same(name, types)
        check_kind(name, same.dtype, kinds)
        return TensorType(result or same.dtype, same.shape)

    return Op(name, infer, rule, 2, elementwise=True, wide=wide)


def predicate(name: str, rule: Rule, kinds: Kinds) -> Op:
    """A binary op whose result is bool."""
    return binary(name, rule, kinds, result=bool_)
