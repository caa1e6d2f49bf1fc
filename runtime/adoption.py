"""Arrays of the caller that become the device's own memory: what they must be."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from stepforge.runtime.arrays import Array, checked, numpy_dtype
from stepforge.runtime.buffers import ALIGNMENT
from stepforge.runtime.devices import Device
from stepforge.runtime.errors import HostMemoryError, InputError
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.names import listed


class Adoption:
    """The parameters' memory, which belongs to the caller."""

    __slots__ = ("_arrays", "_parameters")

    def __init__(self, device: Device, manifest: Manifest) -> None:
        """Raises HostMemoryError, or InputError, where no parameter can be memory of the caller."""
        if not device.is_host:
            raise HostMemoryError(
                f"storage='adopt': the memory of device {device.spec!r} is not the host's; load "
                "the artifact with storage='owned', which copies"
            )
        if manifest.update != "in-place":
            raise InputError(
                f"storage='adopt': the artifact updates by {manifest.update}, so that each step "
                "puts the parameters elsewhere; compile it with update='in-place' (--update "
                "in-place)"
            )
        if manifest.arenas:
            raise InputError(
                f"storage='adopt': the artifact keeps variables together in {len(manifest.arenas)} "
                "arenas; compile it with layout='separate' (--layout separate), so that each has "
                "memory of its own"
            )
        self._parameters = [v for v in manifest.variables if v.role == "parameter"]
        self._arrays: dict[str, Array] = {}

    def take(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """The given arrays, by path, that are memory from now on; those of before stay.

        Raises InputError where one is missing or cannot be used; then nothing changed.
        """
        found: dict[str, Array] = {}
        for v in self._parameters:
            if v.name in given:
                where = f"initialize: parameter {v.name[1:]!r}"
                found[v.name] = adoptable(given[v.name], where, numpy_dtype(v.dtype), v.shape)
        together = {**self._arrays, **found}
        missing = [v.name[1:] for v in self._parameters if v.name not in together]
        if missing:
            raise InputError(
                "initialize: with storage='adopt' every parameter is given the first time; "
                f"missing: {listed(missing)}"
            )
        check_apart(together, "initialize")
        self._arrays = together
        return found

    def check(self, what: str) -> None:
        """Raises InputError as long as there is no memory to write to."""
        if not self._arrays:
            raise InputError(
                f"{what}: with storage='adopt' the memory comes first: initialize(parameters) with "
                f"the arrays to step, then {what}"
            )


def adoptable(value: Any, where: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """`value` as an array over the same memory. Raises InputError where that cannot be used.

    The memory is writable, row-major without gaps, and begins at a multiple of 64 bytes.
    """
    array = checked(value, where, dtype, shape)
    if not array.flags.c_contiguous:
        raise InputError(f"{where}: expected rows without gaps, got strides {array.strides}")
    if not array.flags.writeable:
        raise InputError(f"{where}: expected memory that may be written, got a read-only array")
    if array.ctypes.data % ALIGNMENT:
        raise InputError(
            f"{where}: expected memory that begins at a multiple of {ALIGNMENT} bytes, got one "
            f"{array.ctypes.data % ALIGNMENT} bytes further; IREE's code for CPUs would crash"
        )
    return array


def check_apart(arrays: Mapping[str, Array], what: str) -> None:
    """No two of them share memory. Raises InputError."""
    ends = sorted((a.ctypes.data, a.ctypes.data + a.nbytes, name) for name, a in arrays.items())
    for (_, end, name), (start, _, other) in pairwise(ends):
        if start < end:
            raise InputError(f"{what}: {name!r} and {other!r} share memory; give each its own")
