"""The step of an artifact as its graph says it, evaluated in float64 with error bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.frontend.any_length import of_length
from stepforge.frontend.entry_names import INITIALIZE, TRAIN_STEP, phase_names
from stepforge.frontend.program import Argument, EntryPoint, Program
from stepforge.frontend.program_json import program_from_json
from stepforge.runtime.container import Artifact
from stepforge.runtime.phases import is_phase
from stepforge.runtime.scalars import DERIVATIONS
from stepforge.tools.bounds import ACCURACY, Accuracy, Bounded, evaluate_bounded
from stepforge.tools.error_rules import Array
from stepforge.tools.errors import ToolError

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """One entry point of an artifact, and how exactly its target computes."""

    entry: EntryPoint
    accuracy: Accuracy

    def step(self, state: Values, given: Values) -> dict[str, Bounded]:
        """The results by name, each state's new value among them.

        state: every variable by path, numbers of the host unrounded; given: gradients by path,
        partials and inputs by name.
        """
        host = [x.node for x in self.entry.arguments if x.storage == "host"]
        inputs = {
            x.node.attributes["name"]: _value(
                x, given if x.role in ("gradient", "partials", "input") else state
            )
            for x in self.entry.arguments
        }
        nodes = [result.node for result in self.entry.results]
        found = evaluate_bounded(nodes, inputs, self.accuracy, host)
        return {result.name: value for result, value in zip(self.entry.results, found, strict=True)}


def _value(argument: Argument, values: Values) -> Array:
    value = values[argument.name]
    derive: Callable[[float], float] | None = DERIVATIONS[argument.derive]
    return np.asarray(value if derive is None else derive(float(value)))


def reference(artifact: Artifact, function: str | None = None) -> Reference:
    """The first of `references`."""
    return references(artifact, function)[0]


def references(
    artifact: Artifact, function: str | None = None, length: int | None = None
) -> tuple[Reference, ...]:
    """The entry point called `function`, and its phases if it has any; by default the only one, or
    the one that trains.

    length: of the parameter, where the artifact is of any length. Raises ToolError.
    """
    program: Program = program_from_json(artifact.graph_json)
    if length is not None:
        program = of_length(program, length)
    phases = {f.name for f in artifact.manifest.functions if is_phase(f)}
    found = {x.name: x for x in program.entry_points if x.name != INITIALIZE}
    entries = {name: x for name, x in found.items() if name not in phases}
    name = function
    if function is None and (len(entries) == 1 or TRAIN_STEP in entries):
        name = next(iter(entries))
    if name is None or name not in entries:
        raise ToolError(
            f"the artifact has the entry points {', '.join(entries)}; name one with --function"
            + ("" if name is None else f", got {name!r}")
        )
    accuracy = ACCURACY[artifact.manifest.targets[0].device]
    names = (name, *(x for x in phase_names(name) if x in phases))
    return tuple(Reference(found[x], accuracy) for x in names)
