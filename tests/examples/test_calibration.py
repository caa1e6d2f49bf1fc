"""Calibration: monotone after every step, near the truth, and not so without the projection."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend.reference import ReferenceStep
from support.example import load_example, needed_imports

EPOCHS = {"cpu": 30, "vulkan": 3, "vmvx": 3}
TARGETS = ["cpu", pytest.param("vulkan", marks=pytest.mark.vulkan), "vmvx"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_example("calibration")


def test_training_needs_numpy_and_the_runtime(example: ModuleType) -> None:
    assert needed_imports("calibration") == {"numpy", "stepforge.runtime"}


def test_the_truth_rises(example: ModuleType) -> None:
    assert (np.diff(example.truth(np.linspace(0, 1, 100))) > 0).all()
    assert len(list(example.batches(example.measure(), 1))) == example.POINTS // example.BATCH


@pytest.mark.compiler
@pytest.mark.parametrize("target", TARGETS)
def test_it_rises_after_every_step(example: ModuleType, target: str) -> None:
    """`check_monotone` looks after each step; the float64 evaluator takes the first of them too."""
    made = example.compile_for(target)
    heights: list[np.ndarray] = []

    def keep(trainer: runtime.Trainer, event: object) -> None:
        example.check_monotone(trainer, event)
        if isinstance(event, runtime.StepEnd):
            heights.append(trainer.step.parameters["heights"])

    with made.load() as step:
        history = example.train(step, EPOCHS[target], callbacks=(keep,), progress=False)
        steps = EPOCHS[target] * example.POINTS // example.BATCH
        assert len(heights) == len(history) == steps
        assert np.diff(heights, axis=1).min() >= 0.99 * example.MARGIN
        if EPOCHS[target] == 30:
            assert np.mean(history["loss"][-20:]) < 0.15 * history["loss"][0]
            assert example.error(step) < example.NOISE / 5
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    for number, batch in enumerate(example.batches(example.measure(), 1)):
        reference.step(batch, "train_step")
        # Adam's steps are at most about the rate, 0.02, and relatively as wrong as the gradient:
        # 1e-6 where float32 sums 32 points, 1e-5 where they almost cancel. 20 steps make 4e-6.
        np.testing.assert_allclose(heights[number], reference.variables["/heights"], atol=1e-5)


@pytest.mark.compiler
def test_without_the_projection_it_does_not(example: ModuleType) -> None:
    with example.compile_for("cpu", monotone=False).load() as step:
        example.train(step, 3, callbacks=(), progress=False)
        assert np.diff(step.parameters["heights"]).min() < 0.0
        with pytest.raises(example.NotMonotoneError, match="step 1"):
            example.train(step, 1, progress=False)
