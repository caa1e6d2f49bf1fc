"""The table of a manifest's variables, and what refers to it by index, expanded within bounds.

Runs are checked against the table before they are expanded, so the memory used stays in proportion
to the limits below, whatever the file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from stepforge.runtime.json_reader import Reader
from stepforge.runtime.manifest import (
    ARGUMENT_ROLES,
    DERIVATIONS,
    ITEM_SIZES,
    RESULT_ROLES,
    STORAGES,
    VARIABLE_ROLES,
    Argument,
    Initializer,
    Result,
    Variable,
)

MAX_VARIABLES = 50_000
MAX_EXPANDED = 400_000
"""Arguments, results and parameter lists of all functions and groups together, and variables."""
EXPANDED_ALWAYS, EXPANDED_PER_BYTE = 4_096, 8
"""So much, and so much more for each byte of text. Real ones stay under 1, since names are text."""
VARIABLES_SHARE = 4
"""Of that, a quarter may be variables, which take longest to read."""
MAX_RUNS = 20_000
MAX_RANK = 16

DTYPES = tuple(ITEM_SIZES)


def shape(item: Reader) -> tuple[int, ...]:
    return item.each(MAX_RANK, Reader.integer)


def _run(item: Reader, size: int) -> range:
    """[first, stride, count] as indices into a table of `size` entries."""
    # Not through readers of its three numbers: a hostile file has many runs.
    value = item.value
    if type(value) is not list or [type(n) for n in cast(list[Any], value)] != [int] * 3:
        item.fail("[first, stride, count]")
    first, stride, count = cast(list[int], value)
    if min(first, stride - 1, count - 1) < 0 or first + stride * (count - 1) >= size:
        item.fail(f"[first, stride, count] within a table of {size} entries")
    return range(first, first + stride * count, stride)


def budget_of(size: int) -> int:
    """What a manifest of so many bytes may be expanded to."""
    return min(MAX_EXPANDED, EXPANDED_ALWAYS + EXPANDED_PER_BYTE * size)


def read_variables(
    item: Reader, initializers: tuple[Initializer, ...], budget: int
) -> tuple[Variable, ...]:
    """Expand the blocks, to as many variables as the budget has. A slot refers to its parameter by
    index, which comes before it."""
    most = min(MAX_VARIABLES, budget // VARIABLES_SHARE)
    found: list[Variable] = []
    for block in item.items(MAX_VARIABLES):
        keys = ("dtype", "initializer", "role", "slot", "storage", "trainable")
        by_rule = block.has("of")
        row = block.fields(*keys, *(("of", "prefix", "suffix") if by_rule else ("rows",)))
        head = _head(row, initializers)
        limit = most - len(found)
        if by_rule:
            found.extend(_by_rule(row, head, found, limit))
        else:
            found.extend([_by_row(r, head, found) for r in row["rows"].items(limit)])
    return tuple(found)


def _head(row: dict[str, Reader], initializers: tuple[Initializer, ...]) -> Variable:
    """What the variables of a block have in common."""
    initializer = row["initializer"].integer(0, len(initializers) - 1)
    return Variable(
        name="",
        role=row["role"].one_of(VARIABLE_ROLES),
        dtype=row["dtype"].one_of(DTYPES),
        storage=row["storage"].one_of(STORAGES),
        initializer=initializers[initializer],
        slot=row["slot"].optional(Reader.text),
        trainable=row["trainable"].boolean(),
    )


def _by_rule(
    row: dict[str, Reader], head: Variable, found: list[Variable], limit: int
) -> list[Variable]:
    prefix, suffix = row["prefix"].text(), row["suffix"].text()
    owners: list[Variable] = []
    for run in row["of"].items(MAX_RUNS):
        owners.extend(found[i] for i in _run(run, len(found)))
        if len(owners) > limit:
            run.fail(f"at most {limit} more variables in a manifest of this size")
    return [_like(head, prefix + o.name + suffix, o.shape, o.group, o.name) for o in owners]


def _by_row(item: Reader, head: Variable, found: list[Variable]) -> Variable:
    cells = item.items(4)
    if len(cells) < 3:
        item.fail("[name, shape, group] or [name, shape, group, owner]")
    owner = found[cells[3].integer(0, len(found) - 1)].name if len(cells) == 4 else None
    group = cells[2].optional(Reader.integer)
    return _like(head, cells[0].text(), shape(cells[1]), group, owner)


def _like(
    head: Variable, name: str, shape: tuple[int, ...], group: int | None, of: str | None
) -> Variable:
    """Spelled out: `dataclasses.replace` takes five times as long."""
    return Variable(
        name=name,
        role=head.role,
        dtype=head.dtype,
        shape=shape,
        storage=head.storage,
        initializer=head.initializer,
        slot=head.slot,
        of=of,
        group=group,
        trainable=head.trainable,
    )


@dataclass(slots=True)
class Tables:
    """Expands what refers to the variable table, within one budget for the whole manifest."""

    variables: tuple[Variable, ...]
    budget: int
    """What is left of it."""

    def indices(self, item: Reader) -> list[Variable]:
        """The variables of a list of runs, which has none of them twice."""
        found: list[Variable] = []
        for row in item.items(MAX_RUNS):
            run = _run(row, len(self.variables))
            self.spend(len(run), row)
            if len(found) + len(run) > len(self.variables):
                row.fail("each variable once in a list of them")
            found.extend(self.variables[i] for i in run)
        return found

    def spend(self, count: int, where: Reader) -> None:
        self.budget -= count
        if self.budget < 0:
            where.fail(
                f"at most {MAX_EXPANDED} arguments, results and list entries in all, and in a "
                f"small manifest {EXPANDED_PER_BYTE} for each byte"
            )

    def names(self, item: Reader) -> tuple[str, ...]:
        return tuple(v.name for v in self.indices(item))

    def arguments(self, item: Reader) -> list[Argument]:
        row, entries = self.entries(item, "derive", "result", "role")
        role = row["role"].one_of(ARGUMENT_ROLES)
        derive = row["derive"].one_of(DERIVATIONS)
        result = row["result"].optional(Reader.integer)
        return [
            Argument(name, role, dtype, shape, derive, None if result is None else result + i)
            for i, (name, dtype, shape) in enumerate(entries)
        ]

    def results(self, item: Reader) -> list[Result]:
        row, entries = self.entries(item, "role")
        role = row["role"].one_of(RESULT_ROLES)
        return [Result(name, role, dtype, shape) for name, dtype, shape in entries]

    def entries(
        self, item: Reader, *keys: str
    ) -> tuple[dict[str, Reader], list[tuple[str, str, tuple[int, ...]]]]:
        """The (name, dtype, shape) of a block: by reference to variables, or written out."""
        if item.has("of"):
            row = item.fields(*keys, "of")
            return row, [(v.name, v.dtype, v.shape) for v in self.indices(row["of"])]
        self.spend(1, item)
        row = item.fields(*keys, "dtype", "name", "shape")
        return row, [(row["name"].text(), row["dtype"].one_of(DTYPES), shape(row["shape"]))]
