"""Where the state is: in one set of buffers, or by turns in two.

An artifact that updates by ping-pong reads its state from one set of buffers and writes the new
state into the other; when the call has ended well, the two change roles. Functions write different
variables, so each part of the state that is always written together changes roles by itself:
`parity` has one bit for each such part, which says in which of the sets it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from stepforge.runtime.arrays import Array
from stepforge.runtime.buffers import Memory, Tensor
from stepforge.runtime.manifest import Arena, Function, Variable
from stepforge.runtime.storage import Storage


@final
class BufferSets:
    """All device variables. `parity` says which buffers are the state; 0 with a single set."""

    __slots__ = ("_bits", "_homes", "_sets", "parity")

    def __init__(
        self,
        variables: Mapping[str, Variable],
        arenas: Sequence[Arena],
        memory: Memory,
        beside: Sequence[Function] = (),
    ) -> None:
        """beside: the functions that write new state beside the old; none: one set is enough."""
        first = Storage(variables, arenas, memory)
        self._bits = _bits(beside)
        # What no function writes needs no second buffer.
        kept = {name: t for name, t in first.arguments.items() if name not in self._bits}
        second = Storage(variables, arenas, memory, kept) if self._bits else first
        self._sets = (first, second)
        self._homes = {path: a.name for a in arenas for path in a.variables}
        self.parity = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all device variables, in order."""
        return tuple(self._sets[0].tensors)

    @property
    def doubled(self) -> bool:
        """Whether steps write beside the state."""
        return bool(self._bits)

    @property
    def all_doubled(self) -> bool:
        """Whether all of the state has a second place, also what no step writes."""
        return bool(self._bits) and set(self._bits) == set(self._sets[0].arguments)

    def flips(self, function: Function) -> int:
        """The bits of `parity` that change with a call of a function."""
        mask = 0
        for a in function.arguments:
            if a.result is not None:
                mask |= 1 << self._bits[a.name] if a.name in self._bits else 0
        return mask

    def seen(self, function: Function) -> int:
        """The bits that decide which buffers a function is given."""
        bits = {self._bits[a.name] for a in function.arguments if a.name in self._bits}
        return sum(1 << bit for bit in bits)

    def argument(self, name: str, parity: int) -> Tensor:
        """What a function is given for a variable's path, or the name of an arena."""
        return self._at(name, parity).arguments[name]

    def target(self, name: str, parity: int) -> Tensor:
        """Where a function that is called at `parity` leaves its new value."""
        return self._at(name, ~parity).arguments[name]

    def tensor(self, path: str) -> Tensor:
        """The tensor that a variable is in now."""
        return self._of(path, self.parity).tensors[path]

    def read(self, path: str) -> Array:
        """A copy of one variable; of its arena nothing else is moved."""
        return self._of(path, self.parity).read(path)

    def read_all(self) -> dict[str, Array]:
        """Copies of all variables; each arena comes from the device in one piece."""
        found: dict[str, Array] = {}
        for storage, paths in self._split(self.paths, self.parity):
            found |= storage.read_all(paths)
        return {path: found[path] for path in self.paths}

    def write(self, values: Mapping[str, Array]) -> None:
        """Replace some variables where they are."""
        for storage, paths in self._split(tuple(values), self.parity):
            storage.write_all({path: values[path] for path in paths})

    def write_beside(self, values: Mapping[str, Array]) -> int:
        """Write all variables where they are not, if all are doubled; returns the parity at which
        they are the state."""
        mask = sum(1 << bit for bit in set(self._bits.values()))
        parity = self.parity ^ mask
        for storage, paths in self._split(tuple(values), parity):
            storage.write_all({path: values[path] for path in paths})
        return parity

    def adopt(self, path: str, array: Array) -> None:
        """Let an array of the caller be the memory of a variable, where there is one set."""
        assert not self._bits
        self._sets[0].adopt(path, array)

    def clear(self) -> None:
        """Give the memory back."""
        for storage in self._sets:
            storage.clear()

    def _at(self, name: str, parity: int) -> Storage:
        bit = self._bits.get(name)
        return self._sets[0 if bit is None else parity >> bit & 1]

    def _of(self, path: str, parity: int) -> Storage:
        return self._at(self._homes.get(path, path), parity)

    def _split(self, paths: Sequence[str], parity: int) -> list[tuple[Storage, list[str]]]:
        """The paths, by the set that they are in."""
        parts: tuple[list[str], list[str]] = ([], [])
        for path in paths:
            parts[self._of(path, parity) is not self._sets[0]].append(path)
        return [(s, p) for s, p in zip(self._sets, parts, strict=True) if p]


def _bits(functions: Sequence[Function]) -> dict[str, int]:
    """Argument -> bit; those that the same functions write share one."""
    writers: dict[str, list[str]] = {}
    for function in functions:
        for a in function.arguments:
            if a.result is not None:
                writers.setdefault(a.name, []).append(function.name)
    parts: dict[tuple[str, ...], int] = {}
    return {name: parts.setdefault(tuple(w), len(parts)) for name, w in writers.items()}
