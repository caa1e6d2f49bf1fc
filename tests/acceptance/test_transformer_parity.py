"""The character transformer's losses, compiled in float32, against the evaluator in float64.

Both take the same batches from the same first weights, each on its own. Why their losses may drift
apart, and how far, says `Budget`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.reference import ReferenceStep
from support.example import load_example, transformer_artifact

from .places import CPU, VMVX, VULKAN, Place, at

pytestmark = pytest.mark.compiler

BETA1 = 0.9
LOSS, GRADIENT = 2e-6, 1e-5
"""How wrong float32 makes a loss, and a gradient relative to its norm.

The first is 32 units of 2^-24: of a logit of 64 terms sqrt(64), on each of two layers and the head,
and of the mean. The second is that of test_torch_models.py.
"""
SMALL = {"LAYERS": 1, "HEADS": 2, "WIDTH": 16, "WARM_UP": 4}
SMALL_SHAPE = (4, 16)


@dataclass(slots=True)
class Budget:
    """What the losses may differ by: their own rounding, and that of all updates before.

    Adam moves an element with gradient g by lr * u(g), |u| <= 1 about. With a gradient that is d
    off, the step is off by 2 * lr * min(1, d / |g|) at most: relatively as wrong as the gradient,
    where it is clear of rounding, and wholly wrong where it is not. To the loss that matters by g
    times as much, so by no more than 2 * lr * d either way. Over all n elements the sum of d is at
    most sqrt(n) times the norm of the error, which is GRADIENT times the norm G of the gradient:

        |difference| <= LOSS * loss + sum over the steps before of 2 * sqrt(n) * GRADIENT * lr * G

    to first order in lr. G comes from Adam's first moment in float64, a mean of gradients.
    """

    elements: int
    drift: float = 0.0

    def update(self, reference: ReferenceStep, number: int) -> None:
        values = reference.variables
        moments = [v for path, v in values.items() if path.endswith("_1st_moment")]
        norm = math.sqrt(sum(float(np.square(m).sum()) for m in moments)) / (1 - BETA1**number)
        rate = float(values["/optimizers/learning_rate"])
        self.drift += 2.0 * math.sqrt(self.elements) * GRADIENT * rate * norm

    def allowed(self, loss: float) -> float:
        return LOSS * loss + self.drift


def small() -> ModuleType:
    example = load_example("char_transformer")
    for name, size in SMALL.items():
        assert hasattr(example, name)
        setattr(example, name, size)
    return example


def compare(made: Artifact, example: ModuleType, place: Place, steps: int) -> None:
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    tokens = example.encode(example.TEXT)
    parameters = [v for v in made.manifest.variables if v.role == "parameter"]
    budget = Budget(sum(math.prod(v.shape) for v in parameters))
    losses: list[float] = []
    worst = allowed = 0.0
    with made.load(device=place.device) as step:
        step.initialize()
        shape = example.batch_shape(step)
        for number, batch in enumerate(example.batches(tokens, shape, steps, 1), start=1):
            expected = float(reference.step(batch, "train_step")["loss"])
            got: dict[str, Any] = step.train_step(**batch)
            losses.append(expected)
            allowed = budget.allowed(expected)
            worst = max(worst, abs(got["loss"] - expected) / allowed)
            assert abs(got["loss"] - expected) <= allowed, (number, got["loss"], expected)
            budget.update(reference, number)
        assert step.learning_rate == pytest.approx(reference.variables["/optimizers/learning_rate"])
    # Or the steps would not have mattered; during the warm-up, batches differ by more.
    assert steps <= 4 or losses[-1] < losses[0]
    print(f"{place.target}: {worst:.2g} of {allowed:.2g}, loss {losses[0]:.4f} to {losses[-1]:.4f}")


def test_the_first_steps() -> None:
    compare(transformer_artifact("cpu"), load_example("char_transformer"), CPU, 8)


@pytest.mark.parametrize("place", at([VULKAN, VMVX]))
def test_the_first_steps_of_a_small_one(place: Place) -> None:
    example = small()
    batch, context = SMALL_SHAPE
    made = example.compile_for(place.target, batch=batch, context=context)
    compare(made, example, place, 3 if place is VMVX else 8)


@pytest.mark.slow
@pytest.mark.parametrize("place", at([CPU, VULKAN]))
def test_fifty_steps(place: Place) -> None:
    compare(transformer_artifact(place.target), load_example("char_transformer"), place, 50)
