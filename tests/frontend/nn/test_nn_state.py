"""Layers with a state: dropout's steps, and the running statistics of batch_norm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stepforge.frontend import (
    Adam,
    Context,
    Node,
    StochasticGradientDescent,
    TrainOutputs,
    evaluate,
    gradient,
    initializers,
    nn,
    ops,
    train_program,
)
from stepforge.frontend.reference import ReferenceStep
from support.layers import Array, Built, build, numbers

STEP = "/trainer/dropout_step"


def mask_of(path: str, shape: tuple[int, ...], rate: float, step: int, seed: int = 0) -> Array:
    """What dropout keeps, from the documented rule and the generator of `initializers`."""
    index = np.arange(np.prod(shape), dtype=np.uint32)
    key = initializers.stream_start(seed, path)
    word, _ = initializers.threefry2x32(key, index, np.full_like(index, step))
    return ((word >> np.uint32(8)) >= round(rate * 2**24)).reshape(shape)


def at_step(built: Built, step: int, *more: Node) -> list[Array]:
    values = {**built.inputs, STEP: np.int32(step)}
    return evaluate([built.output, *more], values, "float64")


def dropped(layer: Callable[..., Node], x: Array) -> Built:
    return build(layer, training=True, x=x)


def test_dropout_follows_its_rule_in_each_step() -> None:
    x = numbers(6, 7, 5)
    built = dropped(lambda ctx, x: nn.dropout(ctx.at("a/b"), x, 0.3, seed=4), x)
    exact = round(0.3 * 2**24) / 2**24
    for step in (0, 1, 2**31 - 1, -5):
        kept = mask_of("/a/b/dropout_0", x.shape, 0.3, step % 2**32, seed=4)
        np.testing.assert_allclose(at_step(built, step)[0], kept * x / (1 - exact), rtol=1e-15)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_it_should(rate: float) -> None:
    """Within 5 standard deviations of a binomial distribution; the mean stays what it was."""
    x = np.ones(100_000)
    built = dropped(lambda ctx, x: nn.dropout(ctx, x, rate), x)
    (y,) = at_step(built, 7)
    spread = 5 * np.sqrt(rate * (1 - rate) / x.size)
    assert np.count_nonzero(y) / x.size == pytest.approx(1 - rate, abs=spread)
    assert y.mean() == pytest.approx(1, abs=spread / (1 - rate))


def test_masks_differ_by_step_scope_call_and_seed() -> None:
    x = np.ones(256)

    def several(ctx: Context, x: Node) -> Node:
        drawn = [nn.dropout(ctx, x, 0.5), nn.dropout(ctx, x, 0.5), nn.dropout(ctx.at("b"), x, 0.5)]
        drawn += [nn.dropout(ctx.at("c"), x, 0.5, seed=seed) for seed in (1, 2)]
        return ops.concatenate([ops.reshape(y, (1, 256)) for y in drawn])

    built = dropped(several, x)
    rows = np.concatenate([at_step(built, step)[0] for step in (0, 1)])
    agree = np.mean(rows[:, None] == rows[None], -1)
    assert (np.diag(agree) == 1).all()
    others = agree[~np.eye(len(rows), dtype=bool)]
    # Half of the elements agree by chance; 5 standard deviations.
    assert np.abs(others - 0.5).max() < 5 * 0.5 / 16
    assert [v.path for v in built.ctx] == [STEP]


def test_the_gradient_drops_what_the_value_drops() -> None:
    x = numbers(8, 9)
    built = dropped(lambda ctx, x: nn.dropout(ctx, x, 0.4), x)
    node = built.graph.inputs["x"]
    weights = built.graph.constant(numbers(8, 9, seed=1), "float32")
    (slope,) = gradient(ops.reduce_sum(built.output * weights), [node])
    y, by_x = at_step(built, 3, slope)
    np.testing.assert_allclose(by_x, y / x * numbers(8, 9, seed=1), rtol=1e-14)
    assert ((y == 0) == (by_x == 0)).all()


def test_dropout_hides_what_is_not_finite() -> None:
    built = dropped(lambda ctx, x: nn.dropout(ctx, x, 0.5), np.full(64, np.nan))
    (y,) = at_step(built, 0)
    assert (y[~mask_of("/dropout_0", (64,), 0.5, 0)] == 0).all()


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True), (1e-9, True)])
def test_dropout_is_the_identity_where_it_drops_nothing(rate: float, training: bool) -> None:
    built = build(lambda ctx, x: nn.dropout(ctx, x, rate), training=training, x=np.ones(3))
    assert built.output is built.graph.inputs["x"]
    assert not list(built.ctx)


def test_no_wide_integer_is_in_the_graph() -> None:
    built = dropped(lambda ctx, x: nn.dropout(ctx, x, 0.5), np.ones((4, 4)))
    assert {node.dtype.name for node in built.graph.nodes} <= {"int32", "float32", "bool"}


def two_layers(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    hidden = nn.batch_norm(ctx.at("norm"), nn.dense(ctx.at("hidden"), x, 6))
    hidden = nn.dropout(ctx, nn.dropout(ctx, ops.relu(hidden), 0.2), 0.2)
    error = nn.dense(ctx.at("head"), hidden, 2) - y
    return TrainOutputs(loss=ops.reduce_mean(error * error), predictions={"hidden": hidden})


INPUTS = {"x": "16x3xf32", "y": "16x2xf32"}


def batch(seed: int) -> dict[str, Array]:
    return {
        "x": numbers(16, 3, seed=seed).astype(np.float32),
        "y": numbers(16, 2, seed=seed).astype(np.float32),
    }


def test_a_step_advances_the_state_once_and_evaluation_does_not() -> None:
    step = ReferenceStep(train_program(two_layers, Context(), Adam(), inputs=INPUTS), "float64")
    step.initialize()
    assert step.variables[STEP].dtype == np.int32
    for n in range(3):
        before = {path: np.copy(value) for path, value in step.variables.items()}
        step.step(batch(n), "evaluate")
        step.step({"x": batch(n)["x"]}, "predict")
        assert all((before[path] == value).all() for path, value in step.variables.items())
        assert step.variables[STEP] == n
        step.step(batch(n), "train_step")
    assert step.variables[STEP] == 3


def test_micro_batches_draw_bits_of_their_own() -> None:
    program = train_program(two_layers, Context(), Adam(), inputs=INPUTS, accumulate_steps=2)
    step = ReferenceStep(program, "float64")
    step.initialize()
    step.step(batch(0), "accumulate")
    assert step.variables[STEP] == 1
    step.step(batch(0), "train_step")
    assert step.variables[STEP] == 2


def test_a_run_repeats_bit_for_bit() -> None:
    def run() -> dict[str, Array]:
        step = ReferenceStep(train_program(two_layers, Context(), Adam(), inputs=INPUTS))
        step.initialize()
        for n in range(3):
            step.step(batch(n), "train_step")
        return step.variables

    first, second = run(), run()
    assert all(np.array_equal(value, second[path]) for path, value in first.items())


def test_running_statistics_follow_the_batches() -> None:
    def loss(ctx: Context, x: Node) -> Node:
        return ops.reduce_mean(ops.square(nn.batch_norm(ctx.at("norm"), x, momentum=0.75) - 1.0))

    sgd = StochasticGradientDescent(learning_rate=0.1)
    program = train_program(loss, Context(), sgd, inputs={"x": "4x5x3xf32"})
    assert program.entry_point("train_step").parameters == ("/norm/scale", "/norm/offset")
    step = ReferenceStep(program, "float64")
    step.initialize()
    mean, variance = np.zeros(3), np.ones(3)
    for n in range(4):
        x = numbers(4, 5, 3, seed=n)
        step.step({"x": x}, "train_step")
        mean = 0.75 * mean + 0.25 * x.mean((0, 1))
        variance = 0.75 * variance + 0.25 * x.var((0, 1), ddof=1)
        np.testing.assert_allclose(step.variables["/norm/mean"], mean, rtol=1e-13)
        np.testing.assert_allclose(step.variables["/norm/variance"], variance, rtol=1e-13)
    x = numbers(4, 5, 3, seed=9)
    scale, offset = (step.variables[f"/norm/{name}"] for name in ("scale", "offset"))
    expected = ((x - mean) / np.sqrt(variance + 1e-5) * scale + offset - 1) ** 2
    got = step.step({"x": x}, "evaluate")["loss"]
    assert got == pytest.approx(expected.mean(), rel=1e-12)


def test_a_norm_used_twice_counts_both_batches() -> None:
    def twice(ctx: Context, x: Node) -> Node:
        return nn.batch_norm(ctx, nn.batch_norm(ctx, x) * 2.0)

    x = numbers(8, 2)
    built = build(twice, training=True, ctx=Context(), x=x)
    first = 0.9 * 0.0 + 0.1 * x.mean(0)
    np.testing.assert_allclose(built.new("/mean"), 0.9 * first, atol=1e-9)
