"""A step in two phases: one sums over the gradients, the other updates with the sums of all shards.

The phases of `step` are called `reduce` and `apply`, those of another entry point have its name in
front: `encoder_reduce`. Partials are the results of the first and an argument of the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stepforge.runtime.errors import InputError, UnknownNameError
from stepforge.runtime.manifest import Function
from stepforge.runtime.names import listed, nearest
from stepforge.runtime.rules import require

PARTIALS = "partials"
Phase = Literal["reduce", "apply"]


def phase_name(step: str, phase: Phase) -> str:
    """What a phase of an entry point is called."""
    return phase if step == "step" else f"{step}_{phase}"


def step_of(phase: str) -> str:
    """The entry point that a phase is one of."""
    return phase.rpartition("_")[0] or "step"


def partials_of(function: Function) -> tuple[str, ...]:
    """The names of the partials that a function takes."""
    return tuple(a.name for a in function.arguments if a.role == PARTIALS)


def is_phase(function: Function) -> bool:
    """Whether it is one half of a step, which no step counts."""
    return any(x.role == PARTIALS for x in (*function.arguments, *function.results))


def find_phase(functions: Mapping[str, bool], step: str | None, phase: Phase) -> str:
    """The name of a step's phase.

    functions: of the artifact, and whether each is a phase. step: None where there are several.
    Raises InputError where there are no phases, UnknownNameError for an unknown step.
    """
    whole = [name for name, half in functions.items() if not half]
    if step is None:
        raise InputError(
            f"the artifact has several entry points; name one: {phase}(..., function=...), of "
            f"{listed(whole)}"
        )
    if step not in whole:
        raise UnknownNameError(f"no entry point {step!r}{nearest(step, whole)}")
    name = phase_name(step, phase)
    if not functions.get(name, False):
        raise InputError(
            f"{phase}: {step!r} has no phases; compile it with phases=True (--phases), and with "
            "clip_global_norm or skip_nonfinite: other steps need none"
        )
    return name


def check_phases(functions: Mapping[str, Function]) -> None:
    """Phases come in pairs: partials that one gives are those that the other takes."""
    expected: dict[str, str] = {}
    for step in functions.values():
        if not is_phase(step):
            expected[phase_name(step.name, "reduce")] = "reduce"
            expected[phase_name(step.name, "apply")] = "apply"
    for function in functions.values():
        taken = {(a.name, a.dtype, a.shape) for a in function.arguments if a.role == PARTIALS}
        given = {(r.name, r.dtype, r.shape) for r in function.results if r.role == PARTIALS}
        if not taken and not given:
            continue
        where = f"function {function.name!r}"
        phase = expected.get(function.name)
        fits = len(taken or given) == 1 and phase == ("apply" if taken else "reduce")
        require(fits and not (taken and given), where, "partials of no step's phase")
        if taken:
            first = functions.get(function.name.removesuffix("apply") + "reduce")
            found = () if first is None else first.results
            same = {(r.name, r.dtype, r.shape) for r in found if r.role == PARTIALS} == taken
            require(same, where, "partials that no first phase gives")
            continue
        plain = all(r.role == PARTIALS for r in function.results)
        require(plain, where, "results besides the partials")
