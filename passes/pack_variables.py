"""pack-variables: isomorphic updates of many variables become one update of flat arenas.

IREE runs one dispatch a loop, and compiles each. A model has hundreds of variables; the updates of
those with equal hyperparameters differ in nothing but their shapes, which an element-wise update
does not ask for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from stepforge.passes import arenas, bindings, isomorphism, packing
from stepforge.passes.arenas import Arena
from stepforge.passes.arguments import MEMBERS, NAME, RESULT, SHARDS
from stepforge.passes.bindings import Attributes, func, ir
from stepforge.passes.errors import PassError
from stepforge.passes.isomorphism import Update
from stepforge.passes.packing import ArenaKey, Group
from stepforge.passes.pass_base import Pass
from stepforge.passes.targets.target import Backend

#: The most bytes of one binding that every device of the backend takes (maxStorageBufferRange).
MAX_BYTES: Mapping[str, int] = {"vulkan": 2**27, "metal": 2**28}
_UNLIMITED = 2**62

Key: TypeAlias = tuple[arenas.Kind, str]
"""A variable's state, or the gradient of one."""


def find_groups(
    function: func.FuncOp, attributes: Sequence[Attributes], most_bytes: int, shards: int
) -> list[Group]:
    """Two updates or more in each, or any for several shards; an arena of a group has no more than
    `most_bytes`."""
    equal = dict[Hashable, list[Update]]()
    for update in isomorphism.find_updates(function, attributes):
        equal.setdefault(update.signature, []).append(update)
    parts = [part for updates in equal.values() for part in _parts(updates, most_bytes, shards)]
    return [Group(tuple(part), shards) for part in parts if len(part) > 1 or shards > 1]


def _parts(updates: Sequence[Update], most_bytes: int, shards: int) -> Iterator[list[Update]]:
    """The updates in order, in lists that fit."""
    width = max(packing.width(column) for column in updates[0].columns)
    align = packing.alignment(updates[0])
    part, filled = list[Update](), 0
    for update in updates:
        size = update.size
        if part and arenas.length([filled, size], align, shards) * width > most_bytes:
            yield part
            part, filled = [], 0
        part.append(update)
        filled = arenas.filled([filled, size], align)
    yield part


def agreed(
    found: Mapping[str, Sequence[Group]], attributes: Mapping[str, Sequence[Attributes]]
) -> set[ArenaKey]:
    """The arenas, by their keys, that every function that uses one of their members has too.

    One that does not update takes gradients in any arena, of which it has all members.
    """
    keys = {name: [x for group in groups for x in group.keys] for name, groups in found.items()}
    read = {name: _read_alone(given) for name, given in attributes.items()}
    claims = dict[Key, dict[str, ArenaKey | None]]()
    for name, given in attributes.items():
        for attrs in given:
            if NAME in attrs:
                key = arenas.kind_of(attrs), str(bindings.text(attrs[NAME]))
                claims.setdefault(key, {})[name] = None
        for arena in keys[name]:
            for member in arena[1]:
                claims[arena[0], member][name] = arena
    return {
        arena
        for claimed in keys.values()
        for arena in claimed
        if all(
            other is arena or other == arena or (other is None and _takes(read[name], arena))
            for member in arena[1]
            for name, other in claims[arena[0], member].items()
        )
    }


def _read_alone(attributes: Sequence[Attributes]) -> set[str]:
    """The gradients of a function without updates, of which these are the arguments'."""
    if any(RESULT in attrs for attrs in attributes):
        return set()
    return {
        str(bindings.text(attrs[NAME]))
        for attrs in attributes
        if NAME in attrs and arenas.kind_of(attrs) == "gradient"
    }


def _takes(gradients: set[str], arena: ArenaKey) -> bool:
    kind, members = arena
    return kind == "gradient" and gradients.issuperset(members)


@dataclass(frozen=True, slots=True)
class PackVariables(Pass):
    """Groups of equal updates become one loop over arenas, which are arguments and results.

    A module for shards has arenas that divide into equal ranges, also of one variable alone.

    What is left: a variable without its like, an update that reads what is no argument of the
    function or that something else reads, and one whose arenas another function needs otherwise.

    separate: pack nothing. backend: what the module is for.
    """

    name: ClassVar[str] = "pack-variables"

    separate: bool = False
    backend: Backend | None = None

    def run(self, module: ir.Module) -> None:
        if self.separate:
            return
        functions = {f.name.value: f for f in bindings.functions(module)}
        attributes = {name: bindings.argument_attributes(f) for name, f in functions.items()}
        most = MAX_BYTES.get(str(self.backend), _UNLIMITED)
        shards = bindings.integer(bindings.attributes(module.operation).get(SHARDS)) or 1
        found = {
            name: find_groups(f, attributes[name], most, shards) for name, f in functions.items()
        }
        while True:
            keys = agreed(found, attributes)
            kept = {
                name: [group for group in groups if all(key in keys for key in group.keys)]
                for name, groups in found.items()
            }
            if kept == found:
                break
            found = kept
        names = dict[ArenaKey, Arena]()
        for name, function in functions.items():
            if found[name]:
                packing.pack(function, attributes[name], found[name], names)
        for name, function in functions.items():
            read = _read_alone(attributes[name])
            taken = [arena for key, arena in names.items() if _takes(read, key)]
            if taken:
                packing.view(function, attributes[name], taken)

    def check(self, module: ir.Module) -> None:
        packed = [x for a in arenas.of_module(module) if a.kind == "state" for x in a.members]
        for function in bindings.functions(module):
            members = dict[str, None]()
            for attrs in bindings.argument_attributes(function):
                if MEMBERS not in attrs and NAME in attrs and arenas.kind_of(attrs) == "state":
                    members.setdefault(str(bindings.text(attrs[NAME])))
            twice = [name for name in packed if name in members]
            if twice or len(packed) != len(dict.fromkeys(packed)):
                raise PassError(f"{', '.join(twice) or 'a variable'} has two places")
