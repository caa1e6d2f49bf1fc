"""The emit table is total, and only its own package touches the bindings."""

from __future__ import annotations

import pytest

from stepforge.frontend.graph import Graph
from stepforge.frontend.ops import OPS
from support.emitted import function, program

pytestmark = pytest.mark.compiler
emission = pytest.importorskip("stepforge.frontend.emit")


def test_every_op_has_an_emit_rule() -> None:
    assert set(emission.EMIT) == set(OPS) - {"input"}


def test_an_input_that_is_no_argument_is_refused() -> None:
    graph = Graph()
    outputs = [graph.input("x", "float32"), graph.input("y", "float32")]
    entry = function("step", [outputs[0] + outputs[1]])
    missing = type(entry)(
        entry.name, graph, entry.arguments[:1], entry.results, "arguments", entry.scalar_program
    )
    with pytest.raises(emission.EmitError, match="make it an argument"):
        emission.emit(program(missing))


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_a_host_scalar_is_f32_or_i64(dtype: str) -> None:
    graph = Graph()
    x = graph.input("rate", dtype)
    entry = function("step", [x], host=[x])
    with pytest.raises(emission.EmitError, match="rate: a host scalar is passed as one f32 or i64"):
        emission.emit(program(entry))
