"""The device's memory for variables: a tensor for each, or a part of an arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from stepforge.runtime.arenas import members
from stepforge.runtime.arrays import Array, numpy_dtype
from stepforge.runtime.buffers import Memory, Tensor
from stepforge.runtime.manifest import Arena, Variable


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """An arena and its parts, by the paths of the variables."""

    whole: Tensor
    parts: dict[str, Tensor]


class Storage:
    """`arguments`: what functions are given, by the path of a variable or the name of an arena;
    `tensors`: every variable, by its path."""

    __slots__ = ("_blocks", "_memory", "arguments", "tensors")

    def __init__(
        self,
        variables: Mapping[str, Variable],
        arenas: Sequence[Arena],
        memory: Memory,
        shared: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """shared: arguments whose memory is there already, by name."""
        self._memory = memory
        self._blocks: list[_Block] = []
        self.arguments: dict[str, Tensor] = {}
        packed: dict[str, Tensor] = {}
        for arena in arenas:
            whole = shared.get(arena.name)
            if whole is None:
                whole = memory.state((arena.size,), numpy_dtype(arena.dtype))
            parts = {v.name: whole.part(start, v.shape) for v, start in members(arena, variables)}
            self.arguments[arena.name] = whole
            self._blocks.append(_Block(whole, parts))
            packed |= parts
        self.tensors: dict[str, Tensor] = {}
        for variable in variables.values():
            if variable.storage != "device":
                continue
            tensor = packed.get(variable.name)
            if tensor is None:
                tensor = shared.get(variable.name)
                if tensor is None:
                    tensor = memory.state(variable.shape, numpy_dtype(variable.dtype))
                self.arguments[variable.name] = tensor
            self.tensors[variable.name] = tensor

    def read(self, path: str) -> Array:
        """A copy of one variable; of its arena nothing else is moved."""
        return self._memory.read(self.tensors[path])

    def read_all(self, paths: Sequence[str]) -> dict[str, Array]:
        """Copies of variables, of each arena all or none: it comes from the device in one piece."""
        found: dict[str, Array] = {}
        wanted = frozenset(paths)
        for block in self._blocks:
            if block.whole.array is None and wanted.issuperset(block.parts):
                flat = self._memory.read(block.whole)
                found |= {path: part.within(flat).copy() for path, part in block.parts.items()}
        return {
            path: found[path] if path in found else self._memory.read(self.tensors[path])
            for path in paths
        }

    def write(self, path: str, value: Array) -> None:
        """Replace one variable."""
        self._memory.write(self.tensors[path], value)

    def write_all(self, values: Mapping[str, Array]) -> None:
        """Replace the variables that `values` has; an arena of which it has all goes in one piece,
        with zeros between them."""
        done: dict[str, None] = {}
        for block in self._blocks:
            if all(path in values for path in block.parts):
                flat = np.zeros(block.whole.shape, block.whole.dtype)
                for path, part in block.parts.items():
                    part.within(flat)[...] = values[path]
                self._memory.write(block.whole, flat)
                done |= dict.fromkeys(block.parts)
        for path, value in values.items():
            if path not in done:
                self.write(path, value)

    def adopt(self, path: str, array: Array) -> None:
        """Let an array of the caller be the memory of a variable that is in no arena."""
        self.arguments[path] = self.tensors[path] = self._memory.adopt(array)

    def clear(self) -> None:
        """Give the memory back."""
        for table in (self._blocks, self.arguments, self.tensors):
            table.clear()
