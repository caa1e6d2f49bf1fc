"""One step of every cell of the table is within the bars, over the whole range of float32."""

import math

import numpy as np
import pytest

from oracles import formulas, inputs, judge
from oracles.inputs import State
from oracles.settings import OPTIMIZERS, OptimizerName
from stepforge import frontend, passes
from stepforge.frontend.reference import ReferenceStep

from .cases import PLACES, ROWS, Place, Row, cells
from .stepping import (
    COUNT,
    HALF_DTYPES,
    Artifacts,
    Stepper,
    by_variable,
    compile_rows,
    numpy_dtype,
    pieces,
)

pytestmark = pytest.mark.compiler

MORE_SEEDS = (1, 2, 3, 4)
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


@pytest.mark.slow
@pytest.mark.parametrize(("row", "place"), cells(lambda row: not row.is_half))
def test_a_million_tuples_are_within_the_bars(row: Row, place: Place, artifacts: Artifacts) -> None:
    stepper = artifacts.stepper(row, place)
    assert len(MORE_SEEDS) * len(inputs.STEPS) * COUNT > 10**6
    for seed in MORE_SEEDS:
        for t in inputs.STEPS:
            drawn = inputs.random_state(row.oracle, COUNT, seed=(seed << 32) + t)
            assert not faults(stepper, drawn, t, place), seed


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


SIZES = (3, 4_096, 4_097, 4_098, 65_536)
"""Less than a vector, whole vectors, and what is left over: IREE vectorises some loops only."""


@pytest.mark.vulkan
@pytest.mark.parametrize("dtype", ["float32", *HALF_DTYPES])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loops_of_every_length_are_right(name: OptimizerName, dtype: str) -> None:
    """Where IREE emulates 16 bits, half of 4,096 bfloat16 were wrong and all of 4,098 right."""
    kind = numpy_dtype(dtype)
    draw = np.random.default_rng(7)
    start = {f"w{n}": draw.standard_normal(n).astype(kind) for n in SIZES}
    gradients = {key: draw.standard_normal(x.size).astype(kind) for key, x in start.items()}
    context = frontend.Context()
    context.set_params({"adam_dtype": "float32"})
    made = frontend.compile_optimizer(
        frontend.by_name(context, name),
        {key: (x.shape, dtype) for key, x in start.items()},
        target="vulkan" if dtype == "float32" else "vulkan:llvmpipe",
        context=context,
    )
    reference = ReferenceStep(made.program, "float64")
    reference.initialize(start)
    reference.step(gradients)
    with made.load() as step:
        step.initialize(start)
        step.step(gradients)
        for key, before in start.items():
            exact = reference.variables[f"/{key}"]
            # Rounded twice, to float32 and to the dtype; the update within its bar of 16 ULP.
            taken = np.abs(exact - before.astype(np.float64))
            allowed = np.abs(np.spacing(exact.astype(kind))).astype(np.float64) + 17 * np.spacing(
                taken.astype(np.float32)
            )
            assert (np.abs(np.asarray(step.parameters[key], np.float64) - exact) <= allowed).all()
