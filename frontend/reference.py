"""A step without a compiler: a Program stepped by the evaluator, in any float precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stepforge.frontend.dtypes import Array, DTypeLike, as_dtype, convert
from stepforge.frontend.errors import EvaluateError
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.program import Argument, EntryPoint, Program
from stepforge.frontend.resolve import DERIVED
from stepforge.frontend.variables import VariableSpec


class ReferenceStep:
    """What a compiled step should do, with NumPy arrays.

    precision: the float dtype of all arithmetic and state, such as "float64"; None takes each
    node's own.
    """

    def __init__(self, program: Program, precision: DTypeLike | None = None) -> None:
        self.program = program
        self._precision = None if precision is None else as_dtype(precision)
        self._specs = {spec.name: spec for spec in program.variables}
        self.variables: dict[str, Any] = {}
        """By path: arrays, and Python numbers of host variables, kept exactly."""

    def initialize(
        self, parameters: Mapping[str, ArrayLike] | None = None, *, seed: int = 0
    ) -> None:
        """Sets all variables: parameters (by name or path) as given, others as they begin.

        seed: other random values; those of the initializers enter too.
        """
        given = {_path(name): value for name, value in (parameters or {}).items()}
        unknown = sorted(given.keys() - self._specs.keys())
        if unknown:
            raise EvaluateError("no such variables", expected=list(self._specs), got=unknown)
        for path, spec in self._specs.items():
            value = given[path] if path in given else self._first_value(spec, seed)
            self.variables[path] = self._stored(spec, value)

    def step(
        self, gradients: Mapping[str, ArrayLike], function: str | None = None
    ) -> dict[str, Array]:
        """Takes one step of an entry point (by default the first) and returns its outputs.

        gradients: by parameter; of a training step, its inputs by name; of a second phase, the
            partials that the first one returns too.
        """
        entry = self.program.entry_points[0]
        if function is not None:
            entry = self.program.entry_point(function)
        by_path = {_path(name): np.asarray(value) for name, value in gradients.items()}
        inputs = {str(x.node.attributes["name"]): self._input(x, by_path) for x in entry.arguments}
        values = evaluate([x.node for x in entry.results], inputs, self._precision)
        return self._keep(entry, values)

    def _keep(self, entry: EntryPoint, values: list[Array]) -> dict[str, Array]:
        outputs: dict[str, Array] = {}
        for result, value in zip(entry.results, values, strict=True):
            if result.role in ("output", "partials"):
                outputs[result.name] = value
            else:
                spec = self._specs[result.name]
                self.variables[spec.name] = value.item() if spec.storage == "host" else value
        return outputs

    def _first_value(self, spec: VariableSpec, seed: int) -> Any:
        if spec.storage == "host" and spec.initializer.value is not None:
            return spec.initializer.value  # exactly, where a sample would round it to the dtype
        return spec.initializer.sample(spec.name, spec.dtype, spec.shape, seed)

    def _stored(self, spec: VariableSpec, value: ArrayLike) -> Any:
        if spec.storage == "host":
            return np.asarray(value).item()
        wide = self._precision is not None and spec.dtype.is_float
        return convert(np.array(value), self._precision if wide and self._precision else spec.dtype)

    def _input(self, argument: Argument, gradients: Mapping[str, Array]) -> Array:
        if argument.role in ("gradient", "partials", "input"):
            path = _path(argument.name)
            if path not in gradients:
                got = ", ".join(gradients)
                raise EvaluateError(f"no {argument.role} for {argument.name!r}", got=got)
            return gradients[path]
        value = self.variables[argument.name]
        if argument.storage == "device":
            return value
        exact = np.asarray(DERIVED[argument.derive](value))
        wide = self._precision is not None and argument.node.dtype.is_float
        dtype = self._precision if wide and self._precision else argument.node.dtype
        return convert(exact, dtype)


def _path(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"
