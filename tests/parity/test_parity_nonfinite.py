"""One non-finite value anywhere in a gradient of any size is found, counted and kept out.

The sizes are where reductions go wrong: the last elements of 65,536, sums past 65 thousand
terms, a prime number of rows, the largest tensor of a real model.
"""

import math

import numpy as np
import pytest

from stepforge import frontend, runtime

from .cases import PLACES, Place

pytestmark = pytest.mark.compiler

SIZES = (65_535, 65_536, 1_000_003, 11_720_448)
VMVX_LIMIT = 100_003
"""An interpreter: more would take minutes."""


def sized_places() -> list:
    """(elements, place) for every backend."""
    return [
        pytest.param(size, place, id=f"{size}-{place.name}", marks=place.marks)
        for place in PLACES
        for size in (*(s for s in SIZES if s <= limit(place)), *extra(place))
    ]


def limit(place: Place) -> int:
    return VMVX_LIMIT if place.bars == "vmvx" else max(SIZES)


def extra(place: Place) -> tuple[int, ...]:
    return (VMVX_LIMIT,) if place.bars == "vmvx" else ()


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[int, str], frontend.Artifact]:
    return {}


def artifact(
    compiled: dict[tuple[int, str], frontend.Artifact], size: int, target: str
) -> frontend.Artifact:
    if (size, target) not in compiled:
        context = frontend.Context()
        context.set_params({"clip_nan": True, "nanlogger": True})
        compiled[size, target] = frontend.compile_optimizer(
            frontend.Adam(), {"w": (size,)}, target=target, context=context
        )
    return compiled[size, target]


@pytest.mark.parametrize(("size", "place"), sized_places())
def test_a_nonfinite_value_anywhere_is_found(
    size: int, place: Place, compiled: dict[tuple[int, str], frontend.Artifact]
) -> None:
    made = artifact(compiled, size, place.target)
    parameter = np.ones(size, np.float32)
    gradient = np.full(size, 0.5, np.float32)
    logger = runtime.NanLogger(lambda report: None)
    with runtime.load(made.data, device=place.device) as step:
        logger.attach(step)
        step.initialize({"w": parameter})
        places = {0: math.nan, size - 1: math.inf, size // 2: -math.inf, size - 2: math.nan}
        for index, value in places.items():
            gradient[index] = value
            step.step({"w": gradient})
            gradient[index] = 0.5
            report = logger.reports[-1]
            assert (report.variable, report.count) == ("/w", 1), index
            assert (step.parameters["w"] == parameter).all(), index
        assert len(logger.reports) == len(places)
        gradient[::3] = math.nan
        step.step({"w": gradient})
        assert logger.reports[-1].count == len(gradient[::3])
        logger.clear()
        step.step({"w": np.full(size, 0.5, np.float32)})
        assert not logger.reports
        moved = step.parameters["w"]
        assert (moved == moved[0]).all()
        assert moved[0] < 1.0
