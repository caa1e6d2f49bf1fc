"""Losses against formulas in NumPy, their weights, their gradients, and extreme arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import Context, FrontendError, Graph, Node, evaluate, gradient, losses
from stepforge.frontend.errors import DTypeError, ShapeError
from support.layers import Array, assert_gradients, build, fixed, numbers

LABELS = np.array([[2, 0, 1], [1, 1, 3]], np.int32)


def log_softmax(x: Array) -> Array:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def of_label(x: Array, labels: Array) -> Array:
    return -np.take_along_axis(log_softmax(x), labels[..., None], -1)[..., 0]


def square(p: Array, t: Array) -> Array:
    return (p - t) ** 2


def distance(p: Array, t: Array) -> Array:
    return np.abs(p - t)


def huber(p: Array, t: Array) -> Array:
    e = np.abs(p - t)
    return np.where(e <= 0.7, e**2 / 2, 0.7 * (e - 0.35))


def binary(x: Array, t: Array) -> Array:
    p = 1 / (1 + np.exp(-x))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def smoothed(x: Array, t: Array) -> Array:
    return -((0.8 * t + 0.05) * log_softmax(x)).sum(-1)


Loss = Callable[..., Node]
ELEMENTS: dict[str, tuple[Loss, Callable[[Array, Array], Array]]] = {
    "mean_squared_error": (losses.mean_squared_error, square),
    "mean_absolute_error": (losses.mean_absolute_error, distance),
    "huber": (lambda p, t, **k: losses.huber(p, t, delta=0.7, **k), huber),
    "binary_cross_entropy": (losses.binary_cross_entropy, binary),
    "categorical_cross_entropy": (
        losses.categorical_cross_entropy,
        lambda x, t: -(t * log_softmax(x)).sum(-1),
    ),
    "label_smoothing": (
        lambda x, t, **k: losses.categorical_cross_entropy(x, t, label_smoothing=0.2, **k),
        smoothed,
    ),
}
names = pytest.mark.parametrize("name", ELEMENTS)


def operands(name: str) -> tuple[Array, Array]:
    targets = numbers(2, 3, 4, seed=1, low=0.0, high=1.0)
    return numbers(2, 3, 4), targets


@names
def test_elements_sum_and_mean(name: str) -> None:
    loss, formula = ELEMENTS[name]
    p, t = operands(name)
    expected = formula(p, t)
    for reduction, want in ((None, expected), ("sum", expected.sum()), ("mean", expected.mean())):
        got = build(lambda ctx, p, t, r=reduction: loss(p, t, reduction=r), p=p, t=t).run()
        np.testing.assert_allclose(got, want, rtol=1e-12)


@names
@pytest.mark.parametrize("shape", [(2,), (2, 3), ()])
def test_weights_of_leading_axes(name: str, shape: tuple[int, ...]) -> None:
    loss, formula = ELEMENTS[name]
    p, t = operands(name)
    w = numbers(*shape, seed=2, low=0.1, high=3.0)
    expected = formula(p, t)
    spread = np.broadcast_to(w.reshape(shape + (1,) * (expected.ndim - len(shape))), expected.shape)
    results = {
        None: spread * expected,
        "sum": (spread * expected).sum(),
        "mean": (spread * expected).sum() / spread.sum(),
    }
    for reduction, want in results.items():
        got = build(
            lambda ctx, p, t, w, r=reduction: loss(p, t, weights=w, reduction=r), p=p, t=t, w=w
        ).run()
        np.testing.assert_allclose(got, want, rtol=1e-12)


@names
def test_weights_of_nothing_give_0_and_no_gradient(name: str) -> None:
    loss, _ = ELEMENTS[name]
    p, t = operands(name)
    built = build(lambda ctx, p, t, w: loss(p, t, weights=w), p=p, t=t, w=np.zeros(2))
    slope, by_weight = gradient(built.output, [built.graph.inputs["p"], built.graph.inputs["w"]])
    value, by_p, by_w = built.run(slope, by_weight)
    assert value == 0
    assert (by_p == 0).all()
    assert np.isfinite(by_w).all()


@pytest.mark.parametrize("dtype", [np.bool_, np.int32])
def test_a_mask_leaves_elements_out(dtype: Any) -> None:
    p, t = numbers(2, 3), numbers(2, 3, seed=1)
    mask = np.array([[1, 0, 1], [0, 0, 1]], dtype)
    got = build(lambda ctx, p, t, w: losses.mean_squared_error(p, t, weights=w), p=p, t=t, w=mask)
    np.testing.assert_allclose(got.run(), square(p, t)[mask != 0].mean(), rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_sparse_labels(smoothing: float) -> None:
    x = numbers(2, 3, 4)
    built = build(
        lambda ctx, x, t: losses.categorical_cross_entropy(
            x, t, label_smoothing=smoothing, reduction=None
        ),
        x=x,
        t=LABELS,
    )
    dense = (1 - smoothing) * np.eye(4)[LABELS] + smoothing / 4
    np.testing.assert_allclose(built.run(), -(dense * log_softmax(x)).sum(-1), rtol=1e-12)


def test_a_label_out_of_range_costs_nothing() -> None:
    labels = np.array([-1, 4, 100, 3], np.int32)
    x = numbers(4, 4)
    got = build(
        lambda ctx, x, t: losses.categorical_cross_entropy(x, t, reduction=None), x=x, t=labels
    ).run()
    assert (got[:3] == 0).all()
    np.testing.assert_allclose(got[3:], of_label(x[3:], labels[3:]), rtol=1e-12)


@names
def test_gradients(name: str) -> None:
    loss, _ = ELEMENTS[name]
    p, t = operands(name)
    w = numbers(2, seed=2, low=0.2, high=2.0)
    assert_gradients(build(lambda ctx, p, t, w: loss(p, t, weights=w), p=p, t=t, w=w))


def test_gradients_with_sparse_labels() -> None:
    def loss(ctx: Context, x: Node) -> Node:
        labels = fixed(x, LABELS, "int32")
        return losses.categorical_cross_entropy(x, labels, label_smoothing=0.1)

    assert_gradients(build(loss, x=numbers(2, 3, 4)))


def test_binary_cross_entropy_keeps_its_digits_far_out() -> None:
    """In float32, to 4 ULP of log1p, exp and two roundings; the derivative is sigmoid(x) - t."""
    graph = Graph()
    values = np.array([0.0, 20.0, -20.0, 90.0, -90.0, 3e38, -3e38], np.float32)
    for t in (0.0, 1.0):
        x = graph.input(f"x{t}", "float32", values.shape)
        target = graph.constant(t, "float32", values.shape)
        loss = losses.binary_cross_entropy(x, target, reduction="sum")
        each = losses.binary_cross_entropy(x, target, reduction=None)
        got, slope = evaluate([each, gradient(loss, [x])[0]], {f"x{t}": values})
        sign = [x if t == 0.0 else -x for x in map(float, values)]
        want = [max(x, 0.0) + math.log1p(math.exp(-abs(x))) for x in sign]
        np.testing.assert_allclose(got, want, rtol=4 * 2.0**-23, atol=1e-44)
        by_x = [(0.5 if x == 0 else float(x > 0)) - t for x in map(float, values)]
        np.testing.assert_allclose(slope, by_x, atol=2.1e-9, rtol=2.0**-22)


def test_huber_and_absolute_error_have_no_slope_at_0() -> None:
    for loss in (losses.huber, losses.mean_absolute_error):
        built = build(lambda ctx, p, t, f=loss: f(p, t), p=np.zeros(3), t=np.zeros(3))
        (slope,) = gradient(built.output, [built.graph.inputs["p"]])
        assert (built.run(slope)[1] == 0).all()


def test_huber_is_smooth_where_its_line_begins() -> None:
    built = build(
        lambda ctx, p, t: losses.huber(p, t, reduction="sum"), p=np.ones(1), t=np.zeros(1)
    )
    (slope,) = gradient(built.output, [built.graph.inputs["p"]])
    value, by_p = built.run(slope)
    assert (value, by_p[0]) == (0.5, 1.0)


def test_halves_are_computed_in_float32() -> None:
    graph = Graph()
    p = graph.input("p", "float16", (4096,))
    loss = losses.mean_squared_error(p, graph.constant(0.0, "float16", (4096,)))
    assert loss.dtype.name == "float32"
    (got,) = evaluate([loss], {"p": np.full(4096, 300.0, np.float16)})
    assert got == 90000.0  # more than a float16 holds


def test_what_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2, 3))
    i = graph.input("i", "int32", (2,))
    with pytest.raises(ShapeError, match="one label for each row of logits"):
        losses.categorical_cross_entropy(x, graph.input("j", "int32", (3,)))
    with pytest.raises(DTypeError, match="class numbers or probabilities"):
        losses.categorical_cross_entropy(x, graph.input("b", "bool", (2, 3)))
    with pytest.raises(FrontendError, match="label_smoothing is a share"):
        losses.categorical_cross_entropy(x, i, label_smoothing=1.0)
    with pytest.raises(FrontendError, match="unknown reduction"):
        losses.mean_squared_error(x, x, reduction="max")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="leading axes of what they weigh"):
        losses.mean_squared_error(x, x, weights=graph.input("w", "float32", (3,)))
    with pytest.raises(ShapeError, match="same shape"):
        losses.mean_squared_error(x, graph.input("y", "float32", (3, 2)))
    with pytest.raises(DTypeError, match="huber"):
        losses.huber(graph.input("k", "int32", (2,)), i)
    with pytest.raises(FrontendError, match="delta"):
        losses.huber(x, x, delta=0.0)
