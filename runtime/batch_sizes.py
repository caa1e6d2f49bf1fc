"""Batches of several sizes: functions that do the same for other numbers of rows.

`F_b8` is the function `F` for batches of 8 rows. Both take inputs and no gradients; the inputs
whose shapes differ have one row per example, and tell which of the functions a batch is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.runtime.arrays import Array, as_array, numpy_dtype
from stepforge.runtime.errors import InputError
from stepforge.runtime.manifest import Argument, Function

_NAME = re.compile(r"(?P<plain>.+)_b(?P<rows>[1-9][0-9]{0,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sized:
    """One function in several sizes.

    functions: by number of rows, the largest first. inputs: those with a row per example, as the
    largest takes them.
    """

    functions: Mapping[int, str]
    inputs: tuple[Argument, ...]

    def choose(self, given: Mapping[str, Any], called: str) -> tuple[str, Mapping[str, Any]]:
        """The function that takes a batch, and the batch, with what was converted on the way.

        called: what the caller called. A batch that lacks its inputs, or has others of another
        rank, is one for the largest, which says so. Raises InputError for a size that is not there.
        """
        size = self._rows(given)
        if size in self.functions:
            return self.functions[size], given
        arrays = {
            x.name: _converted(x, given[x.name], called) for x in self.inputs if x.name in given
        }
        ranks = {x.name: len(x.shape) for x in self.inputs}
        rows = {name: a.shape[0] for name, a in arrays.items() if a.ndim == ranks[name]}
        if len(rows) < len(self.inputs):
            return next(iter(self.functions.values())), given
        if len(set(rows.values())) > 1:
            each = ", ".join(f"{name!r} has {count}" for name, count in rows.items())
            raise InputError(f"{called}: the inputs of a batch have equally many rows; {each}")
        size = next(iter(rows.values()))
        if size not in self.functions:
            raise InputError(
                f"{called}: expected a batch of {sizes_text(self.functions)} rows, got {size}; "
                "give batches of such sizes, or compile the artifact for this one too "
                "(batch_sizes, --batch)"
            )
        return self.functions[size], {**given, **arrays}

    def _rows(self, given: Mapping[str, Any]) -> int:
        """The rows of a batch of plain arrays, the quick way; -1 for what needs a closer look."""
        found: set[int] = set()
        for x in self.inputs:
            value = given.get(x.name)
            if type(value) is not np.ndarray or len(value.shape) != len(x.shape):
                return -1
            found.add(value.shape[0])
        return found.pop() if len(found) == 1 else -1


def sized_functions(functions: Sequence[Function]) -> dict[str, Sized]:
    """The functions that there are in several sizes, by their plain names."""
    by_name = {f.name: f for f in functions}
    found: dict[str, dict[int, str]] = {}
    for function in functions:
        plain, rows = variant(function, by_name)
        if rows is not None:
            found.setdefault(plain, {})[rows] = function.name
    return {plain: _sized(by_name, plain, names) for plain, names in found.items()}


def plain_names(functions: Sequence[Function]) -> tuple[str, ...]:
    """What is there to call, in whatever size."""
    by_name = {f.name: f for f in functions}
    return tuple(dict.fromkeys(variant(f, by_name)[0] for f in functions))


def variant(function: Function, functions: Mapping[str, Function]) -> tuple[str, int | None]:
    """A function's plain name and, of one for another batch size, how many rows it takes."""
    match = _NAME.fullmatch(function.name)
    if match is None or match["plain"] not in functions or not _inputs(function):
        return function.name, None
    if any(a.role == "gradient" for a in function.arguments):
        return function.name, None
    return match["plain"], int(match["rows"])


def batch_inputs(function: Function, plain: Function) -> tuple[str, ...]:
    """The inputs that have a row per example: those of other shapes than the plain function's."""
    shapes = {a.name: a.shape for a in _inputs(plain)}
    return tuple(a.name for a in _inputs(function) if a.shape != shapes.get(a.name))


def sizes_text(sizes: Iterable[int]) -> str:
    """1, 8 or 32"""
    *first, last = map(str, sorted(sizes))
    return f"{', '.join(first)} or {last}" if first else last


def _sized(by_name: Mapping[str, Function], plain: str, names: Mapping[int, str]) -> Sized:
    largest = by_name[plain]
    varying = batch_inputs(by_name[next(iter(names.values()))], largest)
    inputs = tuple(a for a in _inputs(largest) if a.name in varying)
    return Sized({inputs[0].shape[0]: plain, **names}, inputs)


def _inputs(function: Function) -> list[Argument]:
    return [a for a in function.arguments if a.role == "input"]


def _converted(argument: Argument, value: Any, called: str) -> Array:
    where = f"input {argument.name!r} of {called}"
    return as_array(value, where, numpy_dtype(argument.dtype), argument.shape)
