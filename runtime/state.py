"""The values of all variables: tensors on the device, numbers on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepforge.runtime.arrays import Array, checked, numpy_dtype
from stepforge.runtime.bounds import bounds_of, check_bounds
from stepforge.runtime.buffer_sets import BufferSets
from stepforge.runtime.buffers import Memory
from stepforge.runtime.errors import InputError
from stepforge.runtime.initializers import first_value
from stepforge.runtime.manifest import Manifest, Scalar, Variable
from stepforge.runtime.names import listed, nearest

After = tuple[Mapping[str, Scalar] | Sequence[tuple[str, Scalar]], int]
"""What is the state when a call has succeeded: numbers of the host, and the parity of buffers."""

INT64 = range(-(2**63), 2**63)


def host_dtype(variable: Variable) -> np.dtype[Any]:
    """How a host variable is kept and saved: a float as float64, so that a setting is exact."""
    name = variable.dtype
    return numpy_dtype("float64" if name.startswith("float") else name)


class State:
    """Storage without rules about when it may be used; those are the step's."""

    __slots__ = ("_bounds", "numbers", "storage", "variables")

    def __init__(self, manifest: Manifest, memory: Memory) -> None:
        self._bounds = bounds_of(manifest.groups)
        self.variables = {v.name: v for v in manifest.variables}
        packed = [arena for arena in manifest.arenas if arena.kind == "state"]
        beside = manifest.functions if manifest.update == "ping-pong" else ()
        self.storage = BufferSets(self.variables, packed, memory, beside)
        self.numbers: dict[str, Scalar] = {
            v.name: host_dtype(v).type(0).item()
            for v in self.variables.values()
            if v.storage == "host"
        }

    def read(self, path: str) -> Array:
        """A copy of a variable's value, in its own dtype."""
        if path in self.numbers:
            return np.asarray(self.numbers[path], numpy_dtype(self.variables[path].dtype))
        return self.storage.read(path)

    def check(self, path: str, value: Any) -> Array:
        """`value` as an array that `write` takes. Raises InputError; changes nothing.

        A settable hyperparameter's value is within its bounds too.
        """
        variable = self.variables[path]
        where = f"variable {path!r}"
        if path not in self.numbers:
            return checked(value, where, numpy_dtype(variable.dtype), variable.shape)
        dtype = host_dtype(variable)
        declared = numpy_dtype(variable.dtype)
        given = declared if getattr(value, "dtype", None) == declared else dtype
        return self._within(path, checked(value, where, given, ()).astype(dtype))

    def _within(self, path: str, value: Array) -> Array:
        for setting in self._bounds.get(path, ()):
            check_bounds(f"variable {path!r}", value.item(), setting)
        return value

    def write(self, values: Mapping[str, Array]) -> None:
        """Replace variables' values by some that `check` returned."""
        tensors, numbers = self._split(values)
        self.storage.write(tensors)
        self.numbers.update(numbers)

    def write_beside(self, values: Mapping[str, Array]) -> After:
        """Write values of all variables where the state is not; `follow` makes them the state."""
        tensors, numbers = self._split(values)
        return numbers, self.storage.write_beside(tensors)

    def follow(self, after: After) -> None:
        """Let numbers and buffers be the state; again changes nothing."""
        self.numbers.update(after[0])
        self.storage.parity = after[1]

    def _split(self, values: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Scalar]]:
        """What goes to the device, and the numbers of the host."""
        tensors = {path: value for path, value in values.items() if path not in self.numbers}
        return tensors, {p: value.item() for p, value in values.items() if p in self.numbers}

    def snapshot(self) -> dict[str, Array]:
        """Copies of everything, by path; floats of the host as float64."""
        tensors = self.storage.read_all()
        return {
            path: np.asarray(self.numbers[path], host_dtype(variable))
            if path in self.numbers
            else tensors[path]
            for path, variable in self.variables.items()
        }

    def initial(self, given: Mapping[str, Any], seed: int = 0) -> dict[str, Array]:
        """First values of all variables: the given ones, else the initializers'.

        `given` is by path; `seed` enters beside those of the initializers. Raises InputError when
        one is missing or does not fit; changes nothing.
        """
        missing = [
            v.name[1:]
            for v in self.variables.values()
            if v.initializer.kind == "required" and v.name not in given
        ]
        extra = [name for name in given if name not in self.storage.paths]
        if missing or extra:
            known = [path[1:] for path in self.storage.paths]
            raise InputError(
                "initialize: expected an array for each parameter that has no initializer; "
                f"missing: {listed(missing) or 'none'}; not expected: {listed(extra) or 'none'}"
                f"{nearest(extra[0], missing or known) if extra else ''}"
            )
        return {
            path: self.check(path, given[path])
            if path in given
            else self._within(path, self._first(variable, seed))
            for path, variable in self.variables.items()
        }

    def _first(self, variable: Variable, seed: int) -> Array:
        if variable.storage == "device":
            return first_value(variable, seed)
        value = variable.initializer.value
        if value is None:
            return first_value(variable, seed).astype(host_dtype(variable))
        # Not through the declared dtype: 0.999 stays the float64 it was compiled with.
        return np.asarray(value, host_dtype(variable))
