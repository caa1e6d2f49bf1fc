"""Monotonic projection: exact against pool-adjacent-violators, approximate against a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend.errors import DTypeError, FrontendError, ShapeError
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.monotonic import Method, monotonic_projection

Array = NDArray[Any]


def project(
    x: Array, margin: Array, axis: int, method: Method, precision: str = "float64"
) -> Array:
    graph = Graph()
    node = monotonic_projection(
        graph.input("x", x.dtype, x.shape),
        graph.input("margin", margin.dtype, margin.shape),
        axis,
        method=method,
    )
    (result,) = evaluate([node], {"x": x, "margin": margin}, precision)
    return result


def pool_adjacent_violators(x: Array) -> Array:
    """The nearest non-decreasing sequence, by merging neighbours that are out of order."""
    blocks: list[list[float]] = []
    for value in x:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    return np.concatenate([np.full(int(n), mean) for mean, n in blocks])


def exact(x: Array, margin: Array) -> Array:
    offset = np.concatenate([[0.0], np.cumsum(np.broadcast_to(margin, len(x) - 1))])
    return pool_adjacent_violators(x - offset) + offset


def approximate(x: Array, margin: Array) -> Array:
    """Both pushes of the seed, element by element."""

    def widen(gaps: Array, margin: Array) -> Array:
        gaps = gaps.copy()
        if len(gaps) > 1:
            for _ in range(3):
                missing = np.maximum(margin - gaps, 0.0)
                gaps = np.maximum(gaps, margin)
                gaps[1:] -= missing[:-1]
        return np.maximum(gaps, margin)

    gaps = np.diff(x)
    right = x[0] + np.concatenate([[0.0], np.cumsum(widen(gaps, margin))])
    left_gaps = widen(gaps[::-1], np.atleast_1d(margin)[::-1])[::-1]
    left = x[0] - (left_gaps.sum() - gaps.sum()) + np.concatenate([[0.0], np.cumsum(left_gaps)])
    return (right + left) / 2.0


REFERENCES = {"exact": exact, "approximate": approximate}


@pytest.mark.parametrize("method", ["exact", "approximate"])
@pytest.mark.parametrize("size", [2, 3, 4, 7, 8, 9, 31])
@pytest.mark.parametrize("margin", [0.0, 0.3, -0.2])
def test_a_vector_is_projected_as_the_loop_does(method: Method, size: int, margin: float) -> None:
    random = np.random.default_rng(size)
    for _ in range(5):
        x = random.normal(size=size)
        got = project(x, np.array(margin), 0, method)
        np.testing.assert_allclose(got, REFERENCES[method](x, np.array(margin)), atol=1e-12)
        assert np.diff(got).min() >= margin - 1e-12


@pytest.mark.parametrize("method", ["exact", "approximate"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_any_axis_of_a_tensor(method: Method, axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    got = np.moveaxis(project(x, np.array(0.1), axis, method), axis, -1).reshape(-1, x.shape[axis])
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    for have, row in zip(got, rows, strict=True):
        np.testing.assert_allclose(have, REFERENCES[method](row, np.array(0.1)), atol=1e-12)


@pytest.mark.parametrize("method", ["exact", "approximate"])
@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (1, 1)])
def test_margins_may_differ_along_the_axis_and_between_rows(
    method: Method, shape: tuple[int, ...]
) -> None:
    random = np.random.default_rng(1)
    x, margin = random.normal(size=(3, 5)), random.uniform(0.0, 0.5, size=shape)
    got = project(x, margin, 1, method)
    full = np.broadcast_to(margin, (3, 4))
    for have, row, gaps in zip(got, x, full, strict=True):
        np.testing.assert_allclose(have, REFERENCES[method](row, gaps), atol=1e-12)


def test_the_exact_projection_is_nearer_than_the_seeds_and_than_any_other_viable_point() -> None:
    random = np.random.default_rng(2)
    x, margin = random.normal(size=9), np.array(0.1)
    best = np.linalg.norm(project(x, margin, 0, "exact") - x)
    assert best <= np.linalg.norm(project(x, margin, 0, "approximate") - x)
    for _ in range(200):
        viable = random.normal() + np.cumsum(
            0.1 + random.exponential(size=9) * random.uniform(0, 1)
        )
        assert best <= np.linalg.norm(viable - x)


@pytest.mark.parametrize("method", ["exact", "approximate"])
def test_a_viable_input_is_left_alone(method: Method) -> None:
    x = np.cumsum(np.random.default_rng(3).uniform(0.5, 2.0, size=16))
    np.testing.assert_allclose(project(x, np.array(0.5), 0, method), x, rtol=1e-14)


def test_large_offsets_cost_no_precision_in_float32() -> None:
    random = np.random.default_rng(4)
    x = (1000.0 + random.normal(size=64)).astype(np.float32)
    margin = np.array(0.0, np.float32)
    graph_single = project(x, margin, 0, "exact", "float32")
    np.testing.assert_allclose(graph_single, exact(x, margin), rtol=3e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("method", ["exact", "approximate"])
def test_half_precision_is_computed_in_float32(method: Method, dtype: str) -> None:
    graph = Graph()
    x = graph.input("x", dtype, (40,))
    node = monotonic_projection(x, graph.constant(0.0, dtype), 0, method=method)
    given = np.random.default_rng(5).normal(size=40).astype(x.dtype.numpy)
    (got,) = evaluate([node], {"x": given})
    wide = REFERENCES[method](given.astype(np.float64), np.array(0.0))
    assert got.dtype == x.dtype.numpy
    np.testing.assert_allclose(got.astype(np.float64), wide, rtol=1e-2, atol=1e-2)


def test_what_does_not_fit_is_refused() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (3, 1))
    margin = graph.constant(0.0, "float32")
    with pytest.raises(ShapeError, match="at least 2 elements"):
        monotonic_projection(x, margin, 1)
    with pytest.raises(ShapeError, match="the margin does not fit"):
        monotonic_projection(x, graph.input("m", "float32", (3, 1)), 0)
    with pytest.raises(DTypeError):
        monotonic_projection(x, graph.constant(0.0, "float64"), 0)
    with pytest.raises(FrontendError, match="unknown method"):
        monotonic_projection(x, margin, 0, method="nearest")  # pyright: ignore[reportArgumentType]
