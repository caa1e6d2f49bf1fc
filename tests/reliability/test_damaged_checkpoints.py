"""A checkpoint that was changed or cut anywhere is refused, and nothing changes (R5)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime.checkpoint import verify_checkpoint
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

SHAPES = {"/w": (64, 20), "/b": (4,)}
"""16 KiB of state."""

FLIPS = [2_000, pytest.param(100_000, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def step() -> Iterator[CompiledStep]:
    with handmade.adam(SHAPES).load(device="local-sync") as made:
        draw = np.random.default_rng(3)
        made.initialize(
            {n[1:]: draw.standard_normal(s).astype(np.float32) for n, s in SHAPES.items()}
        )
        yield made


@pytest.fixture(scope="module")
def data(step: CompiledStep, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of another state than that of `step`."""
    path = tmp_path_factory.mktemp("whole") / "run.safetensors"
    step.save(path, metadata={"note": "zwei\nZeilen: ü"})
    step.restore(path)
    step.step({n[1:]: np.ones(s, np.float32) for n, s in SHAPES.items()})
    return path.read_bytes()


class Refuses:
    """Restores damaged files, and sees to it that nothing comes of it."""

    def __init__(self, step: CompiledStep, path: Path) -> None:
        self._step = step
        self._path = path
        self._before = handmade.snapshot(step)

    def __call__(self, damaged: bytes) -> None:
        self._path.write_bytes(damaged)
        with pytest.raises(runtime.CheckpointError, match=r"run.safetensors (is|was) "):
            self._step.restore(self._path, check=_no_one_asks)
        with pytest.raises(runtime.CheckpointError, match=r"run.safetensors (is|was) "):
            verify_checkpoint(self._path)

    def close(self) -> None:
        assert handmade.snapshot(self._step) == self._before


def _no_one_asks(contents: Any) -> None:
    raise AssertionError("a damaged checkpoint was taken for whole")


@pytest.fixture
def refuses(step: CompiledStep, data: bytes, memory_path: Path) -> Iterator[Refuses]:
    made = Refuses(step, memory_path / "run.safetensors")
    yield made
    made.close()


def header_of(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


@pytest.mark.parametrize("count", FLIPS)
def test_flipped_bits(data: bytes, refuses: Refuses, count: int) -> None:
    """One to three of them; half of the times one is in the header."""
    draw = random.Random(count)
    for _ in range(count):
        damaged = bytearray(data)
        for size in [draw.choice([header_of(data), len(data)]), *[len(data)] * draw.randrange(3)]:
            damaged[draw.randrange(size)] ^= 1 << draw.randrange(8)
        if damaged != data:
            refuses(bytes(damaged))


@pytest.mark.slow
def test_every_bit_of_the_header(data: bytes, refuses: Refuses) -> None:
    for position in range(header_of(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            refuses(bytes(damaged))


@pytest.mark.parametrize("stride", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_cut_off(data: bytes, refuses: Refuses, stride: int) -> None:
    """At every byte of the header and its neighbourhood, elsewhere at some."""
    near = header_of(data) + 64
    for length in [*range(near), *range(near, len(data), stride), len(data) - 1]:
        refuses(data[:length])


def test_more_than_the_file(data: bytes, refuses: Refuses) -> None:
    for extra in (b"\0", b" ", data[:8], data[header_of(data) :], data):
        refuses(data + extra)
        refuses(extra + data)


def test_blocks_that_moved(data: bytes, refuses: Refuses) -> None:
    draw = random.Random(4)
    blocks = range(0, len(data) - 512, 512)
    for _ in range(200):
        a, b = draw.sample(blocks, 2)
        swapped = bytearray(data)
        swapped[a : a + 512], swapped[b : b + 512] = data[b : b + 512], data[a : a + 512]
        zeroed = bytearray(data)
        zeroed[a : a + 512] = bytes(512)
        for damaged in (swapped, zeroed):
            if damaged != data:
                refuses(bytes(damaged))


def test_whole_it_is_taken(step: CompiledStep, data: bytes, memory_path: Path) -> None:
    path = memory_path / "run.safetensors"
    path.write_bytes(data)
    before = step.snapshot()
    assert step.restore(path) == {"note": "zwei\nZeilen: ü"}
    step.restore_snapshot(before)
