"""First values: the generator's bits, the distributions, and that every part draws the same."""

from __future__ import annotations

import hashlib
import math
import struct

import numpy as np
import pytest

from stepforge.frontend import initializers
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, as_dtype, convert, float32, float64
from stepforge.frontend.errors import ContextError
from stepforge.frontend.initializers import Initializer, threefry2x32
from stepforge.runtime import initializers as runtime_initializers
from stepforge.runtime import manifest

RANDOM = (
    initializers.uniform(-2.0, 3.0, seed=7),
    initializers.normal(1.0, 0.5, seed=-3),
    initializers.glorot_uniform(seed=1),
    initializers.glorot_normal(seed=1),
    initializers.he_uniform(seed=2**62),
    initializers.he_normal(),
)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers_of_its_authors(
    key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]
) -> None:
    low, high = (np.array([c], np.uint32) for c in counter)
    x0, x1 = threefry2x32(key, low, high)
    assert (int(x0[0]), int(x1[0])) == expected


def test_a_block_is_one_element_and_its_counter_the_index() -> None:
    digest = hashlib.sha256(struct.pack("<q", 5) + b"/w").digest()
    start: tuple[int, int] = struct.unpack("<II", digest[:8])
    given = -3 * 2**32 + 9
    drawn = initializers.uniform(seed=5).sample("/w", float64, (3, 4), given).ravel()
    for index in (0, 1, 11):
        low = np.array([(start[0] + index) % 2**32], np.uint32)
        word = int(threefry2x32((9, 2**32 - 3), low, np.array([start[1]], np.uint32))[0][0])
        assert drawn[index] == (word >> 8) * 2.0**-24


def test_normal_follows_its_definition_element_by_element() -> None:
    low, high = initializers.stream_start(5, "/w")
    drawn = initializers.normal(2.0, 3.0, seed=5).sample("/w", float64, (50,))
    index = np.arange(50, dtype=np.uint32)
    x0, x1 = threefry2x32((0, 0), index + np.uint32(low), np.full_like(index, high))
    for value, first, second in zip(drawn, x0.tolist(), x1.tolist(), strict=True):
        radius = math.sqrt(-2.0 * math.log(((first >> 8) + 1) * 2.0**-24))
        expected = 2.0 + 3.0 * radius * math.cos(2.0 * math.pi * (second >> 8) * 2.0**-24)
        assert value == pytest.approx(expected, rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("initializer", RANDOM, ids=lambda i: i.kind)
def test_drawn_values_have_their_mean_and_spread(initializer: Initializer) -> None:
    shape = (300, 200)
    drawn = initializer.sample("/w", float64, shape)
    spread = {
        "uniform": 5.0 / math.sqrt(12.0),
        "normal": 0.5,
        "glorot_uniform": math.sqrt(2.0 / 500.0),
        "glorot_normal": math.sqrt(2.0 / 500.0),
        "he_uniform": math.sqrt(2.0 / 300.0),
        "he_normal": math.sqrt(2.0 / 300.0),
    }[initializer.kind]
    mean = {"uniform": 0.5, "normal": 1.0}.get(initializer.kind, 0.0)
    assert drawn.std() == pytest.approx(spread, rel=0.02)
    assert drawn.mean() == pytest.approx(mean, abs=5.0 * spread / math.sqrt(drawn.size))


def test_uniform_stays_in_its_half_open_range() -> None:
    drawn = initializers.uniform().sample("/w", float64, (100_000,))
    assert 0.0 <= drawn.min() < 1e-4
    assert 1.0 - 1e-4 < drawn.max() < 1.0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("initializer", RANDOM, ids=lambda i: i.kind)
def test_every_dtype_is_the_float64_value_rounded_once(
    initializer: Initializer, dtype: str
) -> None:
    exact = initializer.sample("/w", float64, (7, 11))
    got = initializer.sample("/w", as_dtype(dtype), (7, 11))
    assert got.dtype == as_dtype(dtype).numpy
    np.testing.assert_array_equal(got, convert(exact, as_dtype(dtype)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "initializer",
    [*RANDOM, initializers.zeros(), initializers.ones(), initializers.constant(0.1)],
    ids=lambda i: i.kind,
)
def test_the_runtime_draws_the_same_bits(initializer: Initializer, dtype: str) -> None:
    described = manifest.Initializer(
        initializer.kind, initializer.value, initializer.seed, initializer.arguments
    )
    for shape in ((), (5,), (4, 3), (2, 3, 4, 5)):
        variable = manifest.Variable("/a/w", "parameter", dtype, shape, initializer=described)
        mine = initializer.sample("/a/w", as_dtype(dtype), shape)
        theirs = runtime_initializers.first_value(variable)
        assert mine.tobytes() == theirs.tobytes()


def test_seed_and_path_decide_and_nothing_else_does() -> None:
    draw = initializers.uniform
    first = draw(seed=1).sample("/w", float32, (8,))
    assert (draw(seed=1).sample("/w", float32, (2, 4)).ravel() == first).all()
    assert (draw(seed=2).sample("/w", float32, (8,)) != first).any()
    assert (draw(seed=1).sample("/v", float32, (8,)) != first).any()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (5, 5)), ((3, 4), (3, 4)), ((2, 3, 4, 5), (24, 30)), ((0, 2), (1, 2))],
)
def test_fans(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert initializers.fans(shape) == expected


def test_xavier_is_glorot() -> None:
    assert initializers.xavier_uniform(seed=3) == initializers.glorot_uniform(seed=3)
    assert initializers.xavier_normal(seed=3) == initializers.glorot_normal(seed=3)


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool", "bfloat16"])
def test_fills_take_any_dtype(dtype: str) -> None:
    target: DType = as_dtype(dtype)
    assert initializers.ones().sample("/w", target, (2,)).tolist() == [1, 1]
    assert initializers.zeros().sample("/w", target, (2,)).tolist() == [0, 0]


def test_a_required_value_must_be_given() -> None:
    variable = Context().variable("w", (2,))
    with pytest.raises(ContextError, match=r"'/w' has no first value"):
        _ = variable.value
    variable.set_value([1, 2])
    assert variable.value.tolist() == [1.0, 2.0]


def test_wrong_seeds_arguments_and_dtypes_are_refused() -> None:
    with pytest.raises(ContextError, match="64 bits"):
        initializers.uniform(seed=2**63)
    with pytest.raises(ContextError, match="finite"):
        initializers.normal(0.0, math.inf)
    with pytest.raises(ContextError, match="random initializer needs a float dtype"):
        Context().variable("n", (), "int64", initializer=initializers.uniform())
