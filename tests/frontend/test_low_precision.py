"""Stochastic rounding, on the evaluator: unbiased, of the right variance, and of known bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles.rounding import BF16, draws, stochastic
from stepforge.frontend import Hyperparameters, Node, Slots, evaluate, ops
from stepforge.frontend.blocks import block_length
from stepforge.frontend.errors import DTypeError, OptimizerError, ShapeError
from stepforge.frontend.graph import Graph
from stepforge.frontend.low_precision import rounding_bits
from stepforge.frontend.optimizers import Adam, AdamW, StochasticGradientDescent
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.trace import trace
from support.programs import SHAPES, context, draw

Array = NDArray[Any]
COUNT = 2**16


def rounded(x: Array, gradient: Array, step: int, dtype: str = "int64") -> Array:
    """x as the graph rounds it."""
    graph = Graph()
    node, g = (graph.input(name, "float32", x.shape) for name in ("x", "g"))
    t = graph.input("t", dtype)
    result = ops.stochastic_round(node, rounding_bits(node, g, t))
    values = {"x": x, "g": gradient, "t": np.asarray(step, dtype)}
    return evaluate([result], values)[0]


def numbers(seed: int, count: int = COUNT) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(count) * 2.0 ** rng.integers(-20, 20, count)).astype(np.float32)


@pytest.mark.parametrize("step", [1, 2, 1_000_003, 2**24 + 1, 2**31 + 1])
def test_the_bits_are_those_of_the_formula(step: int) -> None:
    x, g = numbers(1), numbers(2)
    np.testing.assert_array_equal(rounded(x, g, step), stochastic(x, g, step))


def test_a_counter_of_the_device_draws_the_same() -> None:
    x, g = numbers(1), numbers(2)
    np.testing.assert_array_equal(rounded(x, g, 2**24 + 5, "int32"), stochastic(x, g, 5))


def share_up(x: Array, result: Array) -> tuple[Array, Array]:
    """Whether each went away from zero, and how likely that should be."""
    fraction = (x.view(np.uint32) & 0xFFFF) / 2.0**16
    return (np.abs(result.astype(np.float64)) > np.abs(np.float64(x))), fraction


def within(total: Array, expected: Array, variance: Array) -> bool:
    """5 standard deviations: once in two million tries by chance, and the tries are fixed."""
    return bool(abs(total.sum() - expected.sum()) <= 5.0 * np.sqrt(variance.sum()))


@pytest.mark.parametrize("kind", ["moments", "equal gradients", "zero gradients", "neighbours"])
def test_many_elements_of_one_step_are_right_on_average(kind: str) -> None:
    x, g = numbers(3), numbers(4)
    if kind == "equal gradients":
        g = np.full_like(g, 0.37)
    if kind == "zero gradients":
        g = np.zeros_like(g)
    if kind == "neighbours":  # adjacent float32 numbers with one gradient: the worst to mix
        x = (np.arange(COUNT, dtype=np.uint32) + np.uint32(0x3F800000)).view(np.float32)
        g = np.full_like(g, 0.25)
    for step in range(1, 9):
        up, fraction = share_up(x, rounded(x, g, step))
        assert within(up, fraction, fraction * (1 - fraction))
        # Errors have the variance f (1 - f) of a fair draw, in units of the last place.
        error, fair = (up - fraction) ** 2, fraction * (1 - fraction)
        spread = fair * (1 - 4 * fair)  # of (B - f)^2 for B of probability f: f(1-f)(1-2f)^2
        assert within(error, fair, spread)


@pytest.mark.parametrize("bits", [0x0001, 0x00FF, 0x4000, 0x8000, 0xC000, 0xFFFF])
def test_one_element_is_right_on_average_over_the_steps(bits: int) -> None:
    pattern = np.uint32(0x3F800000 + bits)
    x = np.array([pattern], np.uint32).view(np.float32)
    g = np.array([-0.125], np.float32)
    drawn = np.concatenate([draws(x, g, step) for step in range(COUNT)])
    up, fraction = drawn + bits >= 2**16, bits / 2.0**16
    variance = np.full(COUNT, fraction * (1 - fraction))
    assert within(up, np.full(COUNT, fraction), variance)
    # Two steps one after the other know nothing of each other.
    pairs = (up[1:] - fraction) * (up[:-1] - fraction)
    assert within(pairs, np.zeros(COUNT - 1), variance[1:] * variance[:-1])
    # All 256 top bytes come up: chi-square with 255 degrees of freedom, 5 deviations.
    counts = np.bincount(drawn.astype(np.int64) >> 8, minlength=256)
    chi = ((counts - COUNT / 256) ** 2 / (COUNT / 256)).sum()
    assert abs(chi - 255) < 5 * np.sqrt(2 * 255)


def test_elements_of_a_step_are_not_correlated() -> None:
    x, g = numbers(6), numbers(7)
    up, fraction = share_up(x, rounded(x, g, 12))
    off, fair = up - fraction, fraction * (1 - fraction)
    assert within(off[1:] * off[:-1], np.zeros(COUNT - 1), fair[1:] * fair[:-1])
    moment, second = rounded(x, g, 12), rounded(x * x, g, 12)
    a = share_up(x, moment)[0] - fraction
    above, chance = share_up(x * x, second)
    b = above - chance
    assert within(a * b, np.zeros(COUNT), fair * chance * (1 - chance))


def test_what_needs_no_rounding_is_kept() -> None:
    exact = np.array([0.0, -0.0, 1.5, -3.0, np.inf, -np.inf, np.nan, 2.0**-130], np.float32)
    for step in range(64):
        result = rounded(exact, np.ones_like(exact), step)
        np.testing.assert_array_equal(result.astype(np.float32), exact)
        assert (np.signbit(result) == np.signbit(exact)).all()


def test_float64_evaluation_rounds_no_state() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (3,))
    node = ops.stochastic_round(x, ops.float_bits(x))
    values = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(evaluate([node], {"x": values}, "float64")[0], values)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_the_bits_are_of_float32(dtype: str) -> None:
    x = Graph().input("x", dtype, (2,))
    with pytest.raises(DTypeError, match=r"float_bits: the bits are those of float32"):
        ops.float_bits(x)


def test_a_draw_is_a_word_for_each_number() -> None:
    graph = Graph()
    x, bits = graph.input("x", "float32", (2,)), graph.input("bits", "int32", (3,))
    with pytest.raises(ShapeError, match="one word of bits for each number"):
        ops.stochastic_round(x, bits)
    with pytest.raises(DTypeError, match="words of 32 bits"):
        ops.stochastic_round(x, x)


def test_slots_of_the_dtype_that_was_asked_for() -> None:
    program = trace(AdamW(), context({"slot_dtype": "bfloat16"}))
    slots = [spec for spec in program.variables if spec.role == "slot"]
    assert {spec.dtype.name for spec in slots} == {"bfloat16"}
    (group,) = program.groups
    found = {x.name: x.value for x in group.hyperparameters}
    assert found["slot_dtype"] == "bfloat16"
    assert found["stochastic_rounding"] is False
    assert found["master_weights"] is False


def test_a_scope_has_its_own() -> None:
    ctx = context()
    ctx.at("encoder").set_param("slot_dtype", "bfloat16")
    program = trace(AdamW(), ctx)
    dtypes = {spec.of: spec.dtype.name for spec in program.variables if spec.role == "slot"}
    assert dtypes == {"/encoder/w": "bfloat16", "/b": "float32", "/scale": "float32"}


def test_a_small_step_is_lost_to_nearest_and_not_when_drawn() -> None:
    """1,000 steps of 1e-4 on a bfloat16 1.0, whose neighbours are 2^-8 and 2^-7 away."""
    for params, least, most in (({}, 1.0, 1.0), ({"stochastic_rounding": True}, 0.85, 0.95)):
        ctx = context(params, {"w": (64,)}, "bfloat16")
        optimizer = StochasticGradientDescent(learning_rate=1e-4, decay=False)
        reference = ReferenceStep(trace(optimizer, ctx))
        reference.initialize({"w": np.ones(64, BF16)})
        rng = np.random.default_rng(0)
        for _ in range(1_000):
            reference.step({"w": (1 + 0.01 * rng.standard_normal(64)).astype(BF16)})
        mean = reference.variables["/w"].astype(np.float64).mean()
        assert least <= mean <= most


def test_float64_follows_the_same_formula() -> None:
    """In float64 nothing is rounded, so that low precision changes nothing."""
    found = []
    for params in ({}, {"slot_dtype": "bfloat16", "stochastic_rounding": True}):
        reference = ReferenceStep(trace(AdamW(), context(params)), "float64")
        reference.initialize(draw(1))
        for seed in range(5):
            reference.step(draw(seed + 2))
        found.append({name: reference.variables[f"/{name}"] for name in SHAPES})
    for name in SHAPES:
        np.testing.assert_array_equal(found[0][name], found[1][name])


@pytest.mark.parametrize(
    ("count", "length"),
    [
        (4_095, None),
        (4_096, 256),
        (16_640, 256),
        (4_099, None),  # prime
        (67 * 201, 201),
        (320 * 97, 320),  # nearer than 194 in ratio, and than 160
        (641 * 641, None),
    ],
)
def test_the_length_of_blocks(count: int, length: int | None) -> None:
    assert block_length(count) == length


def test_eight_bits_are_two_variables() -> None:
    program = trace(AdamW(), context({"slot_dtype": "int8"}, {"w": (64, 100), "b": (9,)}))
    found = {s.name: (s.dtype.name, s.shape) for s in program.variables if s.role == "slot"}
    scope = "/AdamOptimizer"
    assert found == {
        f"{scope}/w_1st_moment": ("int8", (25, 256)),
        f"{scope}/w_1st_moment_scale": ("float32", (25,)),
        f"{scope}/w_2nd_moment": ("int8", (25, 256)),
        f"{scope}/w_2nd_moment_scale": ("float32", (25,)),
        f"{scope}/b_1st_moment": ("float32", (9,)),
        f"{scope}/b_2nd_moment": ("float32", (9,)),
    }


@pytest.mark.parametrize("drawn", [False, True])
def test_no_update_explodes(drawn: bool) -> None:
    """One element of 1 in a block of 1e-7: float32 takes steps of at most the rate, and so here."""
    ctx = context({"slot_dtype": "int8", "stochastic_rounding": drawn}, {"w": (64, 64)})
    rate = 1e-3
    optimizer = AdamW(learning_rate=rate, weight_decay=0.0, epsilon=0.0)
    reference = ReferenceStep(trace(optimizer, ctx))
    reference.initialize({"w": np.zeros((64, 64), np.float32)})
    rng = np.random.default_rng(3)
    before = reference.variables["/w"]
    for step in range(30):
        g = 1e-7 * rng.standard_normal((64, 64)).astype(np.float32)
        g[:, 0] = 1.0 if step < 3 else 0.0
        reference.step({"w": g})
        after = reference.variables["/w"]
        # |m| / sqrt(v) of Adam is at most (1 - beta1) / sqrt(1 - beta2), without corrections 3.2;
        # half a code of the first moment stands against the least code of the root of the second.
        assert np.isfinite(after).all()
        assert np.abs(after - before).max() <= 10.0 * rate
        before = after


def test_a_rule_that_looks_along_an_axis_is_refused() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Normed(Adam):
        """Rows of one length."""

        def update(
            self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
        ) -> tuple[Node, Slots]:
            rows = ops.reduce_sum(ops.square(gradient), 1)
            norm = ops.sqrt(ops.broadcast_to(rows, gradient.shape, (0,)))
            return Adam.update(self, parameter, gradient / norm, slots, h)

    ctx = context({"slot_dtype": "int8"}, {"w": (64, 64)})
    with pytest.raises(OptimizerError, match="Normed looks along axes"):
        trace(Normed(), ctx)
