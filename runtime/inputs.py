"""Gradients, partials and other inputs, in memory that the host writes and all functions share."""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.runtime.arenas import members
from stepforge.runtime.arrays import Array, numpy_dtype
from stepforge.runtime.buffers import Memory, Tensor
from stepforge.runtime.manifest import Argument, Function, Manifest

ROLES = ("gradient", "partials", "input")


class Inputs:
    """Of gradients, an arena may hold many; functions for other batches have other shapes."""

    __slots__ = ("_parts", "_tensors")

    def __init__(self, functions: Sequence[Function], manifest: Manifest, memory: Memory) -> None:
        self._tensors: dict[tuple[str, tuple[int, ...], str], Tensor] = {
            (a.name, a.shape, a.dtype): memory.shared(a.shape, numpy_dtype(a.dtype))
            for function in functions
            for a in function.arguments
            if a.role in ROLES
        }
        table = {v.name: v for v in manifest.variables}
        self._parts: dict[str, dict[str, Tensor]] = {}
        for arena in manifest.arenas:
            whole = self._tensors.get((arena.name, (arena.size,), arena.dtype))
            if whole is not None:
                parts = {v.name: whole.part(start, v.shape) for v, start in members(arena, table)}
                self._parts[arena.name] = parts

    def of(self, argument: Argument) -> Tensor:
        """What a function is given for an argument."""
        return self._tensors[argument.name, argument.shape, argument.dtype]

    def clear(self) -> None:
        """Give the memory back."""
        self._tensors.clear()
        self._parts.clear()

    def arrays(self, function: Function, role: str) -> dict[str, Array]:
        """The memory of a function's arguments of a role; gradients by their parameters' paths, in
        the order of `function.parameters`."""
        found: dict[str, Array] = {}
        for a in function.arguments:
            if a.role == role:
                parts = self._parts.get(a.name, {a.name: self.of(a)})
                found |= {name: host_array(tensor) for name, tensor in parts.items()}
        order = {name: i for i, name in enumerate(function.parameters)}
        return dict(sorted(found.items(), key=lambda item: order.get(item[0], 0)))


def host_array(tensor: Tensor) -> Array:
    """The memory of a tensor that the host sees."""
    assert tensor.array is not None
    return tensor.array
