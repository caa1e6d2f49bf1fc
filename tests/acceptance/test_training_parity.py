"""The first 50 steps of the digit examples on each backend, against the evaluator in float64.

What is allowed. An example's loss moves by at most twice as much as its logits, and those go
through a few layers, each of which adds up n products. The roundings of such a sum are as often up
as down, so that they add up to about sqrt(n) halves of an ULP of its largest terms (Higham and
Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019, which also gives all n of
them as the most). So a loss may be off by as many ULP of the largest logit as the square roots of
all layers' n sum up to: 24 for the MLP, 46 for the CNN. On Vulkan an operation may be a whole
ULP off instead of half of one, which allows twice that. exp and log come after the sums and are of
numbers around 1: 8 ULP more.

Over several steps. A run feeds its roundings back into the weights. Of the MLP each step adds as
much again, which allows k times as much after k steps. The CNN has no such bound: it decides
10^7 times in 50 steps whether a number is above 0, and one of them that is within a rounding of 0
changes a whole gradient; in float64 alone, rounding the weights to float32 after each step makes
the losses differ by 1 % after 50 of them. So each of its steps is compared by itself, from the
state that the device is in. A decision that falls the other way moves a gradient by about a
hundredth of its length, a mistake by about its length; a sixteenth is allowed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge.frontend.reference import ReferenceStep
from stepforge.runtime import CompiledStep

from .digits import batches, compiled
from .places import CPU, VMVX, VULKAN, Place, at

pytestmark = pytest.mark.compiler

STEPS = 50
FEW = 8
"""For software Vulkan, which takes seconds for each."""
ULP = 2.0**-23
LAYERS = {"mlp": (64, 64, 64), "cnn": (9, 144, 512, 64)}
"""How many products each number of a layer adds up."""
FUNCTIONS = 8 * ULP
EVERY = 7
"""Of the CNN's steps, so many go by for one whose gradients are compared, which takes longer."""


def allowed(model: str, place: Place, logits: Any) -> float:
    sums = sum(np.sqrt(LAYERS[model])) * ULP * (2 if place is VULKAN else 1)
    return float(sums * max(1.0, np.abs(logits).max()) + FUNCTIONS)


def synchronise(reference: ReferenceStep, step: CompiledStep) -> None:
    """Give the reference the state of the device."""
    for spec in reference.program.variables:
        value = step.variables[spec.name]
        host = spec.storage == "host"
        wide = np.float64 if spec.dtype.is_float else spec.dtype.numpy
        reference.variables[spec.name] = value.item() if host else value.astype(wide)


def run_free(model: str, place: Place, steps: int, size: int) -> None:
    """Losses of two runs that go their own ways from the same first state."""
    made = compiled(model, place.target, size)
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    losses: list[float] = []
    worst = 0.0
    with made.load(device=place.device) as step:
        step.initialize()
        for k, batch in enumerate(batches(steps, size), start=1):
            logits = reference.step({"image": batch["image"]}, "predict")["logits"]
            expected = float(reference.step(batch, "train_step")["loss"])
            losses.append(step.train_step(**batch)["loss"])
            share = abs(losses[-1] - expected) / (k * allowed(model, place, logits))
            worst = max(worst, share)
            assert share <= 1, k
    print(f"{model} on {place.target}: {worst:.2f} of what is allowed in {steps} steps")
    if steps == STEPS:
        assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


@pytest.mark.parametrize("place", at((CPU, VULKAN)))
def test_mlp(place: Place) -> None:
    run_free("mlp", place, STEPS, 64)


def test_small_mlp_on_vmvx() -> None:
    run_free("mlp", VMVX, STEPS, 16)


def test_small_cnn_on_vmvx() -> None:
    run_free("cnn", VMVX, 3, 4)


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        pytest.param(CPU, STEPS, id="cpu"),
        pytest.param(VULKAN, FEW, id="vulkan", marks=pytest.mark.vulkan),
        pytest.param(VULKAN, STEPS, id="vulkan-long", marks=(pytest.mark.vulkan, pytest.mark.slow)),
    ],
)
def test_cnn(place: Place, steps: int) -> None:
    size = 32
    made = compiled("cnn", place.target, size)
    reference = ReferenceStep(made.program, "float64")
    losses: list[float] = []
    logits = np.zeros(0)
    worst = 0.0
    with made.load(device=place.device) as step:
        step.initialize()
        for k, batch in enumerate(batches(steps, size)):
            synchronise(reference, step)
            whole = k % EVERY == 0
            if whole:  # they grow, so that later steps are allowed too little
                logits = reference.step({"image": batch["image"]}, "predict")["logits"]
            expected = reference.step(batch, "train_step" if whole else "evaluate")["loss"]
            losses.append(step.train_step(**batch)["loss"])
            share = abs(losses[-1] - float(expected)) / allowed("cnn", place, logits)
            worst = max(worst, share)
            assert share <= 1, k
            if whole:
                assert_same_updates(reference, step)
    print(f"cnn on {place.target}: {worst:.2f} of what is allowed in {steps} steps")
    if steps == STEPS:
        assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def assert_same_updates(reference: ReferenceStep, step: CompiledStep) -> None:
    """The moments are the gradients and their squares, and what was before."""
    slots = [path for path in reference.variables if path.endswith("_moment")]
    assert len(slots) == 16
    for path in slots:
        exact = reference.variables[path]
        off = np.linalg.norm(step.variables[path] - exact)
        assert off <= np.linalg.norm(exact) / 16, path
    for spec in reference.program.variables:
        if spec.role == "parameter":
            exact = reference.variables[spec.name]
            off = np.linalg.norm(step.variables[spec.name] - exact)
            assert off <= np.linalg.norm(exact) / 1024, spec.name
