"""Stepping an artifact beside its own graph, and measuring how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from stepforge.frontend import as_dtype
from stepforge.frontend.entry_names import EVALUATE, PREDICT, TRAIN_STEP
from stepforge.frontend.program import Result
from stepforge.runtime.any_length import PATTERN, define
from stepforge.runtime.arenas import logical_arguments
from stepforge.runtime.batch_sizes import variant
from stepforge.runtime.container import Artifact
from stepforge.runtime.loading import load
from stepforge.runtime.manifest import Argument, Function, Manifest, Variable
from stepforge.runtime.phases import is_phase, partials_of, step_of
from stepforge.runtime.step import ACCUMULATE_STEPS, MICRO_STEP, CompiledStep
from stepforge.tools.bounds import Bounded
from stepforge.tools.error_rules import TINY, Array
from stepforge.tools.reference import Reference, references

# Of an artifact of any length: less than a vector, one, a tile and a rest, and several tiles.
LENGTHS = (1, 15, 16, 1_000, 100_003)

# One unit in the last place, relative; whole numbers count as they are.
UNIT = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far the variables of one kind were off in the worst element of all steps.

    ulp: in units in the last place of the larger of the old and the new value. of_bound: as a part
    of what the operations are allowed to add up to; above 1 the check has failed.
    unbounded: how many elements have no finite bound, and so are not judged: those behind a
    decision between numbers that rounding does not tell apart, such as a tie of a max pool.
    """

    kind: str
    elements: int
    ulp: float
    of_bound: float
    unbounded: int
    worst: str
    """Variable, step and flat index of the element that `of_bound` is of."""

    @property
    def passed(self) -> bool:
        return self.of_bound <= 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One artifact on one device."""

    device: str
    steps: int
    seed: int
    passed: bool
    deviations: tuple[Deviation, ...]


def verify(
    artifact: Artifact, device: str, *, steps: int, seed: int, function: str | None = None
) -> Verdict:
    """Take seeded steps on the device; compare each with the evaluator from the same state.

    A step with phases is taken as often in them. Of any length, so many steps over each of
    `LENGTHS`.
    """
    worst: dict[str, Deviation] = {}
    with load(artifact, device=device) as optimizer:
        for length in LENGTHS if artifact.manifest.length is not None else (None,):
            expected = references(artifact, function, length)
            optimizer.initialize(_first_parameters(artifact.manifest, seed, length))
            for step, called in product(range(steps), expected):
                for found in _one_step(optimizer, called, step, seed):
                    worst[found.kind] = _worse(worst.get(found.kind), found)
    return Verdict(
        device=device,
        steps=steps,
        seed=seed,
        passed=all(deviation.passed for deviation in worst.values()),
        deviations=tuple(worst.values()),
    )


def _one_step(
    optimizer: CompiledStep, expected: Reference, step: int, seed: int
) -> Iterator[Deviation]:
    variables = {variable.name: variable for variable in optimizer.manifest.variables}
    name = expected.entry.name
    functions = {function.name: function for function in optimizer.manifest.functions}
    function = functions[name]
    plain, _ = variant(function, functions)
    if MICRO_STEP in variables:
        # The next call is of the last micro-batch, which updates, or of the first.
        last = optimizer.read_number(ACCUMULATE_STEPS) - 1
        optimizer.write_number(MICRO_STEP, last if plain == TRAIN_STEP else 0)
    before = {path: _read(optimizer, variable) for path, variable in variables.items()}
    given = random_arguments(function, optimizer.manifest, step, seed)
    given |= _partials(optimizer, function, given)
    exact = expected.step(before, given)
    outputs = _call(optimizer, plain, function, given)
    for result in expected.entry.results:
        if result.name in variables:
            variable = variables[result.name]
            old, got = before[result.name], _read(optimizer, variable)
            kind = variable.role if variable.slot is None else f"{variable.role} {variable.slot}"
        elif result.name in outputs:
            old = got = outputs[result.name]
            kind = result.role
        else:
            continue  # the count of non-finite values
        arrays = np.asarray(old), np.asarray(got)
        yield _deviation(kind, result, *arrays, exact[result.name], step)


def _call(
    optimizer: CompiledStep, plain: str, function: Function, given: Mapping[str, Array]
) -> Mapping[str, Any]:
    """One call, of the function that is called so in any batch size; the outputs by name."""
    if any(x.role == "gradient" for x in function.arguments):
        return _update(optimizer, function, given)
    if plain == EVALUATE:
        return optimizer.evaluate(**given)
    return optimizer.predict(**given) if plain == PREDICT else optimizer.train_step(**given)


def _update(
    optimizer: CompiledStep, function: Function, given: Mapping[str, Array]
) -> Mapping[str, Array]:
    """A step, or one phase of it."""
    sums = partials_of(function)
    gradients = {name: x for name, x in given.items() if name not in sums}
    if not is_phase(function):
        optimizer.step(gradients, function=function.name)
        return {}
    step = step_of(function.name)
    if not sums:
        (name,) = (result.name for result in function.results)
        return {name: optimizer.reduce(gradients, function=step)}
    (name,) = sums
    optimizer.apply(gradients, given[name], function=step)
    return {}


def _partials(
    optimizer: CompiledStep, function: Function, gradients: Mapping[str, Array]
) -> dict[str, Array]:
    """What a second phase is given by the first."""
    step = step_of(function.name)
    return {name: optimizer.reduce(gradients, function=step) for name in partials_of(function)}


def _read(optimizer: CompiledStep, variable: Variable) -> Any:
    """Numbers of the host as they are kept, unrounded."""
    if variable.storage == "host":
        return optimizer.read_number(variable.name)
    return optimizer.variables[variable.name]


def _deviation(
    kind: str, result: Result, before: Array, got: Array, bounded: Bounded, step: int
) -> Deviation:
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(np.float64) - bounded.value)
        same = (got == bounded.value) | (np.isnan(got) & np.isnan(bounded.value))
        off = np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))
        of_bound = np.where(off == 0, 0.0, off / bounded.error)
        size = np.maximum(np.abs(before.astype(np.float64)), np.abs(bounded.value))
        unit = UNIT.get(result.node.dtype.name, 1.0) * np.maximum(size, TINY)
        ulp = np.where(off == 0, 0.0, off / unit)
    index = int(np.argmax(of_bound))
    return Deviation(
        kind=kind,
        elements=off.size,
        ulp=float(ulp.max()),
        of_bound=float(of_bound.flat[index]),
        unbounded=int(np.isinf(bounded.error).sum()),
        worst=f"{result.name} [{index}] in step {step + 1}",
    )


def _worse(old: Deviation | None, new: Deviation) -> Deviation:
    if old is None:
        return new
    kept = new if new.of_bound > old.of_bound else old
    return Deviation(
        kind=old.kind,
        elements=old.elements + new.elements,
        ulp=max(old.ulp, new.ulp),
        of_bound=kept.of_bound,
        unbounded=old.unbounded + new.unbounded,
        worst=kept.worst,
    )


def _first_parameters(manifest: Manifest, seed: int, length: int | None) -> dict[str, Array]:
    """length: of the one parameter of an artifact of any length, which is called as its pattern."""
    generator = np.random.default_rng((seed, 0))
    if length is not None:
        manifest = define(manifest, {PATTERN: (length,)})
    return {
        variable.name: _normal(generator, variable)
        for variable in manifest.variables
        if variable.role == "parameter"
    }


def random_arguments(
    function: Function, manifest: Manifest, step: int, seed: int
) -> dict[str, Array]:
    """Gradients and inputs of a call by name: floats of ordinary size; whole numbers are 0 or 1,
    which are in range."""
    generator = np.random.default_rng((seed, step + 1))
    return {
        x.name: _normal(generator, x)
        if as_dtype(x.dtype).is_float
        else generator.integers(0, 2, x.shape).astype(as_dtype(x.dtype).numpy)
        for x in logical_arguments(function, manifest)
        if x.role in ("gradient", "input")
    }


def _normal(generator: np.random.Generator, like: Variable | Argument) -> Array:
    values = generator.standard_normal(like.shape, dtype=np.float32)
    return np.asarray(values).astype(as_dtype(like.dtype).numpy)
