"""A rule that measures its variable: LAMB's ratio of two norms, compiled, on every target.

Each variable has two reductions of its own, which nothing merges, and what reads them is all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from stepforge.frontend import (
    PARAM_LEARNING_RATE,
    Context,
    Float,
    Hyperparameters,
    Node,
    Optimizer,
    Parameters,
    Setting,
    Slot,
    Slots,
    compile_optimizer,
    initializers,
    ops,
)
from stepforge.frontend.emit import emit
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.trace import trace
from stepforge.passes.compile import stream_statistics

pytestmark = pytest.mark.compiler

TARGETS = ["cpu", pytest.param("vulkan", marks=pytest.mark.vulkan), "vmvx"]
# Sums of one level; of parts and a rest; of a prime number of terms, beside one without a rest.
SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "short": {"w": (30, 7), "b": (64,)},
    "long": {"w": (70_001,)},
    "longest": {"w": (1_000_003,), "b": (300, 400)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamb(Optimizer):
    """You et al., "Large Batch Optimization for Deep Learning", 2020, without bias correction.

    u = m' / (sqrt(v') + 1e-6) + 0.01 p, and the step is rate * |p| / |u| * u
    """

    learning_rate: Float = None
    scope: str = "Lamb"
    context_parameters: Parameters = field(default=(), repr=False)

    default_scope: ClassVar[str] = "Lamb"
    slots: ClassVar[tuple[Slot, ...]] = (
        Slot("m", "1st_moment"),
        Slot("v", "2nd_moment", range="square"),
    )
    counts_steps: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        return "lamb: a test's own"

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("learning_rate", PARAM_LEARNING_RATE, self.learning_rate, 0.01),)

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        m = 0.9 * slots["m"] + 0.1 * gradient
        v = 0.999 * slots["v"] + 0.001 * ops.square(gradient)
        u = m / (ops.sqrt(v) + 1e-6) + 0.01 * parameter
        of_parameter, of_update = (ops.sqrt(ops.reduce_sum(ops.square(x))) for x in (parameter, u))
        ratio = ops.where(of_parameter * of_update > 0.0, of_parameter / of_update, 1.0)
        return h["learning_rate"] * ratio * u, {"m": m, "v": v}


def draw(seed: int, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {k: generator.normal(size=v).astype(np.float32) for k, v in shapes.items()}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SHAPES)
def test_three_steps_are_within_rounding_of_float64(name: str, target: str) -> None:
    """A parameter is rounded once a step, and its change as the norms are.

    No sum has parts of more than 16,384 terms, nor more than as many parts: each square root is
    within 2^-10 of itself, and the few other operations are within 2^-19.
    """
    shapes = SHAPES[name]
    made = compile_optimizer(Lamb(), {k: (v, "float32") for k, v in shapes.items()}, target=target)
    exact = ReferenceStep(made.program, "float64")
    assert made.statistics["step"].copies == 0  # in place: the norms are read before the state
    with made.load() as step:
        for x in (step, exact):
            x.initialize(draw(1, shapes))
        bounds = dict.fromkeys(shapes, 0.0)
        for t in range(3):
            before = {k: exact.variables[f"/{k}"] for k in shapes}
            given = draw(10 + t, shapes)
            step.step(given)
            exact.step(given)
            for k in shapes:
                new = exact.variables[f"/{k}"]
                changed = np.abs(new - before[k]).max()
                assert changed > 0.001
                bounds[k] += np.abs(new).max() * 2.0**-24 + changed * 2.0**-9
                error = np.abs(step.parameters[k] - new).max()
                assert error <= bounds[k], f"{k} after {t + 1}: {error:.3g} > {bounds[k]:.3g}"


def test_each_variable_has_dispatches_of_its_own() -> None:
    """Two sums, and the update with the ratio in it: nothing is packed, and nothing is copied."""
    counted: list[int] = []
    for count in (2, 4):
        ctx = Context()
        for index in range(count):
            ctx.variable(f"w{index}", (30 + index, 7), initializer=initializers.required())
        found = stream_statistics(emit(trace(Lamb(), ctx)), "cpu")["step"]
        assert (found.copies, found.fills) == (0, 0)
        counted.append(found.dispatches)
    assert counted[1] - counted[0] == 2 * 3


def test_a_variable_of_zeros_moves() -> None:
    made = compile_optimizer(Lamb(), {"w": "40xf32"}, context=Context())
    with made.load() as step:
        step.initialize({"w": np.zeros(40, np.float32)})
        step.step({"w": np.ones(40, np.float32)})
        assert np.isfinite(step.parameters["w"]).all()
        assert (step.parameters["w"] < 0).all()
