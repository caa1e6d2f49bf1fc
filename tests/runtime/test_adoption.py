"""storage="adopt": the caller's arrays are the parameters' memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend import AdamW, Artifact, compile_optimizer
from stepforge.runtime.buffers import aligned_bytes

from .conftest import Arrays

pytestmark = pytest.mark.compiler

SHAPES = {"w": (8, 4), "b": (5,)}


def aligned(shape: tuple[int, ...], values: np.ndarray | None = None) -> np.ndarray:
    count = int(np.prod(shape))
    made = aligned_bytes(4 * count)[: 4 * count].view(np.float32).reshape(shape)
    made[...] = 1.0 if values is None else values
    return made


def draw(seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    return {n: generator.standard_normal(s).astype(np.float32) for n, s in SHAPES.items()}


@pytest.fixture(scope="module")
def separate() -> Artifact:
    return compile_optimizer(AdamW(), SHAPES, layout="separate")


@pytest.fixture(params=["local-sync", "local-task"])
def step(request: pytest.FixtureRequest, separate: Artifact) -> Iterator[runtime.CompiledStep]:
    with runtime.load(separate.data, device=request.param, storage="adopt") as made:
        yield made


def test_steps_write_into_the_callers_arrays(
    step: runtime.CompiledStep, separate: Artifact
) -> None:
    mine = {name: aligned(SHAPES[name], value) for name, value in draw(1).items()}
    with runtime.load(separate.data, device="local-sync") as owned:
        owned.initialize(draw(1))
        step.initialize(mine)
        for seed in (2, 3, 4):
            owned.step(draw(seed))
            step.step(draw(seed))
        for name, array in mine.items():
            np.testing.assert_array_equal(array, owned.parameters[name])
            np.testing.assert_array_equal(step.parameters[name], array)
            assert np.shares_memory(step.view(name), array)
        mine["w"][...] = 0.5  # what the host writes, the next step reads
        owned.parameters["w"] = mine["w"].copy()
        for each in (owned, step):
            each.step(draw(5))
        np.testing.assert_array_equal(mine["w"], owned.parameters["w"])


def test_other_arrays_can_take_their_place(step: runtime.CompiledStep) -> None:
    first, second = ({n: aligned(s) for n, s in SHAPES.items()} for _ in range(2))
    step.initialize(first)
    step.step(draw(2))
    kept = {name: array.copy() for name, array in first.items()}
    step.initialize({"w": second["w"], "b": first["b"]})
    step.step(draw(3))
    np.testing.assert_array_equal(first["w"], kept["w"])
    assert not np.array_equal(first["b"], kept["b"])
    assert not np.array_equal(second["w"], np.ones((8, 4), np.float32))


def test_restoring_writes_into_them(step: runtime.CompiledStep, tmp_path: Path) -> None:
    mine = {n: aligned(s) for n, s in SHAPES.items()}
    step.initialize(mine)
    step.save(tmp_path / "x.safetensors")
    step.step(draw(2))
    assert not np.array_equal(mine["w"], np.ones((8, 4)))
    step.restore(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(mine["w"], 1.0)


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "missing": (lambda: {"w": aligned((8, 4))}, r"missing: 'b'"),
    "gaps": (
        lambda: {"w": aligned((8, 8))[:, ::2], "b": aligned((5,))},
        r"'w': expected rows without gaps, got strides \(32, 8\)",
    ),
    "misaligned": (
        lambda: {"w": aligned((8, 4)), "b": aligned((6,))[1:]},
        r"'b': expected memory that begins at a multiple of 64 bytes, got one 4 bytes further",
    ),
    "dtype": (
        lambda: {"w": aligned((8, 4)).astype(np.float64), "b": aligned((5,))},
        r"'/w': expected dtype float32, got float64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_cannot_be_memory_are_refused(step: runtime.CompiledStep, name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(runtime.InputError, match=said):
        step.initialize(make())
    with pytest.raises(runtime.NotInitializedError):
        step.step(draw(1))


def test_read_only_and_shared_memory_is_refused(step: runtime.CompiledStep) -> None:
    frozen = aligned((5,))
    frozen.flags.writeable = False
    with pytest.raises(runtime.InputError, match="may be written, got a read-only array"):
        step.initialize({"w": aligned((8, 4)), "b": frozen})
    whole = aligned((8, 4))
    with pytest.raises(runtime.InputError, match=r"'/.' and '/.' share memory"):
        step.initialize({"w": whole, "b": whole.reshape(-1)[:5]})


def test_memory_comes_before_a_checkpoint(
    step: runtime.CompiledStep, separate: Artifact, tmp_path: Path
) -> None:
    with runtime.load(separate.data) as owned:
        owned.initialize(draw(1))
        owned.save(tmp_path / "x.safetensors")
    with pytest.raises(runtime.InputError, match=r"initialize\(parameters\) with the arrays"):
        step.restore(tmp_path / "x.safetensors")


def test_arenas_have_no_memory_of_one_parameter() -> None:
    packed = compile_optimizer(AdamW(), SHAPES)
    with pytest.raises(runtime.InputError, match=r"in 4 arenas; compile it with layout='separate'"):
        runtime.load(packed.data, storage="adopt")


@pytest.mark.vulkan
def test_a_gpu_has_memory_of_its_own() -> None:
    made = compile_optimizer(AdamW(), {"w": (4,)}, target="vulkan")
    with pytest.raises(runtime.HostMemoryError, match="is not the host's"):
        runtime.load(made.data, storage="adopt")
