"""Graphs as JSON: exact values, canonical text, and text that is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.frontend import ops
from stepforge.frontend.errors import FrontendError, SerializeError
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.serialize import from_json, graph_from_data, graph_to_data, to_json


def build() -> Graph:
    graph = Graph("g")
    x = graph.input("x", "f32", (2,))
    ops.reduce_sum(x * 0.1, 0)
    return graph


TEXT = (
    '{"graphs":[{"blocks":[[1,[["input",[],{"dtype":"float32","name":"x","shape":[2]}],'
    '["constant",[],{"dtype":"float32","shape":[],"value":0.1}],["broadcast",[-1],{"axes":[],'
    '"shape":[2]}],["mul",[-3,-1],{}],["reduce_sum",[-1],{"axes":[0]}]]]],"name":"g"}]'
    ',"named":{"total":[0,4]}}'
)


def test_golden_text() -> None:
    graph = build()
    assert to_json([graph], {"total": graph.nodes[-1]}) == TEXT
    graphs, named = from_json(TEXT)
    assert to_json(graphs, named) == TEXT
    assert named["total"] is graphs[0].nodes[-1]
    assert from_json(TEXT.encode())[1].keys() == {"total"}


def test_several_graphs_keep_their_nodes_apart() -> None:
    one, two = build(), build()
    graphs, named = from_json(to_json([one, two], {"a": one.nodes[0], "b": two.nodes[0]}))
    assert [named["a"].graph, named["b"].graph] == graphs


def test_locations_are_kept_when_asked_for() -> None:
    graph = build()
    (copy,), _ = from_json(to_json([graph], locations=True))
    assert [x.location for x in copy.nodes] == [x.location for x in graph.nodes]
    (plain,), _ = from_json(to_json([graph]))
    assert {x.location for x in plain.nodes} == {""}


@settings(deadline=None)
@given(st.floats(), st.sampled_from(["f64", "f32", "bf16"]))
def test_float_constants_are_exact(value: float, dtype: str) -> None:
    graph = Graph()
    try:
        graph.constant(value, dtype)
    except FrontendError:
        return  # a finite value that the dtype cannot hold
    copy = graph_from_data(json.loads(json.dumps(graph_to_data(graph), allow_nan=False)))
    got = copy.nodes[0].attributes["value"]
    assert got == value or (math.isnan(got) and math.isnan(value))
    assert math.copysign(1, got) == math.copysign(1, value) or math.isnan(value)
    (a,), (b,) = evaluate(graph.nodes, {}), evaluate(copy.nodes, {})
    assert a.tobytes() == b.tobytes()


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_integer_constants_are_exact(value: int) -> None:
    graph = Graph()
    graph.constant([value], "i64")
    copy = graph_from_data(graph_to_data(graph))
    assert copy.nodes[0].attributes["value"] == (value,)
    assert evaluate(copy.nodes, {})[0].tolist() == [value]


def node(*row: Any) -> Any:
    return block([1, [list(row)]])


def block(*blocks: Any) -> Any:
    return {"graphs": [{"name": "g", "blocks": list(blocks)}], "named": {}}


def each(*entries: Any) -> Any:
    return {"each": list(entries)}


INPUT = {"dtype": "float32", "name": "x", "shape": [2]}
ONE = {"dtype": "float32", "shape": [], "value": 1.0}

WRONG: list[tuple[Any, str]] = [
    ([], "the document must have exactly its keys"),
    ({"graphs": []}, "the document must have exactly its keys"),
    ({"graphs": {}, "named": {}}, r"(?s)the document: 'graphs'.*expected: list"),
    ({"graphs": [1], "named": {}}, "a graph must have exactly its keys"),
    ({"graphs": [], "named": {"a": [0, 0]}}, r"(?s)'a' names a node.*\[0, 0\]"),
    ({"graphs": [], "named": {"a": 3}}, "expected: a list"),
    (node("input", []), r"(?s)node 0 of graph 'g' is wrong.*a node is \[op"),
    (node("plus", [], {}), r"(?s)unknown op.*got: plus"),
    (node(["add"], [], {}), "unknown op"),
    (node("add", [0, 0], {}), "operands are ids of earlier nodes"),
    (node("add", [], {}), "add: wrong number of operands"),
    (node("concatenate", [], {"axis": 0}), "concatenate: wrong number of operands"),
    (node("input", [], {"dtype": "float32", "name": "x"}), "the attributes of input must have"),
    (node("input", [], INPUT | {"more": 1}), "the attributes of input must have"),
    (node("input", [], INPUT | {"dtype": "f1"}), "not a dtype"),
    (node("input", [], INPUT | {"dtype": 3}), "expected: a string"),
    (node("input", [], INPUT | {"name": None}), "expected: a string"),
    (node("input", [], INPUT | {"shape": [-2]}), "sizes of 0 or more"),
    (node("input", [], INPUT | {"shape": [2.0]}), "expected: an integer"),
    (node("input", [], INPUT | {"shape": [True]}), "expected: an integer"),
    (node("input", [], INPUT, 3), "expected: a string"),
    (node("constant", [], {"dtype": "int8", "shape": [], "value": 300}), "does not fit int8"),
    (node("constant", [], {"dtype": "int8", "shape": [], "value": "1"}), "a number, or lists"),
    (node("constant", [], {"dtype": "int8", "shape": [], "value": {}}), "a number, or lists"),
    (node("constant", [], {"dtype": "int8", "shape": [2], "value": [1]}), "have the shape"),
    (node("iota", [], {"dtype": "int8", "shape": [2], "axis": 1}), "iota: the axis"),
    (node("add", [-1, -1], {}), "operands are ids of earlier nodes"),
    (node("add", [[0], 0], {}), r"an operand is an id, or \[id, stride\]"),
    (block([1]), r"a block is \[count, nodes\]"),
    (block([0, []]), r"a block is \[count, nodes\]"),
    (block([10**12, [["constant", [], ONE]]]), "(?s)stands for too much.*4000000 values"),
    (block([10**6, [["constant", [], {**ONE, "shape": [9], "value": [1] * 9}]]]), "too much"),
    (block([2, [["input", [], INPUT]]]), "input names are unique"),
    (block([2, [["input", [], INPUT | {"name": each("x")}]]]), "(?s)one for each turn.*got: 1"),
    (block([2, [["input", [], INPUT | {"name": each([None, 2])}]]]), "one for each turn"),
    (block([2, [["input", [], INPUT | {"name": each(["", "", 0, 1, 2])}]]]), "in the table"),
    (block([2, [["input", [], INPUT | {"name": {"all": []}}]]]), "the attribute name must have"),
    (block([2, [["input", [], INPUT | {"shape": each([[2], 1])}]]]), "one for each turn"),
    (block([2, [["input", [], INPUT | {"shape": each([[2], 10**12])}]]]), "too much"),
    (block([2, [["input", [], INPUT | {"shape": each([2, 2])}]]]), "expected: a list"),
    (block([2, [["input", [], INPUT | {"dtype": each(["int8", 2])}]]]), "expected: a string"),
    (block([1, [["constant", [], ONE]]], [2, [["neg", [[0, 9]], {}]]]), "ids of earlier nodes"),
]


@pytest.mark.parametrize(("data", "text"), WRONG)
def test_wrong_documents(data: Any, text: str) -> None:
    with pytest.raises(SerializeError, match=text):
        from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "nope", b"\xff", "[" * 100_000, "1" * 5000])
def test_text_that_is_not_json(text: str) -> None:
    with pytest.raises(SerializeError):
        from_json(text)


def test_a_value_nested_too_deep() -> None:
    deep = "[" * 900 + "1" + "]" * 900
    with pytest.raises(SerializeError):
        from_json(TEXT.replace("0.1", deep))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 4), st.integers(0, 2), JSON)
def test_any_value_in_any_place_is_read_or_refused(index: int, place: int, value: Any) -> None:
    data = json.loads(TEXT)
    data["graphs"][0]["blocks"][0][1][index][place] = value
    try:
        from_json(json.dumps(data))
    except SerializeError:
        return


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["dtype", "shape", "value", "axes", "name"]), JSON)
def test_any_attribute_is_read_or_refused(key: str, value: Any) -> None:
    data = json.loads(TEXT)
    for row in data["graphs"][0]["blocks"][0][1]:
        if key in row[2]:
            row[2][key] = value
    try:
        graphs, named = from_json(json.dumps(data))
    except SerializeError:
        return
    assert to_json(graphs, named) == json.dumps(data, separators=(",", ":"), sort_keys=True)


def many(count: int) -> Graph:
    """Updates of variables of different shapes, which share a rate."""
    graph = Graph("many")
    pairs = [(graph.input(f"w{i}", "f32", (i, 3)), f"gradient:w{i}") for i in range(count)]
    rate = graph.input("rate", "f32", ())
    for w, name in pairs:
        g = graph.input(name, "f32", w.shape)
        ops.reduce_sum((w - g * rate) * -0.0 + w * 0.0, 1)
    return graph


def test_what_repeats_is_stored_once() -> None:
    graph = many(50)
    names = [f"w{i}" for i in range(50)]
    data: Any = graph_to_data(graph, names=names)
    assert max(count for count, _ in data["blocks"]) >= 48
    assert sum(len(rows) for _, rows in data["blocks"]) < 60 < len(graph.nodes) / 10
    copy = graph_from_data(json.loads(json.dumps(data)), names=names)
    assert graph_to_data(copy, names=names) == data
    for a, b in zip(graph.nodes, copy.nodes, strict=True):
        assert (a.id, a.op, dict(a.attributes), a.type) == (b.id, b.op, dict(b.attributes), b.type)
        assert [x.id for x in a.inputs] == [x.id for x in b.inputs]
        assert str(a.attributes.get("value")) == str(b.attributes.get("value"))  # -0.0 is not 0.0
    with pytest.raises(SerializeError, match="a name is made of one in the table"):
        graph_from_data(data, names=names[:9])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["neg", "abs", "add"]), st.integers(0, 5))))
def test_any_order_of_nodes_survives(steps: list[tuple[str, int]]) -> None:
    graph = Graph("any")
    graph.input("x", "f32", (2,))
    for name, back in steps:
        nodes = graph.nodes
        operand, last = nodes[-1 - back % len(nodes)], nodes[-1]
        _ = ops.add(operand, last) if name == "add" else getattr(ops, name)(operand)
    copy = graph_from_data(json.loads(json.dumps(graph_to_data(graph))))
    expected = [(x.op, [y.id for y in x.inputs]) for x in graph.nodes]
    assert [(x.op, [y.id for y in x.inputs]) for x in copy.nodes] == expected


def test_a_document_with_the_same_name_twice() -> None:
    graph = Graph()
    graph.input("x", "f32", (2,))
    data = graph_to_data(graph)
    blocks: Any = data["blocks"]
    blocks.append(blocks[0])
    with pytest.raises(SerializeError, match="input names are unique"):
        graph_from_data(data)


def test_numpy_values_do_not_reach_the_text() -> None:
    graph = Graph()
    x = graph.input("x", "f32", np.ones((2, 3)).shape)
    ops.slice(x, (np.int64(0), np.int64(1)), (2, 3))
    ops.reduce_sum(x, np.int64(1))
    (copy,), _ = from_json(to_json([graph]))
    assert [x.type for x in copy.nodes] == [x.type for x in graph.nodes]
