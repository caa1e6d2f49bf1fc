"""Functions of the manifest as they are after packing: with arenas among arguments and results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from stepforge.passes import Arena
from stepforge.runtime import manifest as to


def packed_arenas(functions: Sequence[to.Function], arenas: Sequence[Arena]) -> list[to.Arena]:
    """What the compiler packed, with the dtypes that the functions' arguments have."""
    dtypes = {_key(a): a.dtype for function in functions for a in function.arguments}
    return [
        to.Arena(
            name=arena.name,
            kind=arena.kind,
            dtype=dtypes[arena.kind, arena.members[0]],
            size=arena.size,
            align=arena.align,
            variables=arena.members,
        )
        for arena in arenas
    ]


def with_arenas(function: to.Function, arenas: Iterable[to.Arena]) -> to.Function:
    """Each arena stands where the first of its variables stood, and so does its new value."""
    place = {(arena.kind, name): arena for arena in arenas for name in arena.variables}
    results: dict[tuple[str, str], to.Result] = {}  # by role and name
    for x in function.results:
        arena = place.get(("state", x.name)) if x.role == "state" else None
        if arena is None:
            results[x.role, x.name] = x
        else:
            results[x.role, arena.name] = to.Result(arena.name, x.role, arena.dtype, (arena.size,))
    index = {key: number for number, key in enumerate(results)}
    arguments: dict[tuple[str, str], to.Argument] = {}
    for x in function.arguments:
        arena = place.get(_key(x))
        name, shape = (x.name, x.shape) if arena is None else (arena.name, (arena.size,))
        result = None if x.result is None else index["state", name]
        packed = to.Argument(name, x.role, x.dtype, shape, x.derive, result)
        # Host variables come once for each derivation.
        arguments.setdefault((name, f"{x.role} {x.derive}"), packed)
    return replace(function, arguments=tuple(arguments.values()), results=tuple(results.values()))


def _key(argument: to.Argument) -> tuple[str, str]:
    return "gradient" if argument.role == "gradient" else "state", argument.name
