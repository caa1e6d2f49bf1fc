"""AdamW over a real model: from its safetensors file to four artifacts and 20 steps.

22.7 million parameters in 103 tensors, from the command that a user types to float64's answer.
"""

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from oracles import formulas
from oracles.bars import DECAY, DIRECTION, MOMENT1, MOMENT2, ROUNDING, TINY, ULP, Backend
from oracles.settings import settings_for
from stepforge import frontend, runtime
from stepforge.frontend.reference import ReferenceStep

from .places import CPU, VULKAN, Place, at

pytestmark = [pytest.mark.compiler, pytest.mark.minilm]

TARGETS = ("cpu", "vulkan", "cuda", "vmvx")
STEPS, SEED = 20, 20_250_302
SETTINGS = settings_for("adamw")
SLOTS: Mapping[str, str] = {"m": "1st_moment", "v": "2nd_moment"}
STRIDE = 65_537
"""How far the gradients of one step lie from those of the step before."""
PIECE = 8_192
"""So many elements stay in the processor's cache for all 20 steps of the reference."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Written:
    """What the command left behind."""

    folder: Path
    done: subprocess.CompletedProcess[str]

    def artifact(self, target: str) -> Path:
        return self.folder / f"adamw.{target}.vmfb"


@dataclass(frozen=True, slots=True)
class Training:
    """The model's own weights, and seeded gradients: windows of one long array.

    Their sizes go from 1e-6 to 10, and from one step to the next an element meets new ones.
    """

    weights: Mapping[str, Array]
    noise: Array

    def places(self) -> Iterator[tuple[str, int]]:
        """Each tensor's name and where its elements start, all tensors laid end to end."""
        start = 0
        for name, weight in self.weights.items():
            yield name, start
            start += weight.size

    def gradients(self, t: int) -> dict[str, Array]:
        return {
            name: self.window(start, self.weights[name].size, t).reshape(self.weights[name].shape)
            for name, start in self.places()
        }

    def window(self, start: int, size: int, t: int) -> Array:
        first = start + (t - 1) * STRIDE
        return self.noise[first : first + size]


@pytest.fixture(scope="module")
def written(minilm_parameters: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("minilm")
    command = [str(Path(sys.executable).with_name("compile-optimizer")), "adamw"]
    command += ["--params", str(minilm_parameters)]
    for target in TARGETS:
        command += ["--target", target]
    done = subprocess.run([*command, "-o", f"{folder}/"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Written(folder, done)


@pytest.fixture(scope="module")
def training(minilm_parameters: Path) -> Training:
    stored = load_file(minilm_parameters)
    weights = {name: values for name, values in stored.items() if values.dtype == np.float32}
    count = sum(values.size for values in weights.values()) + (STEPS - 1) * STRIDE
    noise = np.random.default_rng(SEED).standard_normal(count, dtype=np.float32)
    noise *= np.resize(np.logspace(-6.0, 1.0, 1_024).astype(np.float32), count)
    return Training(weights, noise)


@pytest.fixture(scope="module")
def exact(training: Training) -> dict[str, dict[str, Array]]:
    """Parameters and slots after 20 steps in float64, by tensor."""
    return {name: course(training, name, start) for name, start in training.places()}


def course(training: Training, name: str, start: int) -> dict[str, Array]:
    first = training.weights[name].reshape(-1)
    after = {key: np.empty(first.size) for key in ("parameter", "m", "v")}
    for begin in range(0, first.size, PIECE):
        here = slice(begin, min(begin + PIECE, first.size))
        p = first[here].astype(np.float64)
        slots = {slot: np.zeros(p.size) for slot in SETTINGS.slots}
        for t in range(1, STEPS + 1):
            gradient = training.window(start + begin, p.size, t)
            update = formulas.step(SETTINGS, p, gradient, slots, t)
            p, slots = update.parameter, update.slots
        for key, values in {"parameter": p, **slots}.items():
            after[key][here] = values
    return after


def largest_ratio() -> float:
    """How large |m^| / sqrt(v^) can get in 20 steps, by Cauchy-Schwarz, whatever the gradients.

    m^ and v^, corrected, are weighted means of g and g^2: the bound is sqrt(sum(w1^2 / w2)).
    """
    most = 0.0
    for t in range(1, STEPS + 1):
        age = np.arange(t)
        w1, w2 = (b**age / (b**age).sum() for b in (SETTINGS.beta1, SETTINGS.beta2))
        most = max(most, math.sqrt(float((w1**2 / w2).sum())))
    return most


def allowed(exact: Mapping[str, Array], bars: Backend) -> dict[str, Array]:
    """What 20 steps may err by, from the bars of one step (tests/oracles/bars.py).

    Write A for the moving average of |g|, which bounds |m|, and in which every bar weighted by
    kappa is a plain factor. Each step adds at most MOMENT1 ULP of A to the error of m, and MOMENT2
    ULP to the relative error of v, which never shrinks faster than v: after t steps they are t
    times that. In q the error that v brought from before counts half, through the root. So step t
    moves p wrongly by at most

        ((t - 1) * (MOMENT1 + MOMENT2 / 2) + DIRECTION) ULP of lr * largest_ratio()

    beside the rounding of p itself and of its decay. The sum over 20 steps, on a CPU: 10 ULP of p
    and 605 ULP of 1.16 lr; on Vulkan 20 ULP of p and 1,290 ULP of 1.16 lr.
    """
    rate, decay = SETTINGS.learning_rate, SETTINGS.learning_rate * SETTINGS.weight_decay
    ratio, rounding = largest_ratio(), ROUNDING[bars].fixed
    inherited = MOMENT1[bars].moment + MOMENT2[bars].fixed / 2
    steps = sum((t - 1) * inherited + DIRECTION["adamw"][bars].ulp for t in range(1, STEPS + 1))
    size = np.abs(exact["parameter"]) + STEPS * ratio * rate
    of_size = STEPS * (rounding + (DECAY[bars].fixed + rounding) * decay)
    of_rate = (steps + STEPS * rounding) * ratio
    b1, b2 = (formulas.bias_correction(b, STEPS) for b in (SETTINGS.beta1, SETTINGS.beta2))
    average = ratio * b1 * np.sqrt(exact["v"] / b2)
    return {
        "parameter": ULP * (of_size * size + of_rate * rate),
        "m": STEPS * (MOMENT1[bars].moment * ULP * average + 5.0 * TINY),
        "v": STEPS * (MOMENT2[bars].fixed * ULP * exact["v"] + 5.0 * TINY),
    }


def test_one_command_writes_four_artifacts(written: Written, training: Training) -> None:
    files = {written.artifact(target) for target in TARGETS}
    assert set(written.folder.iterdir()) == files
    assert len(written.done.stdout.splitlines()) == len(TARGETS)
    assert "embeddings.position_ids" in written.done.stderr  # integers: said, and left out
    for target in TARGETS:
        manifest = runtime.read_artifact(written.artifact(target)).manifest
        assert [row.name for row in manifest.targets] == [target]
        shapes = {v.name: v.shape for v in manifest.variables if v.role == "parameter"}
        assert shapes == {f"/{name}": x.shape for name, x in training.weights.items()}
        assert len(shapes) == 103


@pytest.mark.parametrize("place", at([CPU, VULKAN]))
def test_twenty_steps_agree_with_float64(
    place: Place, written: Written, training: Training, exact: Mapping[str, Mapping[str, Array]]
) -> None:
    with runtime.load(written.artifact(place.target)) as step:
        step.initialize(training.weights)
        for t in range(1, STEPS + 1):
            step.step(training.gradients(t))
        assert step.global_step == STEPS
        for name, reference in exact.items():
            budget = allowed(reference, place.bars)
            paths = {"parameter": f"/{name}"}
            paths |= {slot: f"/AdamOptimizer/{name}_{kind}" for slot, kind in SLOTS.items()}
            for key, path in paths.items():
                error = np.abs(step.variables[path].reshape(-1) - reference[key])
                assert (error <= budget[key]).all(), (path, float((error / budget[key]).max()))
            assert (step.parameters[name] != training.weights[name]).mean() > 0.99, name


def test_the_evaluator_takes_the_same_steps(
    training: Training, exact: Mapping[str, Mapping[str, Array]]
) -> None:
    """In float64, on the tensors of one dimension; the reference above is the oracles' formula."""
    names = [name for name, weight in training.weights.items() if weight.ndim == 1]
    context = frontend.Context()
    for name in names:
        context.variable(name, training.weights[name].shape, "float32")
    step = ReferenceStep(frontend.trace(frontend.AdamW(), context), "float64")
    step.initialize({name: training.weights[name] for name in names})
    for t in range(1, STEPS + 1):
        gradients = training.gradients(t)
        step.step({name: gradients[name] for name in names})
    for name in names:
        got, reference = step.variables[f"/{name}"], exact[name]["parameter"]
        assert np.abs(got - reference).max() <= 1e-13 * np.abs(reference).max(), name
