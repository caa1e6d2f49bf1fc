"""The proof an artifact needs before it is written: in place and plain give the same bits.

In-place updates rest on an order of reads and writes that IREE was seen to keep and does not
promise. So both builds of one module run two steps on the same random inputs, every result must
agree bit for bit, and the in-place build must have left each new state in its argument's memory.
A build that updates by ping-pong must have left it in the buffers beside, and the old state alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepforge.frontend.dtypes import as_dtype
from stepforge.frontend.errors import InPlaceCheckError
from stepforge.passes import Statistics
from stepforge.runtime.any_length import PATTERN, define
from stepforge.runtime.executor import Module
from stepforge.runtime.manifest import Argument, Function, Manifest
from stepforge.runtime.scalars import Scalar, evaluate_scalars

_STEPS = 2
_SEED = 20260101
_PERIOD = 65_537
_LENGTHS = (1, 1_000, 100_003)
_COUNTER = 3  # Past the first steps, where bias corrections and moments are special.

Array = npt.NDArray[np.generic]


def check_in_place(manifest: Manifest, in_place: Module, plain: Module) -> None:
    """Step both builds, on one device. Raises InPlaceCheckError naming function and variable.

    Of any length it is several: the shortest, odd ones, and one of more than a few tiles.
    """
    if manifest.length is not None:
        for length in _LENGTHS:
            check_in_place(define(manifest, {PATTERN: (length,)}), in_place, plain)
        return
    for function in manifest.functions:
        if all(argument.result is None for argument in function.arguments):
            continue  # both builds of it are the same
        if manifest.update == "ping-pong":
            _check_beside(function, host_values(manifest), in_place, plain)
        else:
            _check_function(function, host_values(manifest), in_place, plain)


def check_order(statistics: Statistics, functions: tuple[Function, ...]) -> None:
    """What can be checked without the device: no old state is read after new state is written.

    Raises InPlaceCheckError.
    """
    for function in functions:
        counted = statistics[function.name]
        if counted.late_reads:
            raise InPlaceCheckError(
                f"the compiled code of {function.name!r} reads state after it was overwritten",
                expected="no command that reads the old value after a write",
                got=f"{counted.late_reads} in IREE's stream-level IR",
                hint="the artifact was not written; please report this, with --dump-ir",
            )


def host_values(manifest: Manifest) -> dict[str, Scalar]:
    """Counters past their first steps; settings as they were compiled."""
    hosts = [v for v in manifest.variables if v.storage == "host"]
    return {v.name: _COUNTER if v.role == "counter" else v.initializer.value or 0 for v in hosts}


def _check_function(
    function: Function, hosts: Mapping[str, Scalar], in_place: Module, plain: Module
) -> None:
    tensors = [a for a in function.arguments if a.role != "scalars" and a.name not in hosts]
    arrays = [random_input(argument, index) for index, argument in enumerate(tensors)]
    kept = [in_place.upload(array) for array in arrays]
    given: list[Any] = [
        *arrays
    ]  # uploaded anew for each call; state from the second step on is not
    for step in range(1, _STEPS + 1):
        where = Where(function.name, "the plain build", f" in step {step}")
        scalars = evaluate_scalars(function, hosts)
        hosts = scalars.next_values
        expected = list[Any](plain.call(function.name, [*given, *scalars.arguments], keep=True))
        got = list[Any](in_place.call(function.name, [*kept, *scalars.arguments], keep=True))
        for position, argument in enumerate(tensors):
            if argument.result is not None:
                given[position] = expected[argument.result]
                # Read from the argument: a new state that went elsewhere leaves the old one there.
                array = np.asarray(plain.memory.read(given[position]))
                memory = np.asarray(in_place.memory.read(kept[position]))
                same_bits(where, argument.name, array, memory)
        for index, result in enumerate(function.results):
            if result.role == "output":
                array = np.asarray(plain.memory.read(expected[index]))
                output = np.asarray(in_place.memory.read(got[index]))
                same_bits(where, result.name, array, output)


def _check_beside(
    function: Function, hosts: Mapping[str, Scalar], ping_pong: Module, plain: Module
) -> None:
    """The new state is in the buffers given for it, and the old one is as it was."""
    tensors = [a for a in function.arguments if a.role != "scalars" and a.name not in hosts]
    arrays = [random_input(argument, index) for index, argument in enumerate(tensors)]
    kept = [ping_pong.upload(array) for array in arrays]
    states = sorted(
        (argument.result, position)
        for position, argument in enumerate(tensors)
        if argument.result is not None
    )
    # What is there before is read by nobody.
    beside = {position: ping_pong.upload(arrays[position]) for _, position in states}
    unused = [arrays[position] for _, position in states]
    for step in range(1, _STEPS + 1):
        where = Where(function.name, "the plain build", f" in step {step}")
        scalars = evaluate_scalars(function, hosts)
        hosts = scalars.next_values
        expected = plain.call(function.name, [*arrays, *scalars.arguments, *unused])
        given = [*kept, *scalars.arguments, *beside.values()]
        got = list[Any](ping_pong.call(function.name, given, keep=True))
        for position, argument in enumerate(tensors):
            old = np.asarray(ping_pong.memory.read(kept[position]))
            same_bits(where, f"{argument.name} before the step", arrays[position], old)
        for result, position in states:
            arrays[position] = np.asarray(expected[result])
            memory = np.asarray(ping_pong.memory.read(beside[position]))
            same_bits(where, tensors[position].name, arrays[position], memory)
            kept[position], beside[position] = beside[position], kept[position]
        for index, result in enumerate(function.results):
            if result.role == "output":
                output = np.asarray(ping_pong.memory.read(got[index]))
                same_bits(where, result.name, np.asarray(expected[index]), output)


@dataclass(frozen=True, slots=True)
class Where:
    """A function of the in-place build, what it is compared with, and when."""

    function: str
    other: str
    when: str = ""


def same_bits(where: Where, name: str, expected: Array, got: Array) -> None:
    """Raises InPlaceCheckError where a result of the function is not that of the other."""
    a, b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (expected, got))
    if np.array_equal(a, b):
        return
    different = np.unique(np.flatnonzero(a != b) // max(1, expected.itemsize))
    raise InPlaceCheckError(
        f"the in-place build of {where.function!r} disagrees with {where.other} in {name!r}",
        expected="equal bits",
        got=f"{different.size} of {expected.size} elements differ{where.when}, the first at "
        f"flat index {different[0]}",
        hint="the artifact was not written; please report this, with --dump-ir",
    )


def random_input(argument: Argument, index: int) -> Array:
    """Values of ordinary size; slots are not negative, as second moments never are.

    One period of random values is repeated: its length is prime, so that no tile of a loop and no
    row of a variable meets the same values at the same places.
    """
    generator = np.random.default_rng((_SEED, index))
    dtype = as_dtype(argument.dtype)
    if argument.role == "partials" and not dtype.is_float:
        period = np.zeros(1, np.int32)  # a count of what would let the whole step be skipped
    elif argument.role in ("slot", "partials"):
        period = generator.random(_PERIOD, dtype=np.float32)
    elif dtype.is_float:
        period = generator.standard_normal(_PERIOD, dtype=np.float32)
    else:
        period = generator.integers(0, 2, _PERIOD)
    return np.resize(period.astype(dtype.numpy), argument.shape)
