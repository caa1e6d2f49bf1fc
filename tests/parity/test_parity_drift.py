"""After 1,000 steps an artifact is as near to float64 as NumPy's float32 is, times 1.25."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles import comparator, formulas, inputs

from .cases import Place, Row, cells
from .stepping import COUNT, SHAPES, Artifacts, numpy_dtype

pytestmark = pytest.mark.compiler

STEPS, SEED = 1_000, 20_240_611
SLACK = 1.25
PATTERN = 1_024
"""The big variable repeats a pattern: the references need to step it once only."""
STORMS = (1, 2, 10, 77, 500, 999)

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Where a row should be after 1,000 steps, for the pattern and the small variable."""

    exact: list[Array]
    single: list[Array]


def small_size() -> int:
    return COUNT - int(np.prod(SHAPES["dense/kernel"]))


def start(row: Row) -> list[Array]:
    """Parameters of training size, in the row's dtype."""
    generator = np.random.default_rng(SEED)
    dtype = numpy_dtype(row.setting.dtype)
    sizes = (PATTERN, small_size())
    return [generator.normal(0.0, 1.0, n).astype(dtype).astype(np.float32) for n in sizes]


def gradients(row: Row, t: int) -> list[Array]:
    """Of sizes from 1e-6 to 10 by element, with a step of zeros now and then, and storms."""
    generator = np.random.default_rng((SEED, t))
    dtype = numpy_dtype(row.setting.dtype)
    drawn: list[Array] = []
    for size in (PATTERN, small_size()):
        scale = np.logspace(-6.0 if dtype.itemsize > 2 else -2.0, 1.0, size)
        values = generator.normal(0.0, 1.0, size) * scale * (t % 50 != 0)
        drawn.append(values.astype(dtype).astype(np.float32))
    if row.oracle.clip_nan and t in STORMS:
        drawn = [inputs.storm(values, t) for values in drawn]
    return drawn


@cache
def course(row: Row) -> Course:
    """Both references of a row."""
    dtype = numpy_dtype(row.setting.dtype)
    settings = row.oracle
    exact: list[tuple[Array, dict[str, Array]]] = []
    single: list[tuple[Array, dict[str, Array]]] = []
    for p in start(row):
        exact.append((p.astype(np.float64), {s: np.zeros(p.size) for s in settings.slots}))
        single.append((p, {s: np.zeros(p.size, np.float32) for s in settings.slots}))
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradients(row, t)):
            reference = formulas.step(settings, exact[i][0], g, exact[i][1], t)
            exact[i] = reference.parameter, reference.slots
            twin = comparator.step(settings, single[i][0], g, single[i][1], t)
            single[i] = twin.parameter.astype(dtype).astype(np.float32), twin.slots
    return Course(exact=[p for p, _ in exact], single=[p for p, _ in single])


def vector(parts: list[Array]) -> Array:
    """The pattern repeated over the big variable, then the small one."""
    pattern, small = parts
    big = COUNT - small_size()
    return np.concatenate([np.resize(pattern, big), small])


def cpu_only_in_short() -> list[Any]:
    """The whole table; what is not on a CPU belongs to the long figures."""
    return [
        p if p.values[1].bars == "cpu" else pytest.param(*p.values, id=p.id, marks=(*p.marks, SLOW))
        for p in cells()
    ]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(("row", "place"), cpu_only_in_short())
def test_a_thousand_steps_drift_no_further_than_numpy(
    row: Row, place: Place, artifacts: Artifacts
) -> None:
    stepper = artifacts.stepper(row, place)
    stepper.start(vector(start(row)))
    for t in range(1, STEPS + 1):
        stepper.take(vector(gradients(row, t)))
    actual = stepper.get()["parameter"].astype(np.float64)
    expected = course(row)
    assert (actual == vector([actual[:PATTERN], actual[-small_size() :]])).all(), "tiles differ"
    exact = vector(expected.exact)
    error = np.abs(actual - exact).max()
    bar = SLACK * np.abs(vector(expected.single) - exact).max()
    assert error <= bar, f"{error:.3g} from float64, NumPy float32 {bar / SLACK:.3g}"
