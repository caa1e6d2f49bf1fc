"""The other proof of an artifact with phases: together they give the bits of the step.

The step is compiled as a whole, and nobody promises that it is cut where its phases are. So both
ways start from the same random inputs, on one device, and every result must agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stepforge.frontend.build.in_place_check import (
    Array,
    Where,
    host_values,
    random_input,
    same_bits,
)
from stepforge.runtime.executor import Module
from stepforge.runtime.manifest import Function, Manifest
from stepforge.runtime.phases import is_phase, phase_name
from stepforge.runtime.scalars import evaluate_scalars

Inputs = Mapping[tuple[str, str], Array]
"""By role and name."""


def check_phases(manifest: Manifest, module: Module) -> None:
    """Compare each step with its phases. Raises InPlaceCheckError naming function and variable."""
    functions = {function.name: function for function in manifest.functions}
    for step in manifest.functions:
        first = functions.get(phase_name(step.name, "reduce"))
        if is_phase(step) or first is None or not is_phase(first):
            continue
        second = functions[phase_name(step.name, "apply")]
        inputs = {
            (a.role, a.name): random_input(a, index)
            for index, a in enumerate(step.arguments)
            if a.role != "scalars"
        }
        whole = _call(module, manifest, step, inputs)
        partials = _call(module, manifest, first, inputs)
        sums = {("partials", name): array for (_, name), array in partials.items()}
        halves = _call(module, manifest, second, {**inputs, **sums})
        for (role, name), expected in whole.items():
            same_bits(Where(second.name, "the whole step"), name, expected, halves[role, name])


def _call(
    module: Module, manifest: Manifest, function: Function, inputs: Inputs
) -> dict[tuple[str, str], Array]:
    """The results that are tensors, by role and name; nothing that was given is written."""
    scalars = evaluate_scalars(function, host_values(manifest))
    hosts = {v.name for v in manifest.variables if v.storage == "host"}
    given = [
        inputs[a.role, a.name]
        for a in function.arguments
        if a.role != "scalars" and a.name not in hosts
    ]
    found = module.call(function.name, [*given, *scalars.arguments])
    return {
        (result.role, result.name): np.asarray(array)
        for result, array in zip(function.results, found, strict=False)
    }
