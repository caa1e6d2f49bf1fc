"""Graph and Node: operators, numbers beside nodes, the user's line, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32
from stepforge.frontend.errors import DTypeError, FrontendError, GraphError, ShapeError
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.ops.arithmetic import ADD

HERE = "test_graph.py"

OPERATORS: list[Callable[[Any, Any], Any]] = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.pow),
    *(operator.lt, operator.le, operator.gt, operator.ge),
]


def line() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


@pytest.mark.parametrize("function", OPERATORS, ids=lambda f: f.__name__)
def test_operators_of_two_nodes_and_of_numbers(function: Callable[[Any, Any], Any]) -> None:
    a, b = np.array([1.0, 2.0, 3.0], np.float32), np.array([2.0, 2.0, 2.0], np.float32)
    graph = Graph()
    x, y = graph.input("x", "f32", (3,)), graph.input("y", "f32", (3,))
    rows = [(function(x, y), function(a, b)), (function(x, 2), function(a, np.float32(2)))]
    rows += [(function(2.0, x), function(np.float32(2), a)), (function(np.float64(2), x), None)]
    for node, expected in rows[:3]:
        (got,) = evaluate([node], {"x": a, "y": b})
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
    assert evaluate([rows[3][0]], {"x": a})[0].tolist() == function(2, a).tolist()


def test_unary_operators() -> None:
    x = Graph().input("x", "i32", (2,))
    a = np.array([3, -4], np.int32)
    assert evaluate([-x, abs(x)], {"x": a})[0].tolist() == [-3, 4]
    assert evaluate([abs(x)], {"x": a})[0].tolist() == [3, 4]


def test_a_number_takes_the_dtype_beside_it() -> None:
    for short in ("f64", "f32", "f16", "bf16", "i64", "i32", "i8"):
        x = Graph().input("x", short, (2,))
        assert (x + 1).dtype == x.dtype
        assert (1 - x).dtype == x.dtype
    assert (Graph().input("x", "bf16") * 0.5).dtype.short == "bf16"
    assert ops.equal(Graph().input("x", "bool"), True).dtype.short == "i1"


def test_rank_0_is_broadcast_by_a_node_of_its_own() -> None:
    graph = Graph()
    x, rate = graph.input("x", "f32", (2, 3)), graph.input("rate", "f32")
    product = rate * x
    assert [node.op for node in graph.nodes] == ["input", "input", "broadcast", "mul"]
    assert product.shape == (2, 3)
    assert (rate * 2).shape == ()
    assert ops.where(rate < 0, x, 1.0).shape == (2, 3)


def test_nodes_are_equal_only_to_themselves_and_do_not_change() -> None:
    x = Graph().input("x", "f32")
    y = x + 1
    assert x == x
    assert x != y
    assert len({x, y, x}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        x.id = 3  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        x.attributes["name"] = "z"  # pyright: ignore[reportIndexIssue]


def test_a_node_knows_the_users_line() -> None:
    graph = Graph()
    x = graph.input("x", "f32", (2,))
    here = line() + 1
    y = ops.reduce_mean(ops.square(x * 2.0 + 1.0), keep_dims=True)
    assert y.location == f"{HERE}:{here}"
    assert {node.location for node in graph.nodes[1:]} == {f"{HERE}:{here}"}
    assert repr(y).endswith(f": f32[1] at {HERE}:{here}>")


def test_graph_keeps_its_nodes_and_inputs() -> None:
    graph = Graph("step")
    x, y = graph.input("x", "f32", (2,)), graph.input("y", float32, [2])
    z = x + y
    assert graph.nodes == (x, y, z)
    assert list(graph.inputs.items()) == [("x", x), ("y", y)]
    assert [node.id for node in graph.nodes] == [0, 1, 2]
    assert repr(graph) == "<Graph 'step', 3 nodes>"
    assert (z.op, z.inputs, dict(z.attributes), z.rank) == ("add", (x, y), {}, 1)


def test_constants_are_exact_and_rounded_once() -> None:
    graph = Graph()
    third = graph.constant(1 / 3, "bf16")
    assert third.attributes["value"] == 1 / 3
    near, far = evaluate([third, third * 3.0], {}), evaluate([third], {}, precision="f64")
    assert near[0].dtype == third.dtype.numpy
    assert float(far[0]) == 1 / 3
    assert graph.constant(np.float32(0.1), "f64").attributes["value"] == float(np.float32(0.1))
    nested = graph.constant(np.array([[1, 2], [3, 4]], np.int8), "i64")
    assert (nested.shape, nested.attributes["value"]) == ((2, 2), ((1, 2), (3, 4)))
    assert graph.constant(0.0, "f32", (3,)).shape == (3,)
    assert graph.constant(2**53 + 1, "i64").attributes["value"] == 2**53 + 1


WRONG_CONSTANTS: list[tuple[object, str, Any, type[FrontendError], str]] = [
    (1.5, "i32", None, DTypeError, "a constant of int32 cannot be of type float"),
    (1.0, "bool", None, DTypeError, "a constant of bool cannot be of type float"),
    (1, "bool", None, DTypeError, "a constant of bool cannot be of type int"),
    (True, "f32", None, DTypeError, "a constant of float32 cannot be of type bool"),
    (True, "i32", None, DTypeError, "a constant of int32 cannot be of type bool"),
    (300, "i8", None, DTypeError, "does not fit int8"),
    (2**63, "i64", None, DTypeError, "does not fit int64"),
    (1e300, "f32", None, DTypeError, "does not fit float32"),
    (70000.0, "f16", None, DTypeError, "does not fit float16"),
    (10**400, "f64", None, DTypeError, "does not fit float64"),
    ("1", "f32", None, DTypeError, "a constant is a number"),
    (1j, "f32", None, DTypeError, "a constant is a number"),
    ([1.0, 2.0], "f32", (3,), ShapeError, "does not have the shape"),
    ([1.0, [2.0]], "f32", None, ShapeError, "does not have the shape"),
    ([[1.0], 2.0], "f32", None, ShapeError, "too few axes"),
    (1.0, "f32", (-1,), ShapeError, "sizes of 0 or more"),
    (1.0, "f32", (1.5,), ShapeError, "sizes of 0 or more"),
    (1.0, "f31", None, DTypeError, "not a dtype"),
]


@pytest.mark.parametrize(("value", "dtype", "shape", "error", "text"), WRONG_CONSTANTS)
def test_wrong_constants(
    value: object, dtype: str, shape: Any, error: type[FrontendError], text: str
) -> None:
    with pytest.raises(error, match=text):
        Graph().constant(value, dtype, shape)


def test_a_constant_may_be_infinite_or_nan() -> None:
    graph = Graph()
    for short in ("f64", "f32", "f16", "bf16"):
        values = evaluate([graph.constant([np.inf, -np.inf, np.nan], short)], {})[0]
        np.testing.assert_array_equal(values.astype(np.float64), [np.inf, -np.inf, np.nan])


def test_both_sides_and_the_users_line_are_in_the_message() -> None:
    graph = Graph()
    x, y = graph.input("x", "f32", (3,)), graph.input("y", "f64", (3,))
    with pytest.raises(DTypeError) as info:
        x + y  # pyright: ignore[reportUnusedExpression]
    here = line() - 1
    assert str(info.value) == (
        "add: operands must have the same dtype, there is no implicit promotion\n"
        "  expected: float32\n"
        "  got: f32[3] and f64[3]\n"
        f"  at: {__file__}:{here}\n"
        '  fix: convert one side, for example with ops.cast(x, "float32")'
    )


def test_misuse_of_nodes() -> None:
    graph, other = Graph("one"), Graph("two")
    x, y = graph.input("x", "f32", (2,)), other.input("y", "f32", (2,))
    with pytest.raises(GraphError, match="nodes of one graph"):
        graph.add(ADD, (x, y), {})
    with pytest.raises(GraphError, match=r"(?s)no truth value.*ops\.where"):
        bool(x < 1)
    with pytest.raises(GraphError, match="input names are unique, and 'x' is taken"):
        graph.input("x", "i8")
    with pytest.raises(GraphError, match=r"(?s)operands are nodes and numbers.*ndarray"):
        x + np.ones(2)  # pyright: ignore
    with pytest.raises(GraphError, match=r"(?s)operands are nodes and numbers.*ndarray"):
        np.ones(2) * x  # pyright: ignore
    with pytest.raises(GraphError, match=r"(?s)nodes and numbers.*got: str"):
        ops.add(x, "1")  # pyright: ignore[reportArgumentType]
    with pytest.raises(GraphError, match="at least one operand must be a node"):
        ops.add(1, 2)


def test_a_failed_node_leaves_the_graph_usable() -> None:
    graph = Graph()
    x: Node = graph.input("x", "f32", (2,))
    with pytest.raises(ShapeError):
        ops.reshape(x, (3,))
    assert [node.id for node in graph.nodes] == [0]
    assert (x + x).id == 1
