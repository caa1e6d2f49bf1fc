"""One entry point, bound to the state: taking gradients, computing scalars, making the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stepforge.runtime.arrays import Array, checked, numpy_dtype
from stepforge.runtime.buffers import Memory, Tensor
from stepforge.runtime.errors import GradientError, InputError
from stepforge.runtime.executor import Call, Module
from stepforge.runtime.inputs import ROLES, Inputs, host_array
from stepforge.runtime.manifest import Argument, Function, Scalar
from stepforge.runtime.mappings import by_path
from stepforge.runtime.names import listed, nearest
from stepforge.runtime.phases import PARTIALS, is_phase
from stepforge.runtime.scalars import DERIVATIONS, Evaluator, compile_program, host_arguments
from stepforge.runtime.state import State

Following = list[tuple[str, Scalar]]
"""Values of host variables after a call, to be stored once it has succeeded."""


def steps_of(functions: tuple[Function, ...]) -> tuple[Function, ...]:
    """The functions that work on the state: neither the self-test nor `initialize`, whose results
    are buffers of their own, and not the bits that the runtime draws.
    """
    return tuple(f for f in functions if f.name not in ("self_test", "initialize"))


class EntryPoint:
    """Everything a step needs, looked up and built once."""

    __slots__ = (
        "_arguments",
        "_arrays",
        "_call",
        "_calls",
        "_earlier",
        "_evaluator",
        "_fast",
        "_input_arrays",
        "_inputs",
        "_integers",
        "_module",
        "_numbers",
        "_outputs",
        "_partials",
        "_seen",
        "_storage",
        "_table",
        "flips",
        "function",
    )

    def __init__(self, function: Function, module: Module, state: State, inputs: Inputs) -> None:
        self.function = function
        numbers = host_arguments(function, state.numbers)
        self._integers = tuple(a.dtype == "int64" for a in numbers)
        self._numbers = tuple((a.name, DERIVATIONS[a.derive]) for a in numbers)
        program = function.scalars
        self._evaluator: Evaluator | None = None if program is None else compile_program(program)
        self._table = _table(function, module.memory)
        self._arguments = function.arguments[: len(function.arguments) - len(numbers)]
        self._storage = storage = state.storage
        self._inputs = inputs
        self._seen = storage.seen(function)
        self.flips = storage.flips(function)
        """The bits of the storage's parity that a call changes."""
        self._arrays = inputs.arrays(function, "gradient")
        self._input_arrays = inputs.arrays(function, "input")
        self._partials = inputs.arrays(function, PARTIALS)
        self._fast = tuple(
            (path[1:], array, array.dtype, array.shape) for path, array in self._arrays.items()
        )
        outputs = enumerate(function.results)
        self._outputs = {r.name: i for i, r in outputs if r.role == "output"}
        self.bind(module)

    def bind(self, module: Module) -> None:
        """Build the call; again after a failure, when the old fences are spent."""
        self._module = module
        self._calls: dict[int, Call] = {}
        self._call = self._bound(self._storage.parity & self._seen)

    def _bound(self, parity: int) -> Call:
        """The call on the buffers that are the state at a parity, made once."""
        integers = self._integers
        tensors = [self._tensor(a, parity) for a in self._arguments]
        after = self._targets(parity) if self.flips else ()
        share = len(tensors) // max(1, self.calls)
        *self._earlier, made = [
            Call(self._module, self.function.name, tensors[k * share :][:share], integers, after)
            for k in range(max(1, self.calls))
        ]
        self._calls[parity] = made
        return made

    def _tensor(self, a: Argument, parity: int) -> Tensor:
        if a.role == "scalars":
            assert self._table is not None
            return self._table
        return self._inputs.of(a) if a.role in ROLES else self._storage.argument(a.name, parity)

    def _targets(self, parity: int) -> list[Tensor]:
        """The buffers for new state, in the order of the results."""
        replaced = {a.result: a.name for a in self._arguments if a.result is not None}
        return [self._storage.target(replaced[i], parity) for i in sorted(replaced)]

    @property
    def calls(self) -> int:
        """How many calls a step is; of several, which are in place, each has its own tensors."""
        return self.function.calls

    @property
    def is_step(self) -> bool:
        """Whether gradients come from outside, as a training step's do not, and it is no phase."""
        return bool(self._arrays) and not is_phase(self.function)

    @property
    def gradients(self) -> Mapping[str, Array]:
        """The memory that the next call reads gradients from, by parameter path."""
        return self._arrays

    def load(self, gradients: Mapping[str, Any]) -> None:
        """Copy gradients in. All are checked before any is copied. Raises GradientError."""
        given: Any = gradients
        fast = self._fast
        if given.__class__ is dict and len(given) == len(fast):
            for name, _, dtype, shape in fast:
                value = given.get(name)
                if type(value) is not np.ndarray or value.dtype is not dtype:
                    break
                if value.shape != shape:
                    break
            else:
                for name, array, _, _ in fast:
                    array[...] = given[name]
                return
        self._load_checked(given)

    def load_inputs(self, given: Mapping[str, Any], name: str) -> None:
        """Copy a batch in. All of it is checked before any is copied. Raises InputError.

        name: what the caller called.
        """
        missing = [key for key in self._input_arrays if key not in given]
        extra = [key for key in given if key not in self._input_arrays]
        if missing or extra:
            raise InputError(
                f"{name}: expected the inputs {listed(self._input_arrays) or 'of none'}; "
                f"{_difference(missing, extra)}"
            )
        _fill(self._input_arrays, given, lambda key: f"input {key!r} of {name}", InputError)

    def check_partials(self, partials: Any) -> Array:
        """Sums over the gradients as an array that `load_partials` takes. Raises InputError."""
        ((name, array),) = self._partials.items()
        where = f"partials {name!r} of {self.function.name!r}"
        return checked(partials, where, array.dtype, array.shape)

    def load_partials(self, partials: Array) -> None:
        """Copy in what was checked."""
        for array in self._partials.values():
            array[...] = partials

    def partials(self) -> Array:
        """A copy of the sums that the last call of a first phase gave."""
        (index,) = (i for i, r in enumerate(self.function.results) if r.role == PARTIALS)
        return self._call.output(index)

    def _load_checked(self, gradients: Any) -> None:
        given = self._paths(gradients)
        _fill(self._arrays, given, lambda path: f"gradient {path[1:]!r}", GradientError)

    def _paths(self, gradients: Any) -> dict[str, Any]:
        """The gradients by path; exactly the entry point's must be there, each once."""
        where = f"step {self.function.name!r}"
        given = by_path(gradients, self._arrays, where, GradientError)
        missing = [path[1:] for path in self._arrays if path not in given]
        extra = [name for name in given if name not in self._arrays]
        if missing or extra:
            raise GradientError(
                f"{where}: expected one gradient for each of {len(self._arrays)} parameters; "
                f"{_difference(missing, extra)}"
            )
        return given

    def scalars(self, numbers: Mapping[str, Scalar]) -> tuple[list[float | int], Following]:
        """The primitives for a call, and what to store after it; the table is filled in place."""
        table: list[Scalar] = []
        following: Following = []
        if self._evaluator is not None:
            table, following = self._evaluator.run(numbers)
        if self._table is not None:
            with np.errstate(over="ignore"):
                host_array(self._table)[...] = table
        return [
            numbers[name] if derive is None else derive(numbers[name])
            for name, derive in self._numbers
        ], following

    def run(self, primitives: list[float | int], *, wait: bool = True) -> None:
        """Call and wait. Raises what IREE raises; then the state on the device is unknown."""
        parity = self._storage.parity & self._seen
        self._call = last = self._calls.get(parity) or self._bound(parity)
        for call in self._earlier:
            call.run(primitives)
        last.run(primitives, wait=wait)

    def results(self, but: str) -> dict[str, float | int | bool | Array]:
        """The last call's outputs, but for names that start so; those of rank 0 as numbers."""
        return {
            name: value if value.shape else value.item()
            for name, index in self._outputs.items()
            if not name.startswith(but)
            for value in (self._call.output(index),)
        }

    def outputs(self, prefix: str) -> dict[str, Array]:
        """Copies of the last call's outputs whose names start so, without the prefix."""
        return {
            name[len(prefix) :]: self._call.output(index)
            for name, index in self._outputs.items()
            if name.startswith(prefix)
        }


def gradients_of(entries: Mapping[str, EntryPoint]) -> dict[str, Array]:
    """The memory that gradients are read from, by parameter path."""
    return {path: a for entry in entries.values() for path, a in entry.gradients.items()}


def default_entry(entries: Mapping[str, EntryPoint]) -> EntryPoint | None:
    """The only entry point, or the one named `step`; else the caller has to say."""
    whole = [entry for entry in entries.values() if not is_phase(entry.function)]
    return whole[0] if len(whole) == 1 else entries.get("step")


def _difference(missing: Sequence[str], extra: Sequence[str]) -> str:
    """What is wrong with the names that were given."""
    hint = nearest(extra[0], missing) if missing and extra else ""
    return f"missing: {listed(missing) or 'none'}; not expected: {listed(extra) or 'none'}{hint}"


def _fill(
    arrays: Mapping[str, Array],
    given: Mapping[str, Any],
    label: Callable[[str], str],
    error: type[InputError],
) -> None:
    """Copy values in by name. All are checked before any is copied; raises `error`."""
    values = [
        checked(given[key], label(key), array.dtype, array.shape, error)
        for key, array in arrays.items()
    ]
    for array, value in zip(arrays.values(), values, strict=True):
        array[...] = value


def _table(function: Function, memory: Memory) -> Tensor | None:
    found = [a for a in function.arguments if a.role == "scalars"]
    return memory.shared(found[0].shape, numpy_dtype(found[0].dtype)) if found else None
