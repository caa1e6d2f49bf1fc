"""Which part of each arena a shard keeps, and what lies in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from stepforge.runtime.arenas import members
from stepforge.runtime.errors import InputError
from stepforge.runtime.manifest import Arena, Manifest, Variable


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements `start` to `stop` of a flattened variable, from element `at` of the range on."""

    variable: str
    start: int
    stop: int
    at: int


@dataclass(frozen=True, slots=True)
class ArenaRange:
    """Elements `start` to `stop` of an arena, of which the pieces are in use."""

    arena: str
    start: int
    stop: int
    pieces: tuple[Piece, ...]


def shard_ranges(manifest: Manifest, rank: int) -> tuple[ArenaRange, ...]:
    """What the shard `rank`, from 0 up, keeps of each arena: equally many elements, contiguous.

    A piece has its variable's path; that of an arena of gradients is their parameter's. Variables
    in no arena, such as numbers, are not divided: every shard keeps them. Raises InputError for a
    rank that there is not.
    """
    if not 0 <= rank < manifest.shards:
        raise InputError(
            f"shard_ranges: expected a rank from 0 to {manifest.shards - 1}, got {rank}; the "
            f"artifact was compiled with shards={manifest.shards} (--shards)"
        )
    table = {variable.name: variable for variable in manifest.variables}
    return tuple(_range(arena, table, manifest.shards, rank) for arena in manifest.arenas)


def _range(arena: Arena, table: dict[str, Variable], shards: int, rank: int) -> ArenaRange:
    size = arena.size // shards
    start = rank * size
    return ArenaRange(
        arena.name, start, start + size, tuple(_pieces(arena, table, start, start + size))
    )


def _pieces(arena: Arena, table: dict[str, Variable], start: int, stop: int) -> Iterator[Piece]:
    for variable, first in members(arena, table):
        low, high = max(first, start), min(first + math.prod(variable.shape), stop)
        if low < high:
            yield Piece(variable.name, low - first, high - first, low - start)
