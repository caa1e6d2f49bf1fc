"""Which derivative is taken where there is none, and what `gradient` refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import Graph, evaluate, gradient, ops, stop_gradient
from stepforge.frontend.errors import GradientError
from stepforge.frontend.graph import Node
from stepforge.frontend.simplify import simplify

INF, NAN = math.inf, math.nan


def slopes(build: Callable[[Node], Node], at: list[float]) -> Any:
    """The derivative of the sum of build(x) by x."""
    graph = Graph()
    x = graph.input("x", "float32", (len(at),))
    (dx,) = gradient(ops.reduce_sum(build(x)), [x])
    (got,) = evaluate([dx], {"x": np.array(at, np.float32)}, "float64")
    return got


KINKS: tuple[tuple[str, Callable[[Node], Node], list[float], list[float]], ...] = (
    ("abs", ops.abs, [-0.0, 0.0, NAN], [0, 0, NAN]),
    ("sign", ops.sign, [-1.0, 0.0, 1.0], [0, 0, 0]),
    ("floor", ops.floor, [-1.0, 0.5], [0, 0]),
    ("sqrt", ops.sqrt, [0.0, 4.0, -1.0], [INF, 0.25, NAN]),
    ("log", ops.log, [0.0, INF], [INF, 0]),
    ("maximum", lambda x: ops.maximum(x, 0.0), [-1.0, 0.0, 1.0], [0, 0.5, 1]),
    ("minimum", lambda x: ops.minimum(x, 0.0), [-1.0, 0.0, 1.0], [1, 0.5, 0]),
    ("maximum with itself", lambda x: ops.maximum(x, x), [3.0], [1]),
    ("clip", lambda x: ops.clip(x, -1.0, 2.0), [-2, -1, 0, 2, 3], [0, 0.5, 1, 0.5, 0]),
    ("relu", ops.relu, [-1.0, -0.0, 0.0, 1.0], [0, 0, 0, 1]),
    ("leaky_relu", lambda x: ops.leaky_relu(x, 0.25), [-1, 0, 1], [0.25, 0.25, 1]),
    ("elu", lambda x: ops.elu(x, 2.0), [0.0, 1000.0], [2, 1]),
    ("x ** 0", lambda x: x**0.0, [0.0, 1.0], [0, 0]),
    ("x ** 1", lambda x: x**1.0, [0.0, -2.0], [1, 1]),
    ("x ** 2", lambda x: x**2.0, [0.0, -2.0], [0, -4]),
    ("pow by a node", lambda x: ops.pow(x, x * 0 + 2.0), [0.0, 3.0], [0, 6]),
    ("0 ** x", lambda x: ops.pow(x * 0, x), [2.0], [0]),
    ("reduce_max", lambda x: ops.reduce_max(x), [1, 3, 3, 2], [0, 0.5, 0.5, 0]),
    ("reduce_min", lambda x: ops.reduce_min(x), [1, 1, 1, 2], [1 / 3, 1 / 3, 1 / 3, 0]),
    ("reduce_prod, one zero", lambda x: ops.reduce_prod(x), [2, 0, 5], [0, 10, 0]),
    ("reduce_prod, two zeros", lambda x: ops.reduce_prod(x), [0, 0, 5], [0, 0, 0]),
    ("sigmoid", ops.sigmoid, [-800, 800, -INF, INF], [0, 0, 0, 0]),
    ("tanh", ops.tanh, [-800, 800], [0, 0]),
    ("erf", ops.erf, [-80, 0, INF], [0, 2 / math.sqrt(math.pi), 0]),
    ("softplus", ops.softplus, [-800, 0, 800], [0, 0.5, 1]),
    ("where, guarded", lambda x: ops.where(x > 0.0, ops.log(ops.where(x > 0.0, x, 1.0)), 0.0),
     [-1, 0, 2], [0, 0, 0.5]),
    ("where, not guarded", lambda x: ops.where(x > 0.0, ops.sqrt(x), 0.0), [0, 4], [NAN, 0.25]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("build", "at", "expected"), [k[1:] for k in KINKS], ids=[k[0] for k in KINKS]
)
def test_at_the_edges(
    build: Callable[[Node], Node], at: list[float], expected: list[float]
) -> None:
    np.testing.assert_allclose(slopes(build, at), expected, rtol=1e-12)


def test_second_derivatives_where_branches_meet() -> None:
    graph = Graph()
    x = graph.input("x", "float32", ())
    for function, expected in ((ops.softplus, 0.25), (ops.silu, 0.5), (lambda x: x**2.0, 2.0)):
        (first,) = gradient(function(x), [x])
        (second,) = gradient(first, [x])
        assert evaluate([second], {"x": np.float32(0)}, "float64")[0] == pytest.approx(expected)


def test_a_product_with_a_zero_has_its_second_derivatives() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (3,))
    (first,) = gradient(ops.reduce_prod(x), [x])
    (second,) = gradient(ops.reduce_sum(first), [x])
    (got,) = evaluate([second], {"x": np.array([2, 0, 5], np.float32)})
    np.testing.assert_array_equal(got, [5 + 0, 2 + 5, 0 + 2])


def test_what_is_stopped_is_a_constant_and_costs_nothing() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2,))
    (dx,) = gradient(ops.reduce_sum(x * stop_gradient(x * x)), [x])
    (got,) = evaluate([dx], {"x": np.array([2, 3], np.float32)})
    np.testing.assert_array_equal(got, [4, 9])
    small, _ = simplify([dx], [x], "step")
    assert "stop_gradient" not in {node.op for node in small.nodes}


def test_wrt_may_be_any_float_nodes_repeated_or_unrelated() -> None:
    graph = Graph()
    x, other = graph.input("x", "float32", (2,)), graph.input("other", "float16", (3,))
    y = x * x
    loss = ops.reduce_sum(y * y)
    dy, dx, again, none, one = gradient(loss, [y, x, x, other, loss])
    assert (none.dtype.name, none.shape) == ("float16", (3,))
    values = evaluate([dy, dx, again, none, one], {"x": np.array([1, 2], np.float32)})
    for got, expected in zip(values, [[2, 8], [4, 32], [4, 32], [0, 0, 0], 1], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_nothing_flows_through_integers_and_bools() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2,))
    counted = ops.cast(ops.cast(x, "int32") + 1, "float32") + ops.cast(x > 0.0, "float32")
    (dx,) = gradient(ops.reduce_sum(counted * x), [x])
    (got,) = evaluate([dx], {"x": np.array([2.5, -3.5], np.float32)})
    np.testing.assert_array_equal(got, [4, -2])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_gradients_have_the_dtype_of_their_nodes(dtype: str) -> None:
    graph = Graph()
    x = graph.input("x", dtype, (300,))
    loss = ops.cast(ops.reduce_sum(ops.cast(ops.reduce_max(x) * 4.0, "float32")), "float32")
    (dx,) = gradient(loss, [x])
    assert dx.type == x.type
    (got,) = evaluate([dx], {"x": np.zeros(300, x.dtype.numpy)})
    np.testing.assert_allclose(got.astype(float), 4 / 300, rtol=2**-8)


def test_what_is_no_single_float_is_refused() -> None:
    graph = Graph()
    x, n = graph.input("x", "float32", (2,)), graph.input("n", "int32")
    with pytest.raises(GradientError, match="a gradient is taken of a single float") as error:
        gradient(x, [x])
    assert "ops.reduce_mean" in str(error.value)
    with pytest.raises(GradientError, match="a gradient is taken of a single float"):
        gradient(n, [x])
    with pytest.raises(GradientError, match="with respect to float nodes of the output's graph"):
        gradient(ops.reduce_sum(x), [n])
    with pytest.raises(GradientError, match="with respect to float nodes of the output's graph"):
        gradient(ops.reduce_sum(x), [Graph().input("x", "float32", (2,))])


def test_an_empty_operand_has_an_empty_gradient() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (0, 3))
    total = ops.reduce_sum(ops.reduce_prod(x, 0)) + ops.reduce_sum(ops.reduce_sum(x, 0))
    (dx,) = gradient(total, [x])
    assert evaluate([dx], {"x": np.zeros((0, 3), np.float32)})[0].shape == (0, 3)
