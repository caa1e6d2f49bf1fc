"""Contractions, convolutions, pooling, rows by number: values and derivatives in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import initializers, ops, random
from stepforge.frontend.errors import DTypeError, FrontendError, ShapeError
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.gradient import gradient
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.verify import verify
from support.contraction_cases import SMALL, Contraction
from support.tensor_cases import TENSOR_CASES, TensorCase

Array = NDArray[Any]
ALL = (*(TensorCase(c.name, c.build, c.shapes, c.loops, c.terms) for c in SMALL), *TENSOR_CASES)
WITH_LOOPS = [case for case in ALL if case.loops is not None]


@pytest.mark.parametrize("case", WITH_LOOPS, ids=str)
def test_value(case: TensorCase) -> None:
    _, node = case.graph("float64")
    verify(node.graph)
    arrays = [x.astype(np.float64) if x.dtype == np.float32 else x for x in case.arrays()]
    (got,) = evaluate([node], {f"x{i}": x for i, x in enumerate(arrays)})
    assert case.loops is not None
    expected = case.loops(*arrays)
    assert got.shape == node.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_whole_numbers_wrap(case: Contraction) -> None:
    graph, rng = Graph(), np.random.default_rng(0)
    nodes = [graph.input(f"x{i}", "int8", shape) for i, shape in enumerate(case.shapes)]
    arrays = [rng.integers(-128, 128, shape).astype(np.int8) for shape in case.shapes]
    (got,) = evaluate([case.build(*nodes)], {f"x{i}": x for i, x in enumerate(arrays)})
    exact = case.loops(*(x.astype(np.int64) for x in arrays))
    np.testing.assert_array_equal(got, exact.astype(np.int8))


def _slope(node: Node, inputs: Mapping[str, Array], name: str, along: Array) -> float:
    """The derivative of a rank-0 node along a direction: Richardson's, of three widths."""

    def central(width: float) -> float:
        both = [
            float(evaluate([node], {**inputs, name: inputs[name] + side * width * along})[0])
            for side in (1, -1)
        ]
        return (both[0] - both[1]) / (2 * width)

    rows = [central(2.0**-10 / 2**i) for i in range(3)]
    rows = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(rows)]
    return (16 * rows[1] - rows[0]) / 15


def _assert_slopes(
    output: Node, slopes: list[Node], wrt: list[Node], inputs: Mapping[str, Array]
) -> None:
    rng = np.random.default_rng(1)
    for x, values in zip(wrt, evaluate(slopes, inputs), strict=True):
        along = rng.uniform(-1, 1, x.shape)
        expected = _slope(output, inputs, x.attributes["name"], along)
        assert float(np.sum(values * along)) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_first_and_second_derivatives(case: TensorCase) -> None:
    nodes, y = case.graph("float64")
    arrays = [x.astype(np.float64) if x.dtype == np.float32 else x for x in case.arrays()]
    inputs = {f"x{i}": x for i, x in enumerate(arrays)}
    wrt = [x for x in nodes if x.dtype.is_float]
    rng = np.random.default_rng(0)
    output = ops.reduce_sum(y * y * y.graph.constant(rng.uniform(0.5, 1.5, y.shape), y.dtype))
    first = gradient(output, wrt)
    assert [x.type for x in first] == [x.type for x in wrt]
    _assert_slopes(output, first, wrt, inputs)
    terms = [ops.reduce_sum(x * x.graph.constant(rng.normal(size=x.shape), x.dtype)) for x in first]
    again = sum(terms[1:], terms[0])
    _assert_slopes(again, gradient(again, wrt), wrt, inputs)
    verify(y.graph)


def _x(dtype: str, *shape: int) -> Node:
    return Graph().input("x", dtype, shape)


def _two(build: Any, first: str, a: tuple[int, ...], second: str, b: tuple[int, ...]) -> Node:
    graph = Graph()
    return build(graph.input("a", first, a), graph.input("b", second, b))


def _conv(at: Mapping[str, Any], x: tuple[int, ...], kernel: tuple[int, ...]) -> Node:
    return _two(lambda a, b: ops.conv(a, b, **at), "f32", x, "f32", kernel)


REFUSED: list[tuple[str, Any, type[FrontendError], str]] = [
    ("inner sizes", lambda: _two(ops.matmul, "f32", (2, 3), "f32", (4, 5)), ShapeError,
     r"f32\[2,3\] and f32\[4,5\]"),
    ("dtypes", lambda: _two(ops.matmul, "f32", (2, 3), "f64", (3, 2)), DTypeError,
     r"f32\[2,3\] and f64\[3,2\]"),
    ("stacks", lambda: _two(ops.matmul, "f32", (2, 3, 4), "f32", (3, 4, 5)), ShapeError,
     r"f32\[2,3,4\] and f32\[3,4,5\]"),
    ("numbers", lambda: _two(ops.matmul, "f32", (), "f32", (3,)), ShapeError, "not a matrix"),
    ("bools", lambda: _two(ops.matmul, "bool", (3,), "bool", (3,)), DTypeError, "wrong dtype"),
    ("paired sizes", lambda: _two(lambda a, b: ops.dot_general(a, b, contract=((1,), (1,))),
     "f32", (2, 3), "f32", (4, 5)), ShapeError, "3 and 5"),
    ("unpaired", lambda: _two(lambda a, b: ops.dot_general(a, b, contract=((1,), ())),
     "f32", (2, 3), "f32", (4, 5)), ShapeError, "as many axes of both"),
    ("twice", lambda: _two(lambda a, b: ops.dot_general(a, b, contract=((1, 1), (0, 1))),
     "f32", (2, 3), "f32", (3, 3)), ShapeError, "at most once"),
    ("no arrow", lambda: ops.einsum("ij", _x("f32", 2, 3)), ShapeError, "einsum"),
    ("letters", lambda: ops.einsum("ijk->i", _x("f32", 2, 3)), ShapeError, "2 letters for"),
    ("diagonal", lambda: ops.einsum("ii->i", _x("f32", 2, 2)), ShapeError, "once an operand"),
    ("own axes", lambda: ops.einsum("ij->ik", _x("f32", 2, 2)), ShapeError, "axes of its own"),
    ("einsum sizes", lambda: _two(lambda a, b: ops.einsum("ij,jk->ik", a, b), "f32", (2, 3),
     "f32", (4, 5)), ShapeError, "3 and 4"),
    ("channels", lambda: _conv({}, (1, 5, 5, 3), (3, 3, 2, 4)), ShapeError, r"\[1,5,5,3\]"),
    ("groups", lambda: _conv({"groups": 2}, (1, 5, 5, 4), (3, 3, 2, 3)), ShapeError, "groups=2"),
    ("spatial", lambda: _conv({}, (1, 5, 5, 5, 3), (3, 3, 3, 3, 2)), ShapeError, "1 or 2 spatial"),
    ("fits", lambda: _conv({"padding": "valid"}, (1, 2, 5, 3), (3, 3, 3, 2)), ShapeError, "got: 3"),
    ("padding", lambda: _conv({"padding": "full"}, (1, 5, 3), (3, 3, 2)), ShapeError, "'full'"),
    ("strides", lambda: _conv({"strides": 0}, (1, 5, 3), (3, 3, 2)), ShapeError, "strides"),
    ("pool rank", lambda: ops.max_pool(_x("f32", 5, 5), 2), ShapeError, r"got: f32\[5,5\]"),
    ("pool size", lambda: ops.max_pool(_x("f32", 1, 5, 5, 1), 6), ShapeError, "at most 5"),
    ("pool padding", lambda: ops.avg_pool(_x("f32", 1, 5, 1), 2, 1, ((2, 0),)), ShapeError, "real"),
    ("mean of integers", lambda: ops.avg_pool(_x("i32", 1, 4, 1), 2), DTypeError, "avg_pool"),
    ("row numbers", lambda: _two(ops.gather, "f32", (3,), "f32", (2,)), DTypeError, "int32 or"),
    ("no rows", lambda: _two(ops.gather, "f32", (0, 2), "i32", (2,)), ShapeError, "rows to choose"),
    ("bits of floats", lambda: ops.bit_and(_x("f32"), 1), DTypeError, "got: float32"),
    ("bits of bytes", lambda: ops.shift_left(_x("i8"), 1), DTypeError, "got: int8"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "error", "message"), [r[1:] for r in REFUSED],
                         ids=[r[0] for r in REFUSED])  # fmt: skip
def test_refused(build: Any, error: type[FrontendError], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_updates_are_rows() -> None:
    graph = Graph()
    x, i = graph.input("x", "f32", (5, 3)), graph.input("i", "i32", (4,))
    with pytest.raises(ShapeError, match=r"f32\[5,3\] and i32\[4\] and f32\[4,2\]"):
        ops.scatter_add(x, i, graph.input("u", "f32", (4, 2)))


def test_one_hot() -> None:
    graph = Graph()
    node = ops.one_hot(graph.input("x", "int32", (4,)), 3)
    (got,) = evaluate([node], {"x": np.array([2, 0, 3, -1], np.int32)})
    assert got.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def _key(graph: Graph, seed: int) -> random.Key:
    return random.constant_key(graph.constant(0, "int32"), seed, "/w")


@pytest.mark.parametrize("shape", [(), (70,), (3, 4, 5), (0, 3)])
def test_random_numbers_are_the_generator_s(shape: tuple[int, ...]) -> None:
    graph = Graph()
    node = random.random_uniform(_key(graph, 7), shape)
    (got,) = evaluate([node], {})
    index = np.arange(math.prod(shape), dtype=np.uint32)
    key = initializers.stream_start(7, "/w")
    word, _ = initializers.threefry2x32(key, index, np.zeros_like(index))
    expected = ((word >> np.uint32(8)) * 2.0**-24).astype(np.float32).reshape(shape)
    assert got.tobytes() == expected.tobytes()


def test_random_bits_are_the_generator_s() -> None:
    words = random.random_bits(_key(Graph(), -3), (4, 9), start=5)
    got = [x.view(np.uint32).ravel() for x in evaluate(words, {})]
    counter = np.arange(5, 41, dtype=np.uint32)
    key = initializers.stream_start(-3, "/w")
    expected = initializers.threefry2x32(key, counter, np.zeros_like(counter))
    np.testing.assert_array_equal(got, expected)


def test_a_folded_key_is_another() -> None:
    graph = Graph()
    step = graph.input("step", "int32")
    node = random.random_uniform(random.fold_in(_key(graph, 7), step), (100,), -1.0, 3.0)
    first, again, other = (evaluate([node], {"step": np.array(i, np.int32)})[0] for i in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert -1 <= first.min() < 0 < 2 < first.max() <= 3


def test_a_row_far_out_of_range_is_the_nearest() -> None:
    graph = Graph()
    node = ops.gather(graph.input("x", "f32", (3,)), graph.input("i", "i64", (3,)))
    given = {"x": np.array([1, 2, 3], np.float32), "i": np.array([-(2**40), 2**40, 1])}
    assert evaluate([node], given)[0].tolist() == [1, 3, 2]
