"""Artifacts of any length: the pattern that their manifest is, and what it is for some parameters.

The one parameter of a pattern, `/*`, stands for any number of them, and a slot such as
`/AdamOptimizer/*_1st_moment` for those of each. An arena of a pattern holds one of these variables,
or the gradients; its `size` is the most elements that one call takes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from stepforge.runtime.errors import InputError
from stepforge.runtime.manifest import (
    ITEM_SIZES,
    Arena,
    Argument,
    Function,
    Manifest,
    Result,
    Variable,
)
from stepforge.runtime.rules import require

ANY = "*"
PATTERN = f"/{ANY}"
MAX_ALIGN_BYTES = 4_096
Shapes = Mapping[str, tuple[int, ...]]


def check_pattern(manifest: Manifest) -> None:
    """What must hold of a manifest of any length, beside the rules for all."""
    where = "length 'any'"
    require(manifest.length == "any", "", "length {!r} is not 'any'", manifest.length)
    device = [v for v in manifest.variables if v.storage == "device"]
    parameters = [v.name for v in device if v.role == "parameter"]
    require(parameters == [PATTERN], where, "the one parameter is called {!r}", PATTERN)
    for v in device:
        fits = v.shape == (0,) and (v.name == PATTERN or v.of == PATTERN)
        require(fits, where, "{!r} is no parameter or slot of the shape (0,)", v.name)
        require(v.name.count(ANY) == 1, where, "{!r} has no single {!r}", v.name, ANY)
    aligns = {arena.align for arena in manifest.arenas}
    most = max(ITEM_SIZES[arena.dtype] for arena in manifest.arenas) if manifest.arenas else 0
    fits = len(aligns) == 1 and max(aligns) * most <= MAX_ALIGN_BYTES
    require(fits, where, "arenas are aligned alike, to {} bytes at most", MAX_ALIGN_BYTES)
    held = {arena.name: arena for arena in manifest.arenas}
    for arena in manifest.arenas:
        require(len(arena.variables) == 1, where, "{!r} holds several variables", arena.name)
    for f in manifest.functions:
        tensors = [a for a in f.arguments if a.name in held]
        rest = [a.role for a in f.arguments if a.name not in held and a.role != "scalars"]
        fits = bool(tensors) and set(rest) <= {"hyperparameter", "counter"}
        fits = fits and all(r.role == "state" for r in f.results)
        require(fits, where, "{!r} takes or gives tensors that are no arenas", f.name)
        require(f.parameters == (PATTERN,), where, "{!r} updates {!r}", f.name, PATTERN)
    for group in manifest.groups:
        require(group.variables is None, where, "a group of some parameters")
    require(manifest.shards == 1, where, "any range is a shard")
    require(not manifest.nan_tracing, where, "non-finite values are not counted")


def shapes_of(manifest: Manifest) -> Shapes:
    """The parameters of a manifest, by path."""
    return {v.name: v.shape for v in manifest.variables if v.role == "parameter"}


def define(pattern: Manifest, shapes: Shapes) -> Manifest:
    """What a pattern is for parameters of these paths and shapes: an ordinary manifest, but that
    its functions may be called several times for a step. Raises InputError for a name that is
    taken, or no name.
    """
    _check_names(pattern, shapes)
    batches = list(_batches(shapes, pattern.arenas))
    arenas = {
        arena.name: [_arena(arena, i, names, shapes) for i, names in enumerate(batches)]
        for arena in pattern.arenas
    }
    variables: list[Variable] = []
    for v in pattern.variables:
        variables.extend(_each(v, shapes) if v.storage == "device" else [v])
    twice = [name for name, count in Counter(v.name for v in variables).items() if count > 1]
    if twice:
        raise InputError(f"parameters and their slots have names of their own: {twice[0]!r} is two")
    return replace(
        pattern,
        functions=tuple(_function(f, arenas, len(batches), shapes) for f in pattern.functions),
        variables=tuple(variables),
        arenas=tuple(arena for found in arenas.values() for arena in found),
        length=None,
    )


def _each(v: Variable, shapes: Shapes) -> Iterator[Variable]:
    for path, shape in shapes.items():
        of = None if v.of is None else path
        yield replace(v, name=_named(v.name, path), shape=shape, of=of)


def _named(pattern: str, path: str) -> str:
    return pattern.replace(ANY, path[1:])


def _batches(shapes: Shapes, arenas: Sequence[Arena]) -> Iterator[list[str]]:
    """The parameters in order, in lists that fit into one call; one alone may be larger."""
    align = arenas[0].align
    most = min(arena.size for arena in arenas)
    batch, filled = list[str](), 0
    for path, shape in shapes.items():
        size = _rounded_up(math.prod(shape), align)
        if batch and filled + size > most:
            yield batch
            batch, filled = [], 0
        batch.append(path)
        filled += size
    if batch:
        yield batch


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _arena(arena: Arena, index: int, names: Sequence[str], shapes: Shapes) -> Arena:
    # Whole vectors to the end, so that every element is computed in the same way.
    size = sum(_rounded_up(math.prod(shapes[name]), arena.align) for name in names)
    (of,) = arena.variables
    held = tuple(_named(of, name) for name in names)
    return replace(arena, name=f"{arena.name}.{index}", size=size, variables=held)


def _function(
    f: Function, arenas: Mapping[str, Sequence[Arena]], calls: int, shapes: Shapes
) -> Function:
    """The arguments of all calls one after the other, and the host's numbers once."""
    hosts = tuple(a for a in f.arguments if a.name not in arenas and a.role != "scalars")
    tensors = [a for a in f.arguments if a not in hosts]
    arguments: list[Argument] = []
    results: list[Result] = []
    for call in range(calls):
        first = len(results)
        for a in tensors:
            found = arenas[a.name][call] if a.name in arenas else None
            result = None if a.result is None else a.result + first
            made = a if found is None else replace(a, name=found.name, shape=(found.size,))
            arguments.append(replace(made, result=result))
        for r in f.results:
            found = arenas[r.name][call]
            results.append(replace(r, name=found.name, shape=(found.size,)))
    return replace(
        f,
        arguments=(*arguments, *hosts),
        results=tuple(results),
        parameters=tuple(shapes),
        calls=calls,
    )


def _check_names(pattern: Manifest, shapes: Shapes) -> None:
    """Names as a fixed artifact takes them: none of the optimizer's own."""
    own = [v.name for v in pattern.variables if v.role != "parameter"]
    scopes = {name[: name.rindex("/") + 1] for name in own} - {"/"}
    for path, shape in shapes.items():
        name = path[1:]
        if not name or not path.isprintable() or name.endswith("/"):
            raise InputError(
                f"parameter {name!r}: expected a printable name that does not end with a slash"
            )
        if path in own or path.startswith(tuple(scopes)):
            raise InputError(
                f"parameter {name!r}: the name is reserved; expected none of "
                f"{', '.join(sorted(scopes))} and of {', '.join(x for x in own if ANY not in x)}"
            )
        if math.prod(shape) < 1:
            raise InputError(f"parameter {name!r}: expected elements, got shape {shape}")
