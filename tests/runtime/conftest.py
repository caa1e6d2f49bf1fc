"""Devices to run on, and arrays that fit the artifacts made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.runtime.step import CompiledStep
from support import handmade

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Place:
    """A backend and a device that runs its code."""

    target: str
    device: str


PLACES = [
    pytest.param(Place("cpu", "local-sync"), id="local-sync"),
    pytest.param(Place("cpu", "local-task"), id="local-task"),
    pytest.param(Place("vmvx", "local-sync"), id="vmvx"),
    pytest.param(Place("vulkan", "vulkan"), id="vulkan", marks=pytest.mark.vulkan),
]


def arrays(seed: int) -> Arrays:
    """One array for each parameter of `handmade.SHAPES`."""
    generator = np.random.default_rng(seed)
    return {
        path[1:]: generator.standard_normal(shape).astype(np.float32)
        for path, shape in handmade.SHAPES.items()
    }


@pytest.fixture
def parameters() -> Arrays:
    return arrays(1)


@pytest.fixture
def gradients() -> Arrays:
    return arrays(2)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


@pytest.fixture
def anywhere(place: Place, parameters: Arrays) -> Iterator[CompiledStep]:
    """An initialized Adam step, on every device."""
    with handmade.adam(target=place.target).load(device=place.device) as step:
        step.initialize(parameters)
        yield step


@pytest.fixture
def model() -> Iterator[CompiledStep]:
    """An initialized training step on local-sync."""
    from support import training  # noqa: PLC0415 - needs the compiler

    with training.load() as made:
        yield made


@pytest.fixture
def accumulating() -> Iterator[CompiledStep]:
    """As `model`, with an update for three micro-batches."""
    from support import training  # noqa: PLC0415 - needs the compiler

    with training.load(3) as made:
        yield made


@pytest.fixture
def step(parameters: Arrays) -> Iterator[CompiledStep]:
    """An initialized Adam step on local-sync."""
    with handmade.adam().load(device="local-sync") as made:
        made.initialize(parameters)
        yield made
