"""Simplification: fewer nodes, the same bits."""

from __future__ import annotations

import numpy as np

from stepforge.frontend import ops
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.simplify import simplify
from stepforge.frontend.verify import verify


def test_equal_nodes_become_one_and_unused_ones_go() -> None:
    graph = Graph("old")
    x = graph.input("x", "float32", (3,))
    unused = graph.input("unused", "float32")
    first, second = ops.exp(x * 2.0), ops.exp(x * 2.0)
    ops.log(first)
    new, renamed = simplify([first + second], [x], "new")
    verify(new)
    assert [n.op for n in new.nodes] == ["input", "constant", "broadcast", "mul", "exp", "add"]
    assert new.name == "new"
    assert renamed[first] is renamed[second]
    assert unused not in renamed
    kept, _ = simplify([x], [x, unused], "kept")
    assert list(kept.inputs) == ["x", "unused"]


def test_constants_that_compare_equal_but_differ_stay_apart() -> None:
    graph = Graph()
    values = [0.0, -0.0, float("nan"), 1.0]
    nodes = [graph.constant(value, "float32") for value in values]
    nodes += [graph.constant(1, "int64"), graph.constant(True, "bool"), graph.constant(1.0, "f64")]
    new, renamed = simplify(nodes, [], "new")
    assert len(new.nodes) == len(nodes)
    got = [v.item() for v in evaluate([renamed[n] for n in nodes], {})]
    assert np.signbit(got[:2]).tolist() == [False, True]
    assert got[3:] == [1.0, 1, True, 1.0]


def test_results_are_the_same_bit_for_bit() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (50,))
    y = ops.sin(x) * 0.1 + ops.sqrt(ops.abs(x)) / 3.0
    y = y + ops.sin(x) * 0.1
    _, renamed = simplify([y], [x], "new")
    given = {"x": np.random.default_rng(0).normal(size=50).astype(np.float32)}
    np.testing.assert_array_equal(evaluate([y], given)[0], evaluate([renamed[y]], given)[0])


def test_nodes_keep_the_users_line() -> None:
    graph = Graph()
    x = graph.input("x", "float32")
    y = x * 2.0
    _, renamed = simplify([y], [x], "new")
    assert renamed[y].location == y.location
    assert renamed[y].location.startswith("test_simplify.py:")
