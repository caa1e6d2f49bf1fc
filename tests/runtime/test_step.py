"""Stepping: the numbers are right, in place, and every accessor says what it should."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime.manifest import Initializer
from stepforge.runtime.step import CompiledStep
from support import handmade, variants

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
Arrays = dict[str, Array]


def adam_step(state: dict[str, Arrays], gradients: Arrays, t: int, rate: float = 0.001) -> None:
    """The same update in float64."""
    for name, gradient in gradients.items():
        g = gradient.astype(np.float64)
        m = state["m"][name] = 0.9 * state["m"][name] + 0.1 * g
        v = state["v"][name] = 0.999 * state["v"][name] + 0.001 * g * g
        scale = rate / (1 - 0.9**t)
        q = scale * m / (np.sqrt(v) / np.sqrt(1 - 0.999**t) + 1e-7)
        state["p"][name] = state["p"][name] - q


def test_follows_the_formula(anywhere: CompiledStep, parameters: Arrays, gradients: Arrays) -> None:
    zeros = {name: np.zeros(a.shape) for name, a in parameters.items()}
    state = {
        "p": {name: a.astype(np.float64) for name, a in parameters.items()},
        "m": dict(zeros),
        "v": dict(zeros),
    }
    for t in range(1, 6):
        anywhere.step(gradients)
        adam_step(state, gradients, t)
    for name, expected in state["p"].items():
        np.testing.assert_allclose(anywhere.parameters[name], expected, rtol=2e-6)
        moment = anywhere.variables[f"/AdamOptimizer/{name}_1st_moment"]
        np.testing.assert_allclose(moment, state["m"][name], rtol=2e-6)
    assert anywhere.global_step == 5


def test_given_and_own_gradients_are_the_same(
    anywhere: CompiledStep, parameters: Arrays, gradients: Arrays
) -> None:
    anywhere.step(gradients)
    expected = handmade.snapshot(anywhere)
    anywhere.initialize(parameters)
    for name, array in gradients.items():
        anywhere.gradients[name][...] = array
    anywhere.step()
    assert handmade.snapshot(anywhere) == expected


def test_learning_rate_counts_from_the_next_step(anywhere: CompiledStep, gradients: Arrays) -> None:
    before = anywhere.parameters["w"]
    anywhere.learning_rate = 0.0
    anywhere.step(gradients)
    np.testing.assert_array_equal(anywhere.parameters["w"], before)
    anywhere.learning_rate = 0.5
    assert anywhere.learning_rate == 0.5
    anywhere.step(gradients)
    assert np.abs(anywhere.parameters["w"] - before).max() > 0.1


def test_assigning_a_parameter_leaves_the_rest(anywhere: CompiledStep, gradients: Arrays) -> None:
    anywhere.step(gradients)
    before = handmade.snapshot(anywhere)
    value = np.full((8, 4), 7, np.float32)
    anywhere.parameters["w"] = value
    after = handmade.snapshot(anywhere)
    assert after.pop("/w") == value.tobytes()
    before.pop("/w")
    assert after == before


def test_initialize_resets_everything(
    anywhere: CompiledStep, parameters: Arrays, gradients: Arrays
) -> None:
    fresh = handmade.snapshot(anywhere)
    anywhere.learning_rate = 0.5
    anywhere.step(gradients)
    anywhere.initialize(parameters)
    assert handmade.snapshot(anywhere) == fresh
    assert anywhere.learning_rate == 0.001
    assert anywhere.global_step == 0


def test_names_with_and_without_slash(step: CompiledStep, gradients: Arrays) -> None:
    assert list(step.parameters) == ["w", "b"]
    assert list(step.gradients) == ["w", "b"]
    np.testing.assert_array_equal(step.parameters["/w"], step.parameters["w"])
    np.testing.assert_array_equal(step.variables["w"], step.variables["/w"])
    assert step.gradients["/b"] is step.gradients["b"]
    assert "/w" in step.parameters
    assert "v" not in step.parameters
    step.step({f"/{name}": array for name, array in gradients.items()})
    assert step.global_step == 1


def test_variables_reach_everything(step: CompiledStep) -> None:
    assert list(step.variables) == [
        "/w",
        "/b",
        "/AdamOptimizer/w_1st_moment",
        "/AdamOptimizer/b_1st_moment",
        "/AdamOptimizer/w_2nd_moment",
        "/AdamOptimizer/b_2nd_moment",
        "/optimizers/learning_rate",
        "/global_step",
    ]
    assert step.variables["/global_step"].dtype == np.int64
    assert step.variables["/optimizers/learning_rate"].dtype == np.float32
    step.variables["/global_step"] = 41
    assert step.global_step == 41
    step.variables["/AdamOptimizer/b_1st_moment"] = np.ones(4, np.float32)
    assert step.variables["/AdamOptimizer/b_1st_moment"].sum() == 4


def test_reading_copies(step: CompiledStep) -> None:
    copied = step.parameters["w"]
    copied[...] = 0
    assert step.parameters["w"].any()


def test_view_is_the_memory_itself(step: CompiledStep, gradients: Arrays) -> None:
    view = step.view("w")
    before = view.copy()
    step.step(gradients)
    assert (view != before).all()
    np.testing.assert_array_equal(view, step.parameters["w"])
    assert view.ctypes.data % 64 == 0


@pytest.mark.vulkan
def test_no_view_of_device_memory(parameters: Arrays) -> None:
    with handmade.adam(target="vulkan").load() as step:
        step.initialize(parameters)
        with pytest.raises(runtime.HostMemoryError, match=r"read parameters\['w'\], which copies"):
            step.view("w")


def test_missing_arrays_come_from_initializers() -> None:
    initializer = Initializer("normal", seed=7, arguments=(1.0, 0.5))
    artifact = handmade.sgd()
    variables = tuple(
        dataclasses.replace(v, initializer=initializer) if v.name == "/b" else v
        for v in artifact.manifest.variables
    )
    with variants.with_manifest(artifact, variables=variables).load() as step:
        step.initialize({"w": np.zeros((8, 4), np.float32)})
        first = step.parameters["b"]
        assert np.unique(first).size == 4
        step.initialize({"w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)})
        assert not step.parameters["b"].any()
        with pytest.raises(runtime.InputError, match=r"missing: 'w'; not expected: none"):
            step.initialize()


def test_scalar_table(place: Any) -> None:
    with variants.table_artifact(place.target).load(device=place.device) as step:
        step.initialize({"w": np.zeros(6, np.float32)})
        step.learning_rate = 0.25
        for t in range(1, 4):
            step.step({"w": np.ones(6, np.float32)})
            assert step.global_step == t
        assert (step.parameters["w"] == -0.25 * (1 + 2 + 3)).all()


def test_two_entry_points(parameters: Arrays, gradients: Arrays) -> None:
    with variants.two_entry_points().load() as step:
        step.initialize(parameters)
        assert step.functions == ("slow", "fast")
        step.step({"b": gradients["b"]}, function="fast")
        np.testing.assert_array_equal(step.parameters["w"], parameters["w"])
        assert (step.parameters["b"] != parameters["b"]).all()
        assert step.global_step == 1
        with pytest.raises(runtime.InputError, match=r"several entry points.*'fast', 'slow'"):
            step.step(gradients)
        with pytest.raises(runtime.UnknownNameError, match=r"no entry point 'fist'.*'fast'"):
            step.step(gradients, function="fist")
        with pytest.raises(runtime.GradientError, match=r"missing: none; not expected: 'w'"):
            step.step(gradients, function="fast")
        assert step.global_step == 1
