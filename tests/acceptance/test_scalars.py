"""Any number of host scalars in a step, and every hyperparameter changed without recompiling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles.bars import ROUNDING, ULP, UNIT
from stepforge import runtime
from stepforge.frontend import (
    KNOWN_OPTIMIZERS,
    Artifact,
    Context,
    Optimizer,
    Settable,
    compile_optimizer,
)
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import PARAM_LEARNING_RATE
from stepforge.frontend.initializers import constant
from stepforge.frontend.optimizers import Hyperparameters, Slots
from stepforge.frontend.optimizers.base import Float, Parameters
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.resolve import Setting

from .places import Place, at

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
SHAPES: Mapping[str, tuple[int, ...]] = {"w": (31, 33), "b": (5,)}


def first_coefficient(k: int) -> float:
    """Exact in float32, and another one for each k."""
    return (k + 1) / 64 * (-1) ** k


@dataclass(frozen=True, slots=True, kw_only=True)
class PolynomialDescent(Optimizer):
    """p' = p - learning_rate * (c0 + g * (c1 + g * (c2 + ...))), every coefficient settable."""

    degree: int
    learning_rate: Float = None
    scope: str = "PolynomialDescent"
    context_parameters: Parameters = field(default=(), repr=False)

    default_scope: ClassVar[str] = "PolynomialDescent"
    counts_steps: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        return "lr * polynomial(g)"

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("learning_rate", PARAM_LEARNING_RATE, self.learning_rate, 0.125),)

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        last, *others = [self.coefficient(h, k) for k in range(self.degree, -1, -1)]
        polynomial = others[0] + gradient * last
        for coefficient in others[1:]:
            polynomial = coefficient + gradient * polynomial
        return h["learning_rate"] * polynomial, {}

    def coefficient(self, h: Hyperparameters, k: int) -> Node:
        variable = h.ctx.variable(
            f"{self.scope}/c{k}",
            initializer=constant(first_coefficient(k)),
            trainable=False,
            storage="host",
            role="hyperparameter",
        )
        return variable.value_graph(h.graph)


def coefficient_path(k: int) -> str:
    return f"/PolynomialDescent/c{k}"


@pytest.mark.parametrize("place", at())
@pytest.mark.parametrize("count", [16, 17, 33, 65])
def test_steps_of_many_scalars(count: int, place: Place) -> None:
    """More than 16 travel in a table: push constants end at 32 words on Vulkan, 64 on a CPU."""
    degree = count - 2  # with the learning rate, `count` scalars
    made = compile_optimizer(PolynomialDescent(degree=degree), SHAPES, target=place.target)
    (entry,) = made.program.entry_points
    assert entry.scalars == ("arguments" if count == 16 else "table")
    assert len(entry.table) == (0 if count == 16 else count)
    cost = made.statistics["step"]
    assert (cost.dispatches, cost.push_words) == (1, 16 if count == 16 else 0)

    generator = np.random.default_rng(count)
    parameters = {n: generator.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
    reference = ReferenceStep(made.program, "float64")
    reference.initialize(parameters)
    with made.load(device=place.device) as step:
        step.initialize(parameters)
        for t in range(3):
            gradients = {
                n: generator.uniform(-1.0, 1.0, s).astype(np.float32) for n, s in SHAPES.items()
            }
            before = {name: step.parameters[name] for name in SHAPES}
            for name, values in before.items():
                reference.variables[f"/{name}"] = values.astype(np.float64)
            step.step(gradients)
            reference.step(gradients)
            numbers = [float(step.variables[coefficient_path(k)]) for k in range(degree + 1)]
            assert numbers == [reference.variables[coefficient_path(k)] for k in range(degree + 1)]
            for name in SHAPES:
                exact = reference.variables[f"/{name}"]
                error = np.abs(step.parameters[name] - exact)
                bound = horner_bound(numbers, gradients[name], step.learning_rate, place)
                assert (error <= ROUNDING[place.bars].fixed * ULP * np.abs(exact) + bound).all()
            # Every scalar gets a new value, no two the same.
            for k in range(degree + 1):
                value = first_coefficient((k + 7 * (t + 1)) % count)
                step.variables[coefficient_path(k)] = value
                reference.variables[coefficient_path(k)] = value
            step.learning_rate = reference.variables["/optimizers/learning_rate"] = 0.25 / (t + 1)


def horner_bound(coefficients: list[float], g: Array, rate: float, place: Place) -> Array:
    """Coefficient k passes through k products and k + 1 sums, then the rate's product."""
    unit = UNIT if place.bars != "vulkan" else 2.0 * UNIT
    size = np.abs(g.astype(np.float64))
    terms = enumerate(np.abs(coefficients))
    return rate * sum(((2 * k + 2) * unit * c * size**k for k, c in terms), np.zeros(g.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A settable hyperparameter, its first value, and the one that the second step takes."""

    name: str
    first: float | int
    then: float | int


PLAIN = (
    Change(name="learning_rate", first=0.01, then=0.003),
    Change(name="adam_beta1", first=0.9, then=0.73),
    Change(name="adam_beta2", first=0.999, then=0.97),
    Change(name="adam_epsilon", first=1e-7, then=0.03),
    Change(name="adam_weight_decay", first=0.004, then=0.3),
    Change(name="adam_backoff", first=0, then=5),
    Change(name="clip_step_by_value", first=0.0, then=0.002),
)
PERIOD = (
    Change(name="cosine_schedule_steps", first=100, then=7),
    Change(name="cosine_schedule_warmup_steps", first=0, then=4),
    Change(name="cosine_schedule_min_learning_rate", first=0.0, then=0.001),
    Change(name="cosine_schedule_learning_rate", first=0.01, then=0.02),
)
CYCLES = (
    Change(name="cosine_schedule_cycles", first=2, then=3),
    Change(name="train_last_global_step", first=50, then=11),
)
GROUPS: Mapping[str, tuple[Change, ...]] = {"plain": PLAIN, "period": PERIOD, "cycles": CYCLES}
COUNTERS = ("/global_step", "/optimizers/cosine_schedule/global_step")
LAST_STEP = "train_last_global_step"
"""Settable in every artifact, as the learning rate is."""
LARGEST_STEP = 0.1
"""No step with the rates above moves a parameter further: |g| stays below 4."""


def optimizer_of(name: str, scope: str, params: Mapping[str, Any]) -> Optimizer:
    """Set up by Context parameters; a rate of its own, as entry points would share the root's."""
    context = Context()
    context.set_params({key: value for key, value in params.items() if key != "learning_rate"})
    rate = params.get("learning_rate", 0.01)
    return KNOWN_OPTIMIZERS[name](context, scope=scope, learning_rate=rate)


def changes_of(name: str) -> dict[str, list[Change]]:
    """Those of each group that the optimizer knows."""
    known = {setting.name for setting in KNOWN_OPTIMIZERS[name](Context()).settings()}
    return {
        group: [c for c in changes if c.name in known or not c.name.startswith("adam_")]
        for group, changes in GROUPS.items()
    }


def settable_artifact(name: str) -> Artifact:
    """An entry point for each group, all of its hyperparameters settable."""
    entries = {
        group: optimizer_of(name, group, {c.name: Settable(c.first) for c in changes})
        for group, changes in changes_of(name).items()
    }
    return compile_optimizer(entries, SHAPES)


def baked_artifact(name: str) -> Artifact:
    """An entry point for each change: the new value, and first ones of its group, as numbers.

    The length of the training is one for all of an artifact, and its variable is set instead.
    """
    entries = {
        change.name: optimizer_of(
            name,
            change.name,
            {c.name: c.then if c == change and c.name != LAST_STEP else c.first for c in changes},
        )
        for changes in changes_of(name).values()
        for change in changes
    }
    return compile_optimizer(entries, SHAPES)


def draw(seed: int) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {n: generator.normal(0.0, 1.0, s).astype(np.float32) for n, s in SHAPES.items()}


def state_of(step: runtime.CompiledStep, scope: str) -> dict[str, Any]:
    """What a step changes, by paths without the entry point's scope."""
    shared = [path for path in step.variables if path[1:] in SHAPES or path in COUNTERS]
    own = [path for path in step.variables if path.startswith(f"/{scope}/")]
    return {path.removeprefix(f"/{scope}"): step.variables[path] for path in (*shared, *own)}


def put_state(step: runtime.CompiledStep, scope: str, state: Mapping[str, Any]) -> None:
    for path, value in state.items():
        shared = path[1:] in SHAPES or path in COUNTERS
        step.variables[path if shared else f"/{scope}{path}"] = value


@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_every_number_is_changed_without_recompiling(name: str) -> None:
    """The step is that of an artifact with the new value compiled in.

    A settable is an argument rounded once to float32, 1 - beta and log(beta) computed in float64
    before that, as a compiled constant is; what the host computes of them is the same code. So the
    slots are equal bit for bit, and so are the parameters, but for one thing: a settable limit
    stands between the step and the subtraction, where a CPU may otherwise round both at once. That
    is half an ULP of the step, and one of the parameter where it makes that round otherwise.
    """
    with settable_artifact(name).load() as step, baked_artifact(name).load() as twin:
        for group, changes in changes_of(name).items():
            unchanged = second_step(step, group, twin, None)
            for change in changes:
                got = second_step(step, group, twin, change)
                assert_same(got, state_of(twin, change.name), change)
                moved = [path for path in got if not np.array_equal(got[path], unchanged[path])]
                assert moved, change  # or the change was none


def second_step(
    step: runtime.CompiledStep, group: str, twin: runtime.CompiledStep, change: Change | None
) -> dict[str, Any]:
    """The state after two steps with a change between them, where `twin` takes the second too."""
    step.initialize(draw(0))
    step.step(draw(1), function=group)
    if change is not None:
        twin.initialize(draw(0))
        put_state(twin, change.name, state_of(step, group))
        twin.variables[f"/trainer/{LAST_STEP}"] = CYCLES[1].first
        if change.name == LAST_STEP:
            twin.variables[f"/trainer/{LAST_STEP}"] = change.then
        twin.step(draw(2), function=change.name)
        # The rate is the entry point's own; the other numbers are the Context's.
        label = f"{group}/learning_rate" if change.name == "learning_rate" else change.name
        assert step.hyperparameters[label] == change.first
        step.hyperparameters[label] = change.then
    step.step(draw(2), function=group)
    return state_of(step, group)


def assert_same(got: Mapping[str, Any], expected: Mapping[str, Any], change: Change) -> None:
    assert got.keys() == expected.keys()
    for path, value in got.items():
        exact = expected[path]
        if path[1:] not in SHAPES:
            assert np.array_equal(value, exact), (change, path)
            continue
        allowed = ULP * (np.abs(exact) + 0.5 * LARGEST_STEP)
        assert (np.abs(value - exact) <= allowed).all(), (change, path)
