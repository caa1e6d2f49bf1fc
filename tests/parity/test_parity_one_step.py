"""One step of every cell of the table is within the bars, over the whole range of float32."""

import math

import numpy as np
import pytest

from oracles import formulas, inputs, judge
from oracles.inputs import State
from stepforge import frontend, passes

from .cases import PLACES, ROWS, Place, Row, cells
from .stepping import COUNT, HALF_DTYPES, Artifacts, Stepper, by_variable, compile_rows, pieces

pytestmark = pytest.mark.compiler

STORM_STEPS = (2, 5, 100, 2**24)
"""Steps whose gradient has non-finite values, in the rows of clip_nan."""


def faults(stepper: Stepper, drawn: State, t: int, place: Place) -> list[str]:
    """What one step did beyond its bars; empty when all is well."""
    after = stepper.run(drawn, t)
    lines: list[str] = []
    rows = zip(
        by_variable(drawn.state),
        by_variable({"gradient": drawn.gradient}),
        by_variable(after),
        strict=True,
    )
    for before, gradient, new in rows:
        g = gradient["gradient"]
        measures = judge.judge(stepper.settings, before, g, new, t, place.bars)
        lines += [f"t={t}: {m}" for m in measures if not m.used <= 1.0]
        if place.is_ieee:
            lines += judge.kind_mismatches(stepper.settings, before, g, new, t)
    return lines


@pytest.mark.parametrize(("row", "place"), cells(lambda row: not row.is_half))
def test_one_step_is_within_the_bars(row: Row, place: Place, artifacts: Artifacts) -> None:
    stepper = artifacts.stepper(row, place)
    for t in inputs.STEPS:
        drawn = inputs.random_state(row.oracle, COUNT, seed=t % 1009)
        if row.oracle.clip_nan and t in STORM_STEPS:
            values = (math.nan, math.inf, -math.inf)[: 1 + t % 3]
            stormy = inputs.storm(drawn.gradient, t, values=values)
            drawn = State(state=drawn.state, gradient=stormy)
        assert not faults(stepper, drawn, t, place)


@pytest.mark.parametrize(("row", "place"), cells(lambda row: row.setting.name == "default"))
def test_edges_are_within_the_bars(row: Row, place: Place, artifacts: Artifacts) -> None:
    stepper = artifacts.stepper(row, place)
    for t in (1, 1_000):
        for drawn in pieces(inputs.edge_state(row.oracle)):
            assert not faults(stepper, drawn, t, place)


@pytest.mark.parametrize(("row", "place"), cells(lambda row: row.is_half))
def test_half_storage_rounds_the_float32_result(
    row: Row, place: Place, artifacts: Artifacts
) -> None:
    """One rounding, to nearest: what is stored lies between the roundings of the bars' two ends.

    Those are one value for nearly all elements, as the bars are a few float32 ULP wide.
    """
    dtype = HALF_DTYPES[row.setting.dtype]
    stepper = artifacts.stepper(row, place)
    for t in inputs.STEPS:
        drawn = inputs.half_state(row.oracle, COUNT, t % 1009, dtype)
        p, g = drawn.state["parameter"], drawn.gradient
        after = stepper.run(drawn, t)
        stored = after.pop("parameter")
        assert stored.dtype == dtype
        exact = formulas.step(row.oracle, p, g, drawn.state, t)
        allowed = judge.allow(row.oracle, p, exact, t, place.bars)["parameter"].total
        low, high = judge.storage_interval(exact.parameter, allowed, dtype)
        assert ((low <= stored) & (stored <= high)).all(), t
        assert (low == high).mean() > 0.95
        measures = judge.judge(row.oracle, drawn.state, g, after, t, place.bars)
        assert not [f"t={t}: {m}" for m in measures if not m.used <= 1.0]


@pytest.mark.parametrize("place", [p for p in PLACES if p.refuses], ids=lambda p: p.name)
def test_a_dtype_that_a_target_lacks_is_refused(place: Place) -> None:
    for row in ROWS:
        if row.setting.dtype in place.refuses:
            with pytest.raises(passes.UnsupportedDTypeError, match=row.setting.dtype):
                compile_rows([row], place.target)


@pytest.mark.vulkan
def test_an_odd_number_of_bfloat16_is_right_or_refused() -> None:
    """Without 16-bit stores IREE writes words, and drops the last half of an odd number."""
    optimizer = frontend.StochasticGradientDescent(learning_rate=1.0, decay=False)
    parameters = {"w": {"shape": (5,), "dtype": "bfloat16"}}
    try:
        made = frontend.compile_optimizer(optimizer, parameters, target="vulkan")
    except (frontend.FrontendError, passes.PassError):
        return
    ones = np.ones(5, HALF_DTYPES["bfloat16"])
    with made.load() as step:
        step.initialize({"w": ones})
        step.step({"w": ones})
        assert (step.parameters["w"] == 0).all()
