"""Where variables lie in an arena, and the rules that arenas of a manifest keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Protocol

from stepforge.runtime.manifest import ARENA_KINDS, ITEM_SIZES, Arena, Variable


class Require(Protocol):
    """Raises where `holds` is False, with the rule that is broken."""

    def __call__(self, holds: bool, rule: str) -> None: ...


def members(arena: Arena, table: Mapping[str, Variable]) -> Iterator[tuple[Variable, int]]:
    """Each variable of an arena, and at which element it begins."""
    start = 0
    for name in arena.variables:
        variable = table[name]
        yield variable, start
        start += -(-math.prod(variable.shape) // arena.align) * arena.align


def check_arenas(
    arenas: tuple[Arena, ...], table: Mapping[str, Variable], alignment: int, require: Require
) -> None:
    """Each variable has one place, of its dtype, aligned and inside of its arena."""
    places: dict[tuple[str, str], str] = {}
    for arena in arenas:
        where = f"arena {arena.name!r}"
        require(arena.name.startswith("@") and arena.name.isprintable(), f"{where}: its name")
        require(arena.kind in ARENA_KINDS, f"{where}: kind {arena.kind!r}")
        require(bool(arena.variables), f"{where}: it holds nothing")
        known = arena.dtype in ITEM_SIZES and arena.align >= 1
        require(known, f"{where}: dtype {arena.dtype!r}, aligned to {arena.align} elements")
        bytes_ = arena.align * ITEM_SIZES[arena.dtype]
        require(bytes_ % alignment == 0, f"{where}: {bytes_} bytes are no multiple of {alignment}")
        for name in arena.variables:
            variable = table.get(name)
            fits = variable is not None and variable.storage == "device"
            if fits and arena.kind == "gradient":
                fits = variable is not None and variable.role == "parameter"
            elif fits:
                fits = variable is not None and variable.dtype == arena.dtype
            require(fits, f"{where}: {name!r} is no variable of its kind and dtype")
            other = places.setdefault((arena.kind, name), arena.name)
            require(other == arena.name, f"{where}: {name!r} is in {other!r} too")
        require(len(set(arena.variables)) == len(arena.variables), f"{where}: a name comes twice")
        ends = [start + math.prod(v.shape) for v, start in members(arena, table)]
        require(max(ends) <= arena.size, f"{where}: its variables do not fit {arena.size} elements")
