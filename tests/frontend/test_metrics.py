"""Metrics against NumPy, and what they do with ties, NaN, weights and steps that do not train."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend import Context, FrontendError, Graph, evaluate, losses, metrics
from stepforge.frontend.errors import DTypeError, ShapeError
from support.layers import build, numbers


def test_accuracy_is_that_of_argmax() -> None:
    x = np.round(numbers(40, 5))  # many ties
    labels = np.random.default_rng(0).integers(0, 5, 40).astype(np.int32)
    built = build(lambda ctx, x, t: metrics.accuracy(x, t), x=x, t=labels)
    assert built.run() == pytest.approx((x.argmax(-1) == labels).mean(), rel=1e-15)
    first = build(lambda ctx, x, t: metrics.accuracy(x, t), x=x, t=x.argmax(-1).astype(np.int32))
    assert first.run() == 1.0


def test_accuracy_of_sequences_with_a_mask() -> None:
    x = numbers(2, 3, 4)
    labels = np.array([[0, 1, 2], [3, 2, 1]], np.int32)
    mask = np.array([[True, True, False], [True, False, False]])
    built = build(lambda ctx, x, t, w: metrics.accuracy(x, t, weights=w), x=x, t=labels, w=mask)
    assert built.run() == pytest.approx((x.argmax(-1) == labels)[mask].mean(), rel=1e-15)
    none = build(
        lambda ctx, x, t, w: metrics.accuracy(x, t, weights=w), x=x, t=labels, w=np.zeros((2, 3))
    )
    assert none.run() == 0.0


def test_nan_is_never_right() -> None:
    x = np.array([[np.nan, 1.0, 2.0], [0.0, np.nan, -1.0], [np.inf, 1.0, 2.0], [-np.inf] * 3])
    for label, right in ((0, 0.5), (1, 0.0), (2, 0.0)):
        t = np.full(4, label, np.int32)
        assert build(lambda ctx, x, t: metrics.accuracy(x, t), x=x, t=t).run() == right


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_])
def test_binary_accuracy(dtype: type) -> None:
    x = np.array([-1.0, 0.0, 2.0, 3.0, np.nan])
    t = np.array([0, 1, 1, 0, 1]).astype(dtype)
    built = build(lambda ctx, x, t: metrics.binary_accuracy(x, t), x=x, t=t)
    assert built.run() == pytest.approx(2 / 5)


def test_mean_with_weights() -> None:
    x, w = numbers(4, 3), numbers(4, seed=1, low=0.0)
    built = build(lambda ctx, x, w: metrics.mean(x, weights=w), x=x, w=w)
    assert built.run() == pytest.approx((x * w[:, None]).sum() / (3 * w.sum()), rel=1e-12)
    whole = np.arange(5, dtype=np.int32)
    assert build(lambda ctx, x: metrics.mean(x), x=whole).run() == 2.0


def test_moving_average_is_the_weighted_mean_of_all_steps() -> None:
    values = [3.0, -1.0, 4.0, 1.0, 5.0]
    total = weight = np.float64(0.0)
    for n, value in enumerate(values, start=1):
        built = build(
            lambda ctx, x: metrics.moving_average(ctx.at("m"), "loss", x, 0.8),
            training=True,
            x=np.float64(value),
        )
        state = {"/m/loss/total": total, "/m/loss/weight": weight}
        nodes = built.graph.variable_values
        assert set(nodes) == set(state)
        got, total, weight = evaluate(
            [built.output, *(nodes[path] for path in state)], {"x": value, **state}, "float64"
        )
        powers = 0.8 ** np.arange(n - 1, -1, -1.0)
        assert got == pytest.approx((powers * values[:n]).sum() / powers.sum(), rel=1e-14)


def test_a_step_that_does_not_train_reports_the_average_as_it_is() -> None:
    built = build(lambda ctx, x: metrics.moving_average(ctx, "loss", x), x=np.float64(7.0))
    assert built.graph.variable_values == {}
    assert built.run() == 0.0  # before the first step
    built.ctx.get_variable("/loss/total").set_value(1.5)
    built.ctx.get_variable("/loss/weight").set_value(0.5)
    assert built.run() == 3.0


def test_what_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2, 3))
    with pytest.raises(DTypeError, match="labels are class numbers"):
        metrics.accuracy(x, x)
    with pytest.raises(ShapeError, match="one label for each row"):
        metrics.accuracy(x, graph.input("t", "int32", (3,)))
    with pytest.raises(ShapeError, match="of one number"):
        metrics.moving_average(Context(), "m", x)
    with pytest.raises(FrontendError, match="wrong decay"):
        metrics.moving_average(Context(), "m", graph.input("y", "float32"), 1.0)


def test_wide_labels_name_no_other_class() -> None:
    """2^32 is 0 in 32 bits."""
    x = np.array([[5.0, 0.0], [5.0, 0.0], [np.nan, 0.0]])
    t = np.array([0, 2**32, 2**40], np.int64)
    assert build(lambda ctx, x, t: metrics.accuracy(x, t), x=x, t=t).run() == 1 / 3
    built = build(
        lambda ctx, x, t: losses.categorical_cross_entropy(x, t, reduction="sum"), x=x[:2], t=t[:2]
    )
    assert built.run() == pytest.approx(np.log1p(np.exp(-5.0)), rel=1e-12)


def test_two_moving_averages_have_two_names() -> None:
    ctx, graph = Context(), Graph()
    ctx.set_training(graph, True)
    x = graph.input("x", "float32", ())
    metrics.moving_average(ctx, "loss", x)
    metrics.moving_average(ctx, "other", x)
    with pytest.raises(FrontendError, match=r"has one already(.|\n)*'loss' twice"):
        metrics.moving_average(ctx, "loss", x * 2.0)
