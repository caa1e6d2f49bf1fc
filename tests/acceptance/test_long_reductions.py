"""One non-finite value anywhere in a gradient of any length is found, counted and kept out.

The lengths are where reductions go wrong: the last of 65,536 elements, loops that stop after
65 thousand terms, a prime number of terms, the largest tensor of a real model.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.frontend import Context, RMSProp, compile_optimizer

from .places import CPU, VMVX, VULKAN, Place

pytestmark = pytest.mark.compiler

Array = NDArray[Any]

SIZES = (65_535, 65_536, 1_000_003, 11_720_448)
INTERPRETED = (65_535, 65_536, 100_003)
"""Lengths for VMVX: an interpreter would take minutes over more."""
VALUES = (math.nan, math.inf, -math.inf)
SOUND, START = np.float32(0.5), np.float32(1.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """A loaded step over one variable of each length; all gradients are sound between steps."""

    step: runtime.CompiledStep
    logger: runtime.NanLogger
    sizes: tuple[int, ...]

    def take(self) -> dict[str, int]:
        """Begin anew, take one step, and return the counts that were reported."""
        self.step.initialize({name: np.full(n, START) for name, n in self.names().items()})
        self.logger.clear()
        self.step.step()
        return {report.variable[1:]: report.count for report in self.logger.reports}

    def names(self) -> dict[str, int]:
        return {f"of_{size}": size for size in self.sizes}

    def gradient(self, name: str) -> Array:
        return self.step.gradients[name]

    def assert_only_bad_kept(self, bad: Mapping[str, int]) -> None:
        """A bad gradient counts as zeros; the others moved every element of theirs equally."""
        for name in self.names():
            values = self.step.parameters[name]
            second_moment = self.step.variables[f"/AdamOptimizer/{name}_2nd_moment"]
            if name in bad:
                assert (values == START).all(), name
                assert not second_moment.any(), name
            else:
                assert (values == values[0]).all(), name
                assert values[0] < START, name
                assert (second_moment == second_moment[0]).all(), name
                assert second_moment[0] > 0.0, name


def places() -> list[Any]:
    marks = pytest.mark.vulkan
    return [
        pytest.param((CPU, SIZES), id="cpu"),
        pytest.param((VULKAN, SIZES), id="vulkan", marks=marks),
        pytest.param((VMVX, INTERPRETED), id="vmvx"),
    ]


@pytest.fixture(scope="module", params=places())
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """RMSProp has the least state of those that look at whole gradients."""
    place, sizes = request.param
    assert isinstance(place, Place)
    context = Context()
    context.set_params({"clip_nan": True, "nanlogger": True})
    parameters = {f"of_{size}": (size,) for size in sizes}
    made = compile_optimizer(RMSProp(), parameters, target=place.target, context=context)
    with made.load(device=place.device) as step:
        logger = runtime.NanLogger(lambda report: None)
        logger.attach(step)
        for gradient in step.gradients.values():
            gradient[...] = SOUND
        yield Bench(step, logger, sizes)


def positions(size: int) -> tuple[int, ...]:
    """First, last and between: beside the middle, and where powers of two split the rest off."""
    rest = size // 2_048 // 8 * 8 * 2_048
    return (0, size - 1, size // 2, 1, size - 2, rest - 1, min(rest, size - 1), 65_534, size // 3)


def test_sound_gradients_are_used_and_not_reported(bench: Bench) -> None:
    assert bench.take() == {}
    bench.assert_only_bad_kept({})


@pytest.mark.parametrize("odd", [0, 1], ids=["even", "odd"])
@pytest.mark.parametrize("place", range(9))
def test_one_bad_element_is_found_wherever_it_is(bench: Bench, place: int, odd: int) -> None:
    """In every other variable at once, so that each stands beside sound ones."""
    names = list(bench.names().items())[odd::2]
    bad = {name: positions(size)[place] for name, size in names}
    for name, index in bad.items():
        bench.gradient(name)[index] = VALUES[place % len(VALUES)]
    counts = bench.take()
    for name, index in bad.items():
        bench.gradient(name)[index] = SOUND
    assert counts == dict.fromkeys(bad, 1)
    bench.assert_only_bad_kept(bad)


def test_counts_are_exact(bench: Bench) -> None:
    """Any number of them, all of them; and nothing that is finite, however large or small."""
    generator = np.random.default_rng(7)
    expected: dict[str, int] = {}
    for name, size in bench.names().items():
        places = generator.choice(size, size // 3, replace=False)
        expected[name] = len(places)
        bench.gradient(name)[places] = generator.choice(np.array(VALUES, np.float32), len(places))
    assert bench.take() == expected
    bench.assert_only_bad_kept(expected)
    for name in bench.names():
        bench.gradient(name)[...] = math.nan
    assert bench.take() == bench.names()
    bench.assert_only_bad_kept(bench.names())
    extremes = np.array([3.4028235e38, -3.4028235e38, 1e-45, -0.0], np.float32)
    for name, size in bench.names().items():
        bench.gradient(name)[...] = np.resize(extremes, size)
    assert bench.take() == {}
    for name in bench.names():
        bench.gradient(name)[...] = SOUND
