"""Axes as users write them (one, several, negative, None) and as nodes keep them (sorted)."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import SupportsIndex, TypeAlias

from stepforge.frontend.dtypes import TensorType
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.ops.op import Attributes

Integers: TypeAlias = Iterable[SupportsIndex]
Axes: TypeAlias = "SupportsIndex | Integers | None"


def as_integer(name: str, number: SupportsIndex) -> int:
    """A whole number, NumPy's included, as an int; raises ShapeError for anything else."""
    try:
        return operator.index(number)
    except TypeError:
        rule = f"{name}: axes, bounds and amounts are whole numbers"
        raise ShapeError(rule, expected="an int", got=repr(number)) from None


def as_integers(name: str, numbers: Integers) -> tuple[int, ...]:
    return tuple(as_integer(name, number) for number in numbers)


def as_axis(name: str, axis: SupportsIndex, type_: TensorType) -> int:
    """A possibly negative axis as one of 0 .. rank - 1; raises ShapeError."""
    number = as_integer(name, axis)
    check_axis(name, number + type_.rank if number < 0 else number, type_)
    return number % type_.rank


def as_axes(name: str, axes: Axes, type_: TensorType) -> tuple[int, ...]:
    """Axes, sorted and without signs; None means all. Raises ShapeError for a repeated one."""
    if axes is None:
        return tuple(range(type_.rank))
    given = axes if isinstance(axes, Iterable) else (axes,)
    result = tuple(sorted(as_axis(name, axis, type_) for axis in given))
    check_axes(name, result, type_)
    return result


def check_axis(name: str, axis: int, type_: TensorType) -> None:
    if not 0 <= axis < type_.rank:
        expected = f"an axis of {type_}, which has {type_.rank}"
        raise ShapeError(f"{name}: there is no such axis", expected=expected, got=axis)


def check_axes(name: str, axes: Sequence[int], type_: TensorType) -> None:
    for axis in axes:
        check_axis(name, axis, type_)
    if list(axes) != sorted(set(axes)):
        raise ShapeError(f"{name}: axes must be sorted, each once", got=axes)


def matched(
    name: str, type_: TensorType, attributes: Attributes, *keys: str
) -> Iterator[tuple[int, ...]]:
    """For each axis: its size, then that axis's entry of each attribute; raises ShapeError."""
    columns: list[Sequence[int]] = [attributes[key] for key in keys]
    for key, entries in zip(keys, columns, strict=True):
        if len(entries) != type_.rank:
            expected = f"{type_.rank} numbers for {type_}"
            raise ShapeError(
                f"{name}: one number per axis in {key}", expected=expected, got=entries
            )
    return zip(type_.shape, *columns, strict=True)
