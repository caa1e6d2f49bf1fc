"""JSON values as what they must be; anything else is a SerializeError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from stepforge.frontend.errors import SerializeError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def fields(data: Any, types: Mapping[str, type], what: str) -> dict[str, Any]:
    """`data` as a dictionary of exactly these keys and types, in this order."""
    found = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if not isinstance(data, dict) or set(found) != set(types):
        got = sorted(found) if found else type(cast("object", data)).__name__
        raise SerializeError(f"{what} must have exactly its keys", expected=list(types), got=got)
    for key, type_ in types.items():
        if not isinstance(found[key], type_):
            expected = type_.__name__
            raise SerializeError(f"{what}: {key!r}", expected=expected, got=found[key])
    return {key: found[key] for key in types}


def integer(data: Any) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise SerializeError("wrong value", expected="an integer", got=data)
    return data


def items(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise SerializeError("wrong value", expected="a list", got=data)
    return cast("list[Any]", data)


def row(data: Any, size: int) -> list[Any]:
    """A list of `size` values."""
    found = items(data)
    if len(found) != size:
        raise SerializeError("wrong value", expected=f"a list of {size}", got=found)
    return found


def integers(data: Any) -> tuple[int, ...]:
    return tuple(integer(x) for x in items(data))


def integer_lists(data: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(integers(x) for x in items(data))


def string(data: Any) -> str:
    if not isinstance(data, str):
        raise SerializeError("wrong value", expected="a string", got=data)
    return data
