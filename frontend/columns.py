"""One property of many things, as short JSON: runs of equal values, of indices, and of names.

repeats       [[value, count], ...]
progressions  [[first, stride, count], ...]        first, first + stride, ...
names         ["text", [null, count], [prefix, suffix, first, stride, count], ...]

The last kind of entry says `prefix + name + suffix` for names of a table, by their indices there.
What is read is counted before it is expanded, so memory follows `Budget`, whatever a text says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from stepforge.frontend.errors import SerializeError
from stepforge.frontend.json_values import Json, integer, items, row, string

MAX_VALUES = 4_000_000
"""Nodes, arguments, variables and the like that one text may stand for, together."""

VALUES_ALWAYS, VALUES_PER_BYTE = 4_096, 16
"""So many, and so many more for each byte of a text. Real programs stay under 8, since names are
text."""

MAX_NAME = 1_024
"""Characters of a name that is made of another; longer ones are written out."""

_NAME_UNIT = 64  # characters that count as one value

T = TypeVar("T")


@dataclass(slots=True)
class Budget:
    """How many values may still be expanded."""

    left: int = MAX_VALUES

    @staticmethod
    def of(text: str | bytes) -> Budget:
        """What a text of this length may stand for."""
        return Budget(min(MAX_VALUES, VALUES_ALWAYS + VALUES_PER_BYTE * len(text)))

    def spend(self, count: int) -> None:
        """Raises SerializeError when that is too many."""
        self.left -= count
        if self.left < 0:
            raise SerializeError(
                "the text stands for too much",
                expected=f"at most {MAX_VALUES} values in all, and {VALUES_PER_BYTE} for each byte",
            )


def repeats(values: Iterable[Json]) -> list[Json]:
    found: list[tuple[Json, str, int]] = []
    for value in values:
        if found and value is found[-1][0]:
            found[-1] = (value, found[-1][1], found[-1][2] + 1)
            continue
        text = json.dumps(value)  # 1, 1.0 and true are equal, but not the same
        if found and found[-1][1] == text:
            found[-1] = (value, text, found[-1][2] + 1)
        else:
            found.append((value, text, 1))
    return [[value, count] for value, _, count in found]


def read_repeats(data: Any, read: Callable[[Any], T], budget: Budget) -> list[T]:
    found: list[T] = []
    for entry in items(data):
        value, count = row(entry, 2)
        budget.spend(_count(count))
        found.extend([read(value)] * count)
    return found


def progressions(values: Sequence[int]) -> list[Json]:
    """Cut greedily: each entry is as long as it can be."""
    found: list[Json] = []
    start = 0
    while start < len(values):
        end, stride = _progression(values, start)
        found.append([values[start], stride, end - start])
        start = end
    return found


def _progression(values: Sequence[int], start: int) -> tuple[int, int]:
    """Where the progression that begins at `start` ends, and its stride."""
    end = start + 1
    if end == len(values):
        return end, 0
    stride = values[end] - values[start]
    while end < len(values) and values[end] - values[end - 1] == stride:
        end += 1
    return end, stride


def read_progressions(data: Any, budget: Budget) -> list[int]:
    found: list[int] = []
    for entry in items(data):
        found.extend(_read_progression(row(entry, 3), budget))
    return found


def _read_progression(entry: Sequence[Any], budget: Budget) -> list[int]:
    first, stride, count = (integer(x) for x in entry)
    budget.spend(_count(count))
    return [first + i * stride for i in range(count)]


def _count(data: Any) -> int:
    count = integer(data)
    if count < 1:
        raise SerializeError("wrong value", expected="a count of at least 1", got=count)
    return count


def table_of(names: Iterable[str]) -> dict[str, int]:
    """The index of each name, for `names_to_data`; of equal names the first one's."""
    index: dict[str, int] = {}
    for i, name in enumerate(names):
        index.setdefault(name, i)
    return index


def names_to_data(
    names: Sequence[str | None],
    table: Mapping[str, int],
    owners: Sequence[str | None] | None = None,
    *,
    within: bool = False,
) -> list[Json]:
    """owners: the name of the table that each may be made of, by default itself.

    within: the names are the table, so an entry refers only to what comes before it.
    """
    found: list[Json] = []
    parts = [_parts(x, y, table) for x, y in zip(names, owners or names, strict=True)]
    start = 0
    while start < len(names):
        name, part = names[start], parts[start]
        end = start + 1
        if name is None:
            while end < len(names) and names[end] is None:
                end += 1
            found.append([None, end - start])
        elif part is None or (within and part[2] >= start):
            found.append(name)
        else:
            end, stride = _alike(parts, start, start if within else len(table))
            found.append([*part, stride, end - start])
        start = end
    return found


_Parts = tuple[str, str, int] | None


def _parts(name: str | None, owner: str | None, table: Mapping[str, int]) -> _Parts:
    """(prefix, suffix, index of the owner), if it is a part of the name."""
    index = None if owner is None else table.get(owner)
    if name is None or owner is None or index is None or len(name) > MAX_NAME:
        return None
    position = name.rfind(owner)
    if position < 0:
        return None
    return name[:position], name[position + len(owner) :], index


def _alike(parts: Sequence[_Parts], start: int, below: int) -> tuple[int, int]:
    """Where the run of equal parts of names ends that begins at `start`, and its stride."""
    first, last, stride = parts[start], parts[start], 0
    end = start + 1
    while end < len(parts):
        part = parts[end]
        if part is None or first is None or last is None or part[:2] != first[:2]:
            break
        step = part[2] - last[2]
        if part[2] >= below or (end > start + 1 and step != stride):
            break
        last, stride, end = part, step, end + 1
    return end, stride


def read_names(data: Any, table: Sequence[str] | None, budget: Budget) -> list[str | None]:
    """table: the names that entries refer to; None for those read so far."""
    found: list[str | None] = []
    for entry in items(data):
        if isinstance(entry, str):
            budget.spend(1)
            found.append(entry)
        elif len(items(entry)) == 2 and entry[0] is None:
            budget.spend(_count(entry[1]))
            found.extend([None] * entry[1])
        else:
            found.extend(_made_names(entry, found if table is None else table, budget))
    return found


def _made_names(entry: Any, table: Sequence[str | None], budget: Budget) -> list[str]:
    prefix, suffix, *indices = row(entry, 5)
    added = len(string(prefix)) + len(string(suffix))
    names: list[str] = []
    for index in _read_progression(indices, budget):
        base = table[index] if 0 <= index < len(table) else None
        if base is None or len(base) + added > MAX_NAME:
            raise SerializeError(
                "a name is made of one in the table",
                expected=f"an index below {len(table)}, and at most {MAX_NAME} characters",
                got=entry,
            )
        budget.spend((len(base) + added) // _NAME_UNIT)
        names.append(f"{prefix}{base}{suffix}")
    return names
