"""A step in two phases, compiled: the same bits as the step, and the same step in shards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import (
    KNOWN_OPTIMIZERS,
    Context,
    Optimizer,
    Settable,
    StochasticGradientDescent,
    compile_optimizer,
)
from stepforge.frontend.build.artifact import Artifact
from stepforge.passes import Layout
from stepforge.runtime.step import CompiledStep

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
TARGETS = ("cpu", "vmvx", "vulkan")
# A sum of two levels, sums of one, and none at all.
SHAPES: Mapping[str, tuple[int, ...]] = {
    "a": (127, 130),
    "b": (6,),
    "c": (3, 5, 7),
    "scale": (),
}
# A number's own loop may contract its arithmetic otherwise than that of an arena that it is in.
SHARDED = {name: shape for name, shape in SHAPES.items() if shape}
CLIP, SKIP = {"clip_global_norm": 2.0}, {"skip_nonfinite": True}
EVERYTHING = {**CLIP, **SKIP, "ema_decay": 0.75, "loss_scale": 8.0}
# Name -> rule, settings, layout, and whether on every target or on the CPU alone.
CASES: Mapping[str, tuple[str, Mapping[str, Any], Layout, bool]] = {
    "clipped": ("adamw", CLIP, "packed", True),
    "separate": ("adamw", CLIP, "separate", False),
    "skipping": ("adam", SKIP, "packed", True),
    "everything": ("adamw", EVERYTHING, "packed", True),
    "settable": (
        *("sgd", {"clip_global_norm": Settable(2.0), "loss_scale": Settable(8.0)}),
        *("packed", False),
    ),
    "zeroed": ("sgd", {**CLIP, "clip_nan": True}, "packed", False),
    "half moments": ("adam", {**CLIP, "slot_dtype": "bfloat16"}, "packed", False),
}
PLACES = [
    pytest.param(name, target, marks=[pytest.mark.vulkan] if target == "vulkan" else [])
    for name, case in CASES.items()
    for target in (TARGETS if case[3] else TARGETS[:1])
]


@cache
def artifact(name: str, target: str) -> Artifact:
    rule, params, layout, _ = CASES[name]
    context = Context()
    context.set_params(params)
    return compile_optimizer(
        KNOWN_OPTIMIZERS[rule](context),
        {k: (v, "float32") for k, v in SHAPES.items()},
        target=target,
        context=context,
        layout=layout,
        phases=True,
    )


def draw(seed: int, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    return {k: np.asarray(generator.normal(size=v), np.float32) for k, v in shapes.items()}


def same(a: CompiledStep, b: CompiledStep) -> None:
    one, two = a.snapshot().values, b.snapshot().values
    for path, value in one.items():
        assert value.tobytes() == two[path].tobytes(), path


@pytest.mark.parametrize(("name", "target"), PLACES)
def test_the_phases_give_the_bits_of_the_step(name: str, target: str) -> None:
    made = artifact(name, target)
    with made.load() as whole, made.load() as halves:
        for step in (whole, halves):
            step.initialize(draw(1))
        for t in range(5):
            given = {k: np.array(x * np.float32(0.003**t)) for k, x in draw(10 + t).items()}
            if t == 3:
                given["a"][100, 99] = (math.nan, math.inf)[name == "zeroed"]
            whole.step(given)
            partials = halves.reduce(given)
            halves.apply(given if t % 2 else None, partials)  # None: those that `reduce` was given
            same(whole, halves)


@pytest.mark.parametrize("name", ["clipped", "separate", "skipping", "everything"])
def test_a_step_is_as_many_dispatches_as_its_phases(name: str) -> None:
    """Nothing is summed twice, and nothing is copied: at most what combines the sums is apart."""
    found = artifact(name, "cpu").statistics
    step, first, second = (found[x] for x in ("step", "reduce", "apply"))
    assert step.dispatches <= first.dispatches + second.dispatches <= step.dispatches + 1
    assert [x.copies for x in (step, first, second)] == [0, 0, 0]


def exact(seed: int) -> dict[str, Array]:
    """Multiples of 1/8 up to 1/2: the sum of their squares is exact in float32, in any order."""
    generator = np.random.default_rng(seed)
    assert sum(math.prod(shape) for shape in SHARDED.values()) * 16 < 2**24
    return {
        k: np.asarray(generator.integers(-4, 5, v), np.float32) / np.float32(8)
        for k, v in SHARDED.items()
    }


def shards(count: int) -> list[dict[str, slice]]:
    """Which part of which flattened variable each shard keeps: equal ranges of all elements."""
    total = sum(math.prod(shape) for shape in SHARDED.values())
    size = -(-total // count)
    found: list[dict[str, slice]] = [{} for _ in range(count)]
    start = 0
    for name, shape in SHARDED.items():
        end = start + math.prod(shape)
        for rank, kept in enumerate(found):
            low, high = max(start, rank * size), min(end, (rank + 1) * size)
            if low < high:
                kept[name] = slice(low - start, high - start)
        start = end
    return found


WHOLE = {name: slice(0, math.prod(shape)) for name, shape in SHARDED.items()}


def cut(values: Mapping[str, Array], kept: Mapping[str, slice]) -> dict[str, Array]:
    return {name: np.array(values[name].reshape(-1)[part]) for name, part in kept.items()}


def compiled(
    optimizer: Optimizer, kept: Mapping[str, slice], params: Mapping[str, Any], target: str
) -> Artifact:
    """The step of a shard."""
    context = Context()
    context.set_params(params)
    parameters = {name: ((part.stop - part.start,), "float32") for name, part in kept.items()}
    return compile_optimizer(optimizer, parameters, context=context, target=target, phases=True)


def of_shard(whole: CompiledStep, step: CompiledStep, kept: Mapping[str, slice]) -> None:
    """What a shard keeps is its part of what the whole keeps."""
    expected, found = whole.snapshot().values, step.snapshot().values
    for variable in step.manifest.variables:
        name = (variable.of or variable.name)[1:]
        mine = expected[variable.name].reshape(-1)
        part = mine[kept[name]] if name in kept else mine
        assert found[variable.name].tobytes() == part.tobytes(), variable.name


@pytest.mark.parametrize(
    ("target", "count", "name"),
    [
        ("cpu", 1, "everything"),
        ("cpu", 2, "skipping"),
        ("cpu", 3, "everything"),
        ("vmvx", 2, "everything"),
        pytest.param("vulkan", 2, "everything", marks=pytest.mark.vulkan),
    ],
)
def test_shards_of_an_exact_sum_are_the_whole_bit_for_bit(
    target: str, count: int, name: str
) -> None:
    """Ranges of elements that cut through variables, each stepped by an artifact of its own."""
    rule, params, *_ = CASES[name]
    parts, optimizer = shards(count), KNOWN_OPTIMIZERS[rule](Context())
    with ExitStack() as stack:
        whole, *steps = [
            stack.enter_context(compiled(optimizer, kept, params, target).load())
            for kept in (WHOLE, *parts)
        ]
        whole.initialize(cut(draw(1), WHOLE))
        for step, kept in zip(steps, parts, strict=True):
            step.initialize(cut(draw(1), kept))
        for t in range(4):
            given = exact(20 + t)
            if t == 2:
                given["a"][5, 5] = np.nan
            whole.step(cut(given, WHOLE))
            mine = [cut(given, kept) for kept in parts]
            total = sum(step.reduce(x) for step, x in zip(steps, mine, strict=True))
            for step, kept, x in zip(steps, parts, mine, strict=True):
                step.apply(x, total)
                of_shard(whole, step, kept)


@pytest.mark.parametrize("target", ["cpu", pytest.param("vulkan", marks=pytest.mark.vulkan)])
def test_shards_of_any_gradients_differ_by_the_order_of_the_sum(target: str) -> None:
    """SGD without decay: p - rate * f * g, where f = clip / sqrt(s) and s is what differs.

    f is as far off as s by half, and rounded a few times (Vulkan: root 9 and quotient 5 units of
    2^-24); the product and the difference are rounded once more.
    """
    parts, given, start = shards(3), draw(5, SHARDED), draw(1)
    rate, clip = 0.1, 2.0
    optimizer = StochasticGradientDescent(learning_rate=rate, decay=False)
    with ExitStack() as stack:
        whole, *steps = [
            stack.enter_context(compiled(optimizer, kept, CLIP, target).load())
            for kept in (WHOLE, *parts)
        ]
        whole.initialize(cut(start, WHOLE))
        one = whole.reduce(cut(given, WHOLE))
        whole.apply(None, one)
        partials = list[Array]()
        for step, kept in zip(steps, parts, strict=True):
            step.initialize(cut(start, kept))
            partials.append(step.reduce(cut(given, kept)))
        total = np.asarray(sum(partials))
        exactly = sum(float(np.square(x, dtype=np.float64).sum()) for x in given.values())
        for value in (one, total):
            # Each square is rounded, and goes through fewer additions than there are squares.
            count = sum(x.size for x in given.values())
            assert abs(float(value[0]) - exactly) <= 2.0**-24 * count * exactly
        apart = abs(float(total[0]) - float(one[0])) / exactly
        factor = clip / math.sqrt(exactly)
        for step, kept in zip(steps, parts, strict=True):
            step.apply(None, total)
            for name, part in kept.items():
                p = np.abs(start[name].reshape(-1)[part])
                change = rate * factor * np.abs(given[name].reshape(-1)[part])
                bound = change * (apart + 32 * 2.0**-24) + 2 * (p + change) * 2.0**-24
                expected = whole.parameters[name][part].astype(np.float64)
                assert (np.abs(step.parameters[name] - expected) <= bound).all(), name
