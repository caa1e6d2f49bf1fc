"""A step of any length over ranges of one arena: the bits are those of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acceptance.places import CPU, VMVX, VULKAN, Place, at
from stepforge import runtime
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.step import CompiledStep
from support.shards import ranges

pytestmark = pytest.mark.compiler

Array = NDArray[Any]

# Less than a vector, odd ones around tiles, and one that no vector, tile or shard count divides.
LENGTHS = (5, 1_000, 4_097, 100_003)
SHARDS = (1, 2, 3, 8)
SETTINGS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "all": {"clip_step_by_value": 0.01, "loss_scale": 4.0, "ema_decay": 0.99},
    "bfloat16 slots": {"slot_dtype": "bfloat16", "stochastic_rounding": True},
}
STEPS = 3
PLACES = at([*(replace(CPU, device=x) for x in ("local-sync", "local-task")), VULKAN, VMVX])


@cache
def made(name: str, target: str) -> Artifact:
    from stepforge.frontend import AdamW, Context, compile_optimizer  # noqa: PLC0415 - the compiler

    ctx = Context()
    ctx.set_params(SETTINGS[name])
    return read_artifact(
        compile_optimizer(AdamW(), any_length=True, target=target, context=ctx).data
    )


def random(seed: int, length: int) -> Array:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32)


def stepped(step: CompiledStep, length: int, part: slice) -> dict[str, Array]:
    """The state of one range after some steps."""
    step.initialize({"x": random(0, length)[part]})
    for seed in range(1, STEPS + 1):
        step.step({"x": random(seed, length)[part]})
    return {path: step.variables[path] for path in step.variables if step.variables[path].shape}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("place", PLACES)
def test_shards_have_the_bits_of_the_whole(place: Place, name: str) -> None:
    target = place.target
    if name == "bfloat16 slots" and target == "vulkan":
        target = "vulkan:llvmpipe"  # the portable profile keeps no 16-bit elements
    with runtime.load(made(name, target), device=place.device) as step:
        for length in LENGTHS:
            whole = stepped(step, length, slice(None))
            for count in SHARDS:
                parts = [stepped(step, length, part) for part in ranges(length, count)]
                for path, expected in whole.items():
                    got = np.concatenate([part[path] for part in parts])
                    same = got.view(np.uint8) == expected.view(np.uint8)
                    assert same.all(), f"{path}, {count} shards of {length}"


@pytest.mark.parametrize("place", PLACES)
def test_many_tensors_have_the_bits_of_one(place: Place) -> None:
    """The same numbers in parts of an arena, with gaps between them."""
    length, edges = 5_000, (0, 1, 4, 19, 35, 1_000, 1_016, 5_000)
    with runtime.load(made("plain", place.target), device=place.device) as step:
        whole = stepped(step, length, slice(None))
        parts = {f"p{a}": slice(a, b) for a, b in pairwise(edges)}
        step.initialize({k: random(0, length)[part] for k, part in parts.items()})
        for seed in range(1, STEPS + 1):
            step.step({k: random(seed, length)[part] for k, part in parts.items()})
        for path, expected in whole.items():
            names = [path.replace("x", name) for name in parts]
            got = np.concatenate([step.variables[name] for name in names])
            assert got.tobytes() == expected.tobytes(), path
