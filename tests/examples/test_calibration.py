"""Calibration: monotone after every step, near the truth, and not so without the projection."""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend.program import Program
from stepforge.frontend.reference import ReferenceStep
from support.example import load_example, needed_imports

COMPARED = 50
ULP = 2.0**-23
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
    """`check_monotone` looks after each step; the float64 evaluator takes 50 of them too."""
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
    assert_close_to_the_exact_run(example, made.program, heights, history["loss"])


def assert_close_to_the_exact_run(
    example: ModuleType, program: Program, heights: list[np.ndarray], losses: list[float]
) -> None:
    """The first 50 steps, against a float64 run of its own.

    Adam's steps are at most about the rate, and as wrong as the gradient, relatively: 1e-6 where
    float32 sums 32 points, 1e-5 where they almost cancel. The projection brings no two curves
    farther apart. So after k steps heights are k * rate * 1e-5 off at most, and what their own
    roundings to float32 add up to, which are as often up as down: sqrt(50) halves of an ULP, 4. A
    loss is off by 2 * sqrt(loss) times what the heights before the step are off, and by 6 ULP for
    its sum of 32 terms.
    """
    reference = ReferenceStep(program, "float64")
    reference.initialize()
    points, worst = example.measure(), 0.0
    batches = itertools.chain.from_iterable(example.batches(points, n) for n in itertools.count(1))
    for k, batch in enumerate(itertools.islice(batches, COMPARED)):
        loss = float(reference.step(batch, "train_step")["loss"])
        before, after = ((n * example.RATE * 1e-5 + 4 * ULP) for n in (k, k + 1))
        exact = reference.variables["/heights"]
        shares = (
            np.abs(heights[k] - exact).max() / after,
            abs(losses[k] - loss) / (2 * np.sqrt(loss) * before + 6 * ULP * loss),
        )
        assert max(shares) <= 1, (k, shares)
        worst = max(worst, *shares)
    print(f"calibration: {worst:.2f} of what is allowed in {COMPARED} steps")


@pytest.mark.compiler
def test_without_the_projection_it_does_not(example: ModuleType) -> None:
    with example.compile_for("cpu", monotone=False).load() as step:
        example.train(step, 3, callbacks=(), progress=False)
        assert np.diff(step.parameters["heights"]).min() < 0.0
        with pytest.raises(example.NotMonotoneError, match="step 1"):
            example.train(step, 1, progress=False)
