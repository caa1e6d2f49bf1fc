"""Activations against float64 formulas, and where those overflow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import Graph, evaluate, gradient, ops
from stepforge.frontend.graph import Node

INF, NAN = math.inf, math.nan
X = np.linspace(-4, 4, 12).reshape(3, 4)
ERF = np.vectorize(math.erf)


def value(build: Callable[[Node], Node], x: Any, dtype: str = "float64") -> Any:
    node = Graph().input("x", dtype, np.shape(x))
    return evaluate([build(node)], {"x": np.asarray(x, node.dtype.numpy)})[0]


def powers(x: Any, axis: int) -> Any:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


FORMULAS: tuple[tuple[str, Callable[[Node], Node], Any], ...] = (
    ("relu", ops.relu, np.where(X > 0, X, 0)),
    ("leaky_relu", ops.leaky_relu, np.where(X > 0, X, 0.01 * X)),
    ("elu", lambda x: ops.elu(x, 1.5), np.where(X > 0, X, 1.5 * (np.exp(X) - 1))),
    ("gelu", ops.gelu, X * (1 + ERF(X / math.sqrt(2))) / 2),
    ("silu", ops.silu, X / (1 + np.exp(-X))),
    ("softplus", ops.softplus, np.log(1 + np.exp(X))),
    ("softmax", ops.softmax, powers(X, 1)),
    ("softmax over axis 0", lambda x: ops.softmax(x, 0), powers(X, 0)),
    ("log_softmax", ops.log_softmax, np.log(powers(X, 1))),
    ("logsumexp", ops.logsumexp, np.log(np.exp(X).sum())),
    ("logsumexp over axis 1", lambda x: ops.logsumexp(x, 1), np.log(np.exp(X).sum(1))),
    ("logsumexp kept", lambda x: ops.logsumexp(x, (0,), keep_dims=True),
     np.log(np.exp(X).sum(0, keepdims=True))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("build", "expected"), [row[1:] for row in FORMULAS], ids=[row[0] for row in FORMULAS]
)
def test_the_formula(build: Callable[[Node], Node], expected: Any) -> None:
    np.testing.assert_allclose(value(build, X), expected, rtol=1e-13, atol=1e-15)


def test_gelu_by_tanh_is_close_to_gelu() -> None:
    x = np.linspace(-8, 8, 999)
    near = value(lambda x: ops.gelu(x, exact=False), x)
    assert 1e-5 < np.max(np.abs(near - value(ops.gelu, x))) < 5e-4


STABLE: tuple[tuple[Callable[[Node], Node], list[float], Any], ...] = (
    (ops.relu, [-INF, INF, NAN], [0, INF, NAN]),
    (ops.elu, [-INF, 1e30, NAN], [-1, 1e30, NAN]),
    (ops.silu, [-1e4, 1e4], [0, 1e4]),
    (ops.softplus, [-INF, -1e4, 1e4, INF, NAN], [0, 0, 1e4, INF, NAN]),
    (ops.softplus, [-30.0], [math.exp(-30)]),
    (ops.softmax, [1e30, 1e30, -1e30], [0.5, 0.5, 0]),
    (ops.softmax, [-INF, 0.0], [0, 1]),
    (ops.log_softmax, [1e4, 0.0], [0, -1e4]),
    (ops.log_softmax, [0.0, 40.0], [-40, -math.exp(-40)]),
    (ops.logsumexp, [1e4, 1e4], 1e4 + math.log(2)),
    (ops.logsumexp, [-INF, -INF], -INF),
    (ops.logsumexp, [INF, 0.0], INF),
)


@pytest.mark.parametrize(("build", "at", "expected"), STABLE)
def test_no_overflow_on_the_way(
    build: Callable[[Node], Node], at: list[float], expected: Any
) -> None:
    np.testing.assert_allclose(value(build, at, "float32"), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["elu", "gelu", "silu", "softplus", "softmax", "log_softmax"])
def test_gradients_of_large_arguments_are_finite(name: str) -> None:
    graph = Graph()
    x = graph.input("x", "float32", (6,))
    weights = graph.constant(np.arange(6.0), "float32")
    (dx,) = gradient(ops.reduce_sum(getattr(ops, name)(x) * weights), [x])
    (got,) = evaluate([dx], {"x": np.array([-1e4, -100, 0, 100, 1e4, 1e4], np.float32)})
    assert np.isfinite(got).all()


def test_a_16_bit_softmax_is_summed_in_float32() -> None:
    """2,048 equal terms: in float16 their sum's last places, in bfloat16 most of them, are lost."""
    x = np.zeros(4096)
    for dtype in ("float16", "bfloat16"):
        got = value(ops.softmax, x, dtype).astype(np.float64)
        np.testing.assert_array_equal(got, 2.0**-12)
        total = value(ops.logsumexp, x, dtype).astype(np.float64)
        np.testing.assert_allclose(total, math.log(4096), rtol=2**-8)
