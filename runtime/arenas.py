"""Where variables lie in an arena, and the rules that arenas of a manifest keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from stepforge.runtime.manifest import (
    ARENA_KINDS,
    ITEM_SIZES,
    Arena,
    Argument,
    Function,
    Manifest,
    Variable,
)
from stepforge.runtime.rules import require, require_once


def logical_arguments(function: Function, manifest: Manifest) -> tuple[Argument, ...]:
    """A function's arguments with the variables, or gradients, in place of their arenas."""
    arenas = {arena.name: arena for arena in manifest.arenas}
    table = {variable.name: variable for variable in manifest.variables}
    found: list[Argument] = []
    for a in function.arguments:
        if a.name in arenas:
            parts = members(arenas[a.name], table)
            found.extend(replace(a, name=v.name, shape=v.shape) for v, _ in parts)
        else:
            found.append(a)
    return tuple(found)


def members(arena: Arena, table: Mapping[str, Variable]) -> Iterator[tuple[Variable, int]]:
    """Each variable of an arena, and at which element it begins."""
    start = 0
    for name in arena.variables:
        variable = table[name]
        yield variable, start
        start += -(-math.prod(variable.shape) // arena.align) * arena.align


def check_arenas(arenas: tuple[Arena, ...], table: Mapping[str, Variable], alignment: int) -> None:
    """Each variable has one place, of its dtype, aligned and inside of its arena."""
    places: dict[tuple[str, str], str] = {}
    for arena in arenas:
        where = f"arena {arena.name!r}"
        require(arena.name.startswith("@") and arena.name.isprintable(), where, "its name")
        require(arena.kind in ARENA_KINDS, where, "kind {!r}", arena.kind)
        require(bool(arena.variables), where, "it holds nothing")
        known = arena.dtype in ITEM_SIZES and arena.align >= 1
        require(known, where, "dtype {!r}, aligned to {} elements", arena.dtype, arena.align)
        bytes_ = arena.align * ITEM_SIZES[arena.dtype]
        require(bytes_ % alignment == 0, where, "{} bytes are no multiple of {}", bytes_, alignment)
        for name in arena.variables:
            variable = table.get(name)
            fits = variable is not None and variable.storage == "device"
            if fits and arena.kind == "gradient":
                fits = variable is not None and variable.role == "parameter"
            elif fits:
                fits = variable is not None and variable.dtype == arena.dtype
            require(fits, where, "{!r} is no variable of its kind and dtype", name)
            other = places.setdefault((arena.kind, name), arena.name)
            require(other == arena.name, where, "{!r} is in {!r} too", name, other)
        require_once(arena.variables, where, "a name")
        ends = [start + math.prod(v.shape) for v, start in members(arena, table)]
        require(max(ends) <= arena.size, where, "its variables do not fit {} elements", arena.size)
