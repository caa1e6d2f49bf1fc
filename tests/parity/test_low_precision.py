"""State in bfloat16, on every backend: one rounding of what float32 computes, as it was drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from oracles import formulas, judge
from oracles.inputs import half_state
from oracles.rounding import BF16, neighbours, stochastic
from oracles.settings import settings_for
from stepforge import frontend, passes
from stepforge.frontend.reference import ReferenceStep

from .cases import PLACES, Place
from .stepping import numpy_dtype

pytestmark = pytest.mark.compiler

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "nearest": {"slot_dtype": "bfloat16"},
    "drawn": {"slot_dtype": "bfloat16", "stochastic_rounding": True},
    # Moments are sums of halves, which float32 holds exactly: every backend draws the same.
    "exact": {
        "slot_dtype": "bfloat16",
        "stochastic_rounding": True,
        "adam_beta1": 0.5,
        "adam_beta2": 0.5,
    },
    "master": {"master_weights": True},
}
DTYPES = ("float32", "bfloat16")
SHAPE = (127, 129)
COUNT = SHAPE[0] * SHAPE[1]
SLOTS = {"m": "1st_moment", "v": "2nd_moment", "master": "master"}
STEPS = (1, 2, 10, 1_000, 2**24 - 1, 2**24 + 1)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Stepper:
    made: Any
    step: Any
    place: Place
    dtype: str

    def take(
        self, name: str, state: Mapping[str, Array], gradient: Array, t: int
    ) -> dict[str, Array]:
        """The state after step t of an entry point."""
        self.step.initialize({"w": state["parameter"].astype(numpy_dtype(self.dtype))})
        variables = self.step.variables
        for path in ("/global_step", f"/{name}/step"):
            variables[path] = t - 1
        for slot, kind in SLOTS.items():
            if slot in state:
                path = f"/{name}/w_{kind}"
                variables[path] = state[slot].astype(variables[path].dtype)
        self.step.step({"w": gradient.astype(numpy_dtype(self.dtype))}, function=name)
        return self.state(name)

    def state(self, name: str) -> dict[str, Array]:
        found = {"parameter": np.asarray(self.step.parameters["w"])}
        for slot, kind in SLOTS.items():
            path = f"/{name}/w_{kind}"
            if path in self.step.variables:
                found[slot] = np.asarray(self.step.variables[path])
        return found


@pytest.fixture(
    scope="module",
    params=[pytest.param(p, marks=p.marks, id=p.name) for p in PLACES if p.name != "cpu-task"],
)
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


@pytest.fixture(scope="module", params=DTYPES)
def stepper(place: Place, request: pytest.FixtureRequest) -> Iterator[Stepper]:
    optimizers = {}
    for name, params in SETTINGS.items():
        context = frontend.Context()
        context.set_params(params)
        optimizers[name] = frontend.AdamW.from_context(context, scope=name)
    target = place.wide_target or place.target
    made = frontend.compile_optimizer(optimizers, {"w": (SHAPE, request.param)}, target=target)
    with made.load(device=place.device) as step:
        yield Stepper(made, step, place, request.param)


def drawn_state(t: int) -> tuple[dict[str, Array], Array]:
    """All numbers of bfloat16, so that what is stored before the step is what was drawn."""
    state = half_state(settings_for("adamw"), COUNT, t % 1009, BF16)
    rounded = {k: x.astype(BF16).astype(np.float32).reshape(SHAPE) for k, x in state.state.items()}
    return rounded, state.gradient.reshape(SHAPE)


def allowed(name: str, state: Mapping[str, Array], g: Array, t: int, place: Place) -> Any:
    """The exact new state, and what float32 on this backend may be off by."""
    settings = settings_for("adamw")
    slots = {slot: state[slot] for slot in ("m", "v")}
    exact = formulas.step(settings, state["parameter"], g, slots, t)
    slack = judge.allow(settings, state["parameter"], exact, t, place.bars)
    return exact, {key: x.total for key, x in slack.items()}


def test_moments_are_rounded_once(stepper: Stepper) -> None:
    """To nearest: between the roundings of the bars' two ends, which nearly always are one."""
    for t in STEPS:
        state, g = drawn_state(t)
        after = stepper.take("nearest", state, g, t)
        exact, slack = allowed("nearest", state, g, t, stepper.place)
        for slot in ("m", "v"):
            assert after[slot].dtype == BF16
            low, high = judge.storage_interval(exact.slots[slot], slack[slot], BF16)
            assert ((low <= after[slot]) & (after[slot] <= high)).all(), (slot, t)
            assert (low == high).mean() > 0.95
        if stepper.dtype == "float32":  # the step is made of the moments before their rounding
            off = np.abs(after["parameter"].astype(np.float64) - exact.parameter)
            assert (off <= slack["parameter"]).all()


def test_drawn_moments_and_parameters_are_neighbours(stepper: Stepper) -> None:
    """Either of the two bfloat16 around what float32 may have computed, and both come up."""
    for t in STEPS:
        state, g = drawn_state(t)
        after = stepper.take("drawn", state, g, t)
        exact, slack = allowed("drawn", state, g, t, stepper.place)
        results = {**exact.slots, "parameter": exact.parameter}
        for name, value in results.items():
            if after[name].dtype != BF16:
                continue
            low, high = neighbours(value - slack[name], value + slack[name])
            assert ((low <= after[name]) & (after[name] <= high)).all(), (name, t)
            up = after[name].astype(np.float64) > value
            inside = low != high
            assert 0.3 < up[inside].mean() < 0.7, (name, t)


def test_known_numbers_are_drawn_alike_on_every_backend(stepper: Stepper) -> None:
    """Bit for bit what the evaluator and the formulas of the docstring give."""
    rng = np.random.default_rng(5)
    g = (rng.integers(129, 255, SHAPE) / 128.0).astype(np.float32)  # 8 bits, in [1, 2)
    m = (rng.integers(128, 256, SHAPE) / 2.0**14).astype(np.float32)  # far below: bits are lost
    v = (rng.integers(128, 256, SHAPE) / 2.0**14).astype(np.float32)
    p = rng.standard_normal(SHAPE).astype(np.float32)
    for t in STEPS:
        after = stepper.take("exact", {"parameter": p, "m": m, "v": v}, g, t)
        for slot, new in (("m", 0.5 * m + 0.5 * g), ("v", 0.5 * v + 0.5 * g * g)):
            assert new.dtype == np.float32
            np.testing.assert_array_equal(after[slot], stochastic(new, g, t))
        reference = ReferenceStep(stepper.made.program)
        dtype = numpy_dtype(stepper.dtype)
        reference.initialize({"w": p.astype(dtype)})
        path = "/exact/w_"
        reference.variables.update({path + "1st_moment": m.astype(BF16)})
        reference.variables.update({path + "2nd_moment": v.astype(BF16)})
        reference.variables.update({"/global_step": t - 1, "/exact/step": t - 1})
        reference.step({"w": g.astype(dtype)}, "exact")
        for slot in ("m", "v"):
            np.testing.assert_array_equal(after[slot], reference.variables[path + SLOTS[slot]])


def test_a_trajectory_stays_within_its_roundings(stepper: Stepper) -> None:
    """Against moments in float64, which each step takes further by at most one rounding:
    e' = beta e + 2^-9 |m'|, of what is stored; twice that where it is drawn."""
    rng = np.random.default_rng(9)
    gradients = [rng.standard_normal(SHAPE).astype(BF16).astype(np.float32) for _ in range(20)]
    for name, unit in (("nearest", 2.0**-9), ("drawn", 2.0**-8)):
        stepper.step.initialize({"w": np.ones(SHAPE, numpy_dtype(stepper.dtype))})
        exact = {slot: np.zeros(SHAPE) for slot in ("m", "v")}
        error = {slot: np.zeros(SHAPE) for slot in ("m", "v")}
        for g in gradients:
            stepper.step.step({"w": g.astype(numpy_dtype(stepper.dtype))}, function=name)
            for slot, beta, term in (("m", 0.9, np.float64(g)), ("v", 0.999, np.float64(g) ** 2)):
                exact[slot] = beta * exact[slot] + (1 - beta) * term
                computed = beta * error[slot] + 2.0**-21 * (np.abs(exact[slot]) + np.abs(term))
                size = np.abs(exact[slot]) + computed
                error[slot] = computed + 2.0 * unit * size  # in a binade, up to twice its bottom
                after = stepper.state(name)[slot].astype(np.float64)
                assert (np.abs(after - exact[slot]) <= error[slot]).all()


def test_a_master_is_updated_and_rounded(stepper: Stepper) -> None:
    if stepper.dtype == "float32":
        assert "/master/w_master" not in stepper.step.variables
        return
    state, g = drawn_state(3)
    master = state["parameter"] * np.float32(1 + 2.0**-11)  # rounds to the parameter
    after = stepper.take("master", {**state, "master": master}, g, 3)
    exact, slack = allowed("master", {**state, "parameter": master}, g, 3, stepper.place)
    assert after["master"].dtype == np.float32
    assert (np.abs(after["master"] - exact.parameter) <= slack["parameter"]).all()
    np.testing.assert_array_equal(after["parameter"], after["master"].astype(BF16))


def test_a_parameter_that_was_set_goes_before_its_master(stepper: Stepper) -> None:
    """So the first step begins with the parameter, and so does one after it was changed."""
    if stepper.dtype == "float32":
        return
    state, g = drawn_state(2)
    for master in (np.zeros(SHAPE, np.float32), np.full(SHAPE, 7.0, np.float32)):
        after = stepper.take("master", {**state, "master": master}, g, 2)
        exact, slack = allowed("master", state, g, 2, stepper.place)
        assert (np.abs(after["master"] - exact.parameter) <= slack["parameter"]).all()


def test_it_is_one_loop_in_place(stepper: Stepper) -> None:
    assert set(stepper.made.statistics.functions) >= set(SETTINGS)
    for name in SETTINGS:
        found = stepper.made.statistics.functions[name]
        assert (found.dispatches, found.copies, found.allocations) == (1, 0, 0)


@pytest.mark.parametrize("params", [{"slot_dtype": "bfloat16"}, {}], ids=["slots", "parameters"])
def test_portable_vulkan_refuses(params: Mapping[str, Any]) -> None:
    context = frontend.Context()
    context.set_params(params)
    dtype = "float32" if params else "bfloat16"
    with pytest.raises(passes.UnsupportedDTypeError, match=r"bf16|bfloat16"):
        frontend.compile_optimizer(
            frontend.AdamW(), {"w": ((4,), dtype)}, target="vulkan", context=context
        )
