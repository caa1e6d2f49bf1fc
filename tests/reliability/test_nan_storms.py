"""R11: storms of NaN and infinity, for a thousand steps, under each policy that there is.

`propagate`, the default, does as IEEE does and keeps the bookkeeping right; `skip_nonfinite`
changes no bit but the count of skipped steps, so that the run after the storm is that of one that
never saw it; `clip_nan` holds back the elements that are not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import KNOWN_OPTIMIZERS, Context, compile_optimizer
from stepforge.frontend.build.artifact import Artifact
from stepforge.runtime.step import CompiledStep
from support.programs import draw

pytestmark = pytest.mark.compiler

SHAPES: Mapping[str, tuple[int, ...]] = {"w": (33, 7), "b": (5,)}
COUNT = "/optimizers/skipped_steps"
Arrays = dict[str, NDArray[Any]]


def everything(value: float) -> Callable[[Arrays, int], None]:
    def storm(gradients: Arrays, t: int) -> None:
        for array in gradients.values():
            array[...] = value

    return storm


def one_element(gradients: Arrays, t: int) -> None:
    """A different one each time, in the last but one as in the first variable."""
    flat = gradients[list(gradients)[t % 2]].reshape(-1)
    flat[t % flat.size] = np.nan


def alternating(gradients: Arrays, t: int) -> None:
    for array in gradients.values():
        array.reshape(-1)[::2] = (np.nan, np.inf, -np.inf)[t % 3]


STORMS: Mapping[str, Callable[[Arrays, int], None]] = {
    "all NaN": everything(np.nan),
    "all infinite": everything(np.inf),
    "all minus infinite": everything(-np.inf),
    "one element": one_element,
    "alternating": alternating,
}
PLACES: list[Any] = [
    pytest.param("cpu", id="cpu"),
    pytest.param("vulkan", id="vulkan", marks=pytest.mark.vulkan),
]
DTYPES = {"cpu": ("float32", "float16", "bfloat16", "float64"), "vulkan": ("float32",)}
SOAK = [
    pytest.param(target.values[0], dtype, id=f"{target.id}-{dtype}", marks=target.marks)
    for target in PLACES
    for dtype in DTYPES[str(target.id)]
]


@cache
def artifact(name: str, target: str, dtype: str, policy: str) -> Artifact:
    context = Context()
    if policy != "propagate":
        context.set_params({policy: True})
    optimizer = KNOWN_OPTIMIZERS[name](context)
    parameters = {k: (v, dtype) for k, v in SHAPES.items()}
    return compile_optimizer(optimizer, parameters, target=target, context=context)


def gradients(seed: int, dtypes: Mapping[str, Any]) -> Arrays:
    drawn = draw(seed, SHAPES, "float32")
    return {name: np.array(value, dtypes[name]) for name, value in drawn.items()}


def dtypes_of(step: CompiledStep) -> dict[str, Any]:
    return {name: array.dtype for name, array in step.gradients.items()}


def bits(step: CompiledStep) -> dict[str, bytes]:
    return {path: v.tobytes() for path, v in step.snapshot().values.items() if path != COUNT}


def started(step: CompiledStep) -> dict[str, Any]:
    dtypes = dtypes_of(step)
    initial = {k: np.asarray(v, step.variables[f"/{k}"].dtype) for k, v in ones(step).items()}
    step.initialize(initial)
    return dtypes


def ones(step: CompiledStep) -> Arrays:
    first = {v.name[1:]: v for v in step.manifest.variables if v.role == "parameter"}
    made = {name: draw(1, {name: v.shape}, "float32")[name] for name, v in first.items()}
    step.initialize({n: np.array(x, step.gradients[n].dtype) for n, x in made.items()})
    return made


def skip(name: str, target: str, dtype: str, steps: int) -> None:
    """Ten steps, a storm of each kind, ten steps; beside it a run without any storm."""
    made = artifact(name, target, dtype, "skip_nonfinite")
    with made.load() as stormy, made.load() as calm:
        dtypes = started(stormy)
        started(calm)
        for t in range(10):
            for step in (stormy, calm):
                step.step(gradients(t, dtypes))
        before = bits(stormy)
        assert before == bits(calm)
        skipped = 0
        for storm in STORMS.values():
            given = gradients(99, dtypes)
            for t in range(steps // len(STORMS)):
                bad = {k: v.copy() for k, v in given.items()}
                storm(bad, t)
                stormy.step(bad)
                skipped += 1
            assert bits(stormy) == before
        assert int(stormy.variables[COUNT]) == skipped
        assert stormy.global_step == 10
        for t in range(10, 20):
            for step in (stormy, calm):
                step.step(gradients(t, dtypes))
        assert bits(stormy) == bits(calm)


@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_skipped_steps_never_were(name: str, target: str) -> None:
    skip(name, target, "float32", 1000 if target == "cpu" else 20)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), SOAK)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_skipped_steps_never_were_for_all(name: str, target: str, dtype: str) -> None:
    skip(name, target, dtype, 1000)


def propagate(name: str, target: str, dtype: str, steps: int) -> None:
    """What a NaN touches is NaN and nothing else is; counters count; a new state is sound."""
    made = artifact(name, target, dtype, "propagate")
    with made.load() as step, made.load() as calm:
        dtypes = started(step)
        started(calm)
        given = gradients(5, dtypes)
        bad = {k: v.copy() for k, v in given.items()}
        bad["w"][3, 2] = np.nan
        for _ in range(10):
            step.step(bad)
            calm.step(given)
        touched = np.isnan(step.parameters["w"].astype(np.float32))
        assert touched[3, 2]
        assert touched.sum() == 1
        same = ~touched
        for path in ("w", "b"):
            got, expected = step.parameters[path], calm.parameters[path]
            keep = same if path == "w" else ...
            assert got[keep].tobytes() == expected[keep].tobytes()
        assert step.global_step == calm.global_step == 10
        for kind in STORMS.values():
            for t in range(steps // len(STORMS)):
                kind(bad, t)
                step.step(bad)
        assert step.global_step == 10 + steps
        started(step)
        started(calm)
        for t in range(5):
            step.step(gradients(t, dtypes))
            calm.step(gradients(t, dtypes))
        assert bits(step) == bits(calm)


@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_by_default_a_nan_stays_where_it_fell(name: str, target: str) -> None:
    propagate(name, target, "float32", 1000 if target == "cpu" else 20)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), SOAK)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_by_default_a_nan_stays_where_it_fell_for_all(name: str, target: str, dtype: str) -> None:
    propagate(name, target, dtype, 1000)


def clip(name: str, target: str, dtype: str, steps: int) -> None:
    """`clip_nan`: parameters stay finite through any storm."""
    with artifact(name, target, dtype, "clip_nan").load() as step:
        dtypes = started(step)
        for storm in STORMS.values():
            for t in range(steps // len(STORMS)):
                given = gradients(t % 7, dtypes)
                storm(given, t)
                step.step(given)
            for value in step.parameters.values():
                assert np.isfinite(value.astype(np.float64)).all()


@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_clipped_steps_stay_finite(name: str, target: str) -> None:
    clip(name, target, "float32", 1000 if target == "cpu" else 20)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), SOAK)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_clipped_steps_stay_finite_for_all(name: str, target: str, dtype: str) -> None:
    clip(name, target, dtype, 1000)


def test_one_in_a_million_is_found() -> None:
    """A gradient of a million elements, of which one is NaN, at the places where tiles end."""
    size = 10**6
    context = Context()
    context.set_params({"skip_nonfinite": True})
    optimizer = KNOWN_OPTIMIZERS["sgd"](context)
    made = compile_optimizer(optimizer, {"w": ((size,), "float32")}, context=context)
    with made.load() as step:
        step.initialize({"w": np.ones(size, np.float32)})
        before = bits(step)
        own = step.gradients["w"]
        places = (0, 1, 4095, 4096, 65535, 65536, size // 2, size - 17, size - 1)
        for place in places:
            own[...] = 0.25
            own[place] = np.nan
            step.step()
            assert bits(step) == before, place
        assert int(step.variables[COUNT]) == len(places)
        own[...] = 0.25
        step.step()
        assert bits(step) != before
