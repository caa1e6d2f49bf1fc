"""The text form of a graph, as a whole."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.dump import dump
from stepforge.frontend.graph import Graph

GOLDEN = """\
graph 'step'
  %0 = input '/w' : f32[4,2]
  %1 = input '/lr' : f32[]
  %2 = constant 0.1 : f32[]
  %3 = mul(%1, %2) : f32[]
  %4 = broadcast(%3) axes=[] : f32[4,2]
  %5 = sub(%0, %4) : f32[4,2]
  %6 = slice(%5) starts=[1,0] limits=[3,2] strides=[1,1] : f32[2,2]
  %7 = reduce_sum(%6) axes=[1] : f32[2]
  %8 = constant [[True,False],[False,True]] : i1[2,2]
  %9 = constant [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,...] : i8[40]
  %10 = cast(%7) : bf16[2]
  %11 = iota axis=0 : i64[3]
"""


def build() -> Graph:
    graph = Graph("step")
    w, rate = graph.input("/w", "f32", (4, 2)), graph.input("/lr", "f32")
    part = ops.slice(w - rate * 0.1, (1, 0), (3, 2))
    total = ops.reduce_sum(part, 1)
    graph.constant([[True, False], [False, True]], "bool")
    graph.constant(list(range(40)), "i8")
    ops.cast(total, "bf16")
    ops.iota(graph, "i64", (3,))
    return graph


def test_whole_graph() -> None:
    assert dump(build(), locations=False) == GOLDEN


def test_nodes_with_what_they_need() -> None:
    nodes = build().nodes
    text = dump([nodes[3], nodes[1]], locations=False)
    lines = GOLDEN.splitlines()
    assert text.splitlines() == ["nodes", *lines[2:5], "  return %3, %1"]


def test_locations_stand_behind() -> None:
    graph = Graph()
    graph.input("x", "f32")
    title, line = dump(graph).splitlines()
    assert title == "graph"
    assert line.startswith("  %0 = input 'x' : f32[]  ")
    assert "  # test_dump.py:" in line
