"""Arenas: one flat tensor in place of the tensors of many variables, and where each lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stepforge.passes import bindings
from stepforge.passes.arguments import MEMBERS, NAME, ROLE
from stepforge.passes.bindings import Attributes, func, ir

Kind = Literal["state", "gradient"]
Layout = Literal["packed", "separate"]
"""Variables in arenas where they can be, or each in a tensor of its own."""

#: Each variable begins at a multiple of this, so that it can be seen as a tensor of its own.
ALIGNED_BYTES = 64
#: From here on the length is a multiple of a tile, so that no loop needs a remainder.
_TILE, _TILED = 4_096, 65_536


@dataclass(frozen=True, slots=True)
class Arena:
    """The variables `members`, one after the other; a gradient is named as its parameter.

    Arenas that are updated together have their variables at equal element offsets.
    """

    name: str
    kind: Kind
    members: tuple[str, ...]
    align: int
    """Every member begins at a multiple of so many elements."""
    size: int
    """In elements, with what is between the members and behind the last."""


def offsets(sizes: Sequence[int], align: int) -> Iterator[int]:
    """Where each member begins, in elements."""
    start = 0
    for size in sizes:
        yield start
        start += _rounded_up(size, align)


def filled(sizes: Sequence[int], align: int) -> int:
    """Elements up to where a further member would begin."""
    return sum(_rounded_up(size, align) for size in sizes)


def length(sizes: Sequence[int], align: int, shards: int = 1) -> int:
    """Elements of the whole arena, the gaps and the end included.

    It divides into so many `shards` of equal length, each of whole units of alignment, or tiles.
    """
    total = filled(sizes, align)
    unit = _TILE if total > _TILED else align
    return shards * _rounded_up(-(-total // shards), unit)


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def attributes(arena: Arena, role: str) -> Attributes:
    """What an argument says that is an arena."""
    members = ir.ArrayAttr.get([ir.StringAttr.get(name) for name in arena.members])
    align, size = bindings.index_attribute(arena.align), bindings.index_attribute(arena.size)
    return {
        NAME: ir.StringAttr.get(arena.name),
        ROLE: ir.StringAttr.get(role),
        MEMBERS: ir.DictAttr.get({"names": members, "align": align, "size": size}),
    }


def kind_of(attrs: Attributes) -> Kind:
    return "gradient" if bindings.text(attrs.get(ROLE)) == "gradient" else "state"


def of_module(module: ir.Module) -> tuple[Arena, ...]:
    """The arenas of a module between pack-variables and wrap-entry-points, each once."""
    found = dict[str, Arena]()
    for function in bindings.functions(module):
        for arena in _of_function(function):
            found.setdefault(arena.name, arena)
    return tuple(found.values())


def _of_function(function: func.FuncOp) -> Iterator[Arena]:
    for attrs in bindings.argument_attributes(function):
        if MEMBERS in attrs:
            held = ir.DictAttr(attrs[MEMBERS])
            names = tuple(ir.StringAttr(x).value for x in ir.ArrayAttr(held["names"]))
            align, size = (ir.IntegerAttr(held[key]).value for key in ("align", "size"))
            yield Arena(ir.StringAttr(attrs[NAME]).value, kind_of(attrs), names, align, size)
