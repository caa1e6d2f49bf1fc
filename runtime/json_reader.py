"""Strict JSON: exact keys, exact types, bounds on everything; errors say where."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, cast

from stepforge.runtime.errors import ArtifactFormatError

MAX_TEXT = 1024
MAX_INTEGER = 2**53

T = TypeVar("T")


def parse(data: bytes, where: str) -> Reader:
    """Parse UTF-8 JSON without repeated keys, NaN or Infinity. Raises ArtifactFormatError."""
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactFormatError(f"{where}: not strict JSON: {error}") from error
    return Reader(value, where)


def json_number(value: float | int | bool) -> Any:
    """What `Reader.number` reads: JSON has no infinities and no NaN, which are {"float": "inf"}."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object repeats a key")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class Reader:
    """One JSON value and its place in the document."""

    value: Any
    where: str

    def fail(self, expected: str) -> NoReturn:
        got = json.dumps(self.value)
        got = got if len(got) <= 80 else got[:80] + "..."
        raise ArtifactFormatError(f"{self.where}: expected {expected}, got {got}")

    def has(self, key: str) -> bool:
        value = self.value
        return isinstance(value, dict) and key in value

    def fields(self, *keys: str) -> dict[str, Reader]:
        """The object's members; exactly `keys` must be there."""
        value = self.value
        if not isinstance(value, dict):
            self.fail("an object")
        value = cast(dict[str, Any], value)
        if set(value) != set(keys):
            self.fail(f"the keys {sorted(keys)} and no other")
        return {key: Reader(value[key], f"{self.where}.{key}") for key in keys}

    def items(self, limit: int) -> list[Reader]:
        value = self.value
        if not isinstance(value, list):
            self.fail("a list")
        value = cast(list[Any], value)
        if len(value) > limit:
            raise ArtifactFormatError(
                f"{self.where}: at most {limit} items are allowed, got {len(value)}"
            )
        return [Reader(item, f"{self.where}[{i}]") for i, item in enumerate(value)]

    def each(self, limit: int, read: Callable[[Reader], T]) -> tuple[T, ...]:
        return tuple(read(item) for item in self.items(limit))

    def text(self) -> str:
        if not isinstance(self.value, str) or len(self.value) > MAX_TEXT:
            self.fail(f"a string of at most {MAX_TEXT} characters")
        return self.value

    def one_of(self, choices: Sequence[str]) -> str:
        if self.value not in choices:
            self.fail(f"one of {', '.join(choices)}")
        return cast(str, self.value)

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return self.value

    def integer(self, low: int = 0, high: int = MAX_INTEGER) -> int:
        if type(self.value) is not int or not low <= self.value <= high:
            self.fail(f"an integer from {low} to {high}")
        return self.value

    def number(self) -> float | int | bool:
        """A number, a bool, or {"float": "inf" | "-inf" | "nan"}."""
        if isinstance(self.value, dict):
            return float(self.fields("float")["float"].one_of(("inf", "-inf", "nan")))
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, int):
            return self.integer(-(2**63), 2**63 - 1)
        if not isinstance(self.value, float):
            self.fail("a number")
        return self.value

    def optional(self, read: Callable[[Reader], T]) -> T | None:
        return None if self.value is None else read(self)
