"""Every rule of a well-formed graph, broken once."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any

import pytest

from stepforge.frontend.dtypes import TensorType, float64
from stepforge.frontend.errors import VerifyError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.verify import verify


def good() -> Graph:
    graph = Graph("good")
    x = graph.input("x", "f32", (2,))
    y = graph.input("y", "f32", (2,))
    (x + y).graph.constant(1.0, "f32")
    return graph


def broken(index: int, **changes: Any) -> Graph:
    """The good graph with one node replaced by a changed copy."""
    graph = good()
    nodes: list[Node] = graph._nodes
    nodes[index] = dataclasses.replace(nodes[index], **changes)
    return graph


def test_a_good_graph_passes() -> None:
    verify(good())


def wrong_graphs() -> dict[str, tuple[Graph, str]]:
    other, later = good().nodes[0], Graph("good")
    two = (later.input("x", "f32", (2,)), later.input("y", "f32", (2,)))
    return {
        "another graph's operand": (broken(2, inputs=(other, other)), "operands stand before"),
        "an operand's copy": (broken(2, inputs=two), "operands stand before the node"),
        "id": (broken(2, id=7), r"(?s)a node's id is its place.*%2.*%7"),
        "owner": (broken(2, graph=later), "a node's id is its place"),
        "op": (broken(2, op="plus"), r"(?s)the op is in the table.*add.*got: plus"),
        "operands": (broken(2, inputs=()), r"(?s)its number of operands.*2.*0"),
        "attributes": (broken(2, attributes=MappingProxyType({"axis": 1})), "exactly its attrib"),
        "type": (broken(2, type=TensorType(float64, (2,))), r"(?s)f32\[2\].*got: f64\[2\]"),
        "name": (broken(1, attributes=good().nodes[0].attributes), "input names are unique"),
    }


@pytest.mark.parametrize("name", wrong_graphs())
def test_a_broken_graph(name: str) -> None:
    graph, text = wrong_graphs()[name]
    with pytest.raises(VerifyError, match=text):
        verify(graph)


def test_an_operand_that_its_op_refuses() -> None:
    graph = good()
    nodes: list[Node] = graph._nodes
    wide = dict(nodes[0].attributes, dtype=float64)
    nodes[0] = dataclasses.replace(
        nodes[0], attributes=MappingProxyType(wide), type=TensorType(float64, (2,))
    )
    nodes[2] = dataclasses.replace(nodes[2], inputs=(nodes[0], nodes[1]))
    with pytest.raises(VerifyError, match=r"(?s)the type rule accepts.*no implicit promotion"):
        verify(graph)


def test_the_message_names_the_node_and_its_line() -> None:
    with pytest.raises(VerifyError, match=r"<%2 = add : f64\[2\] at test_verify\.py:\d+>"):
        verify(broken(2, type=TensorType(float64, (2,))))
