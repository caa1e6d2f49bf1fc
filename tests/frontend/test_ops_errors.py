"""What each op refuses: the class, the rule, and both sides in the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepforge.frontend import ops
from stepforge.frontend.errors import DTypeError, FrontendError, GraphError, ShapeError
from stepforge.frontend.graph import Graph, Node

Nodes = dict[str, Node]

SHAPES = {"a": (2, 3), "b": (3, 2), "v": (3,), "s": ()}
KINDS = {"f": "f32", "d": "f64", "i": "i32", "c": "bool"}

_ONE: Any = 1.0

ROWS: list[tuple[str, Callable[[Nodes], Any], type[FrontendError], str]] = [
    ("shape", lambda n: n["fa"] + n["fb"], ShapeError, r"got: f32\[2,3\] and f32\[3,2\]"),
    ("no rank promotion", lambda n: n["fa"] * n["fv"], ShapeError, "only rank-0 operands"),
    ("dtype", lambda n: n["fa"] < n["ia"], DTypeError, r"got: f32\[2,3\] and i32\[2,3\]"),
    (
        "float in integer",
        lambda n: n["ia"] + 0.5,
        DTypeError,
        "constant of int32 cannot be",
    ),
    (
        "bool number",
        lambda n: n["fa"] + True,
        DTypeError,
        "constant of float32 cannot be",
    ),
    ("sum of bools", lambda n: n["ca"] + n["ca"], DTypeError, "a float or integer dtype"),
    ("pow of integers", lambda n: n["ia"] ** 2, DTypeError, "pow: wrong dtype"),
    ("exp of integers", lambda n: ops.exp(n["ia"]), DTypeError, r"a float dtype\n  got: int32"),
    ("neg of bools", lambda n: -n["ca"], DTypeError, "neg: wrong dtype"),
    ("and of floats", lambda n: ops.logical_and(n["fa"], n["fa"]), DTypeError, "a bool dtype"),
    ("less of bools", lambda n: n["ca"] < n["ca"], DTypeError, "less: wrong dtype"),
    ("finite integers", lambda n: ops.is_finite(n["ia"]), DTypeError, "is_finite: wrong dtype"),
    ("condition", lambda n: ops.where(n["fa"], n["fa"], 0.0), DTypeError, r"where \(condition\)"),
    ("choices", lambda n: ops.where(n["ca"], n["fa"], n["da"]), DTypeError, "float64|f64"),
    ("condition shape", lambda n: ops.where(n["cv"], n["fa"], 0.0), ShapeError, "same shape"),
    ("numbers only", lambda n: ops.where(n["ca"], 1, 0), GraphError, "must be a node"),
    ("broadcast size", lambda n: ops.broadcast_to(n["fv"], (2, 4)), ShapeError, "sizes of matched"),
    ("broadcast rank", lambda n: ops.broadcast_to(n["fa"], (3,)), ShapeError, "fewer axes"),
    ("broadcast axes", lambda n: ops.broadcast_to(n["fa"], (2, 3), (1, 0)), ShapeError, "in incr"),
    ("broadcast range", lambda n: ops.broadcast_to(n["fv"], (3,), (1,)), ShapeError, "1 axes of"),
    ("reshape", lambda n: ops.reshape(n["fa"], (4,)), ShapeError, r"6 elements, as in f32\[2,3\]"),
    ("transpose", lambda n: ops.transpose(n["fa"], (0, 0)), ShapeError, "not a permutation"),
    ("transpose axis", lambda n: ops.transpose(n["fa"], (0, 2)), ShapeError, "no such axis"),
    ("slice rank", lambda n: ops.slice(n["fa"], (0,), (1,)), ShapeError, "one number per axis"),
    ("slice bounds", lambda n: ops.slice(n["fv"], (0,), (4,)), ShapeError, r"got: \[0:4:1\]"),
    ("slice stride", lambda n: ops.slice(n["fv"], (0,), (3,), (0,)), ShapeError, "be positive"),
    ("nothing to join", lambda n: ops.concatenate([]), ShapeError, "at least one node"),
    ("join sizes", lambda n: ops.concatenate([n["fa"], n["fb"]]), ShapeError, "every axis but"),
    ("join ranks", lambda n: ops.concatenate([n["fa"], n["fv"]]), ShapeError, "every axis but"),
    ("join dtypes", lambda n: ops.concatenate([n["fa"], n["da"]]), DTypeError, "must be equal"),
    ("join axis", lambda n: ops.concatenate([n["fa"]], 2), ShapeError, "no such axis"),
    ("pad value", lambda n: ops.pad(n["fv"], n["ds"], (1,), (1,)), DTypeError, "another type"),
    ("pad amounts", lambda n: ops.pad(n["fv"], 0.0, (-1,), (1,)), ShapeError, "0 or more"),
    ("reverse", lambda n: ops.reverse(n["fa"], 2), ShapeError, "reverse: there is no such axis"),
    ("sum axis", lambda n: ops.reduce_sum(n["fa"], -3), ShapeError, r"f32\[2,3\], which has 2"),
    ("axis twice", lambda n: ops.reduce_sum(n["fa"], (0, -2)), ShapeError, "each once"),
    ("sum dtype", lambda n: ops.reduce_sum(n["ca"]), DTypeError, "reduce_sum: wrong dtype"),
    ("mean dtype", lambda n: ops.reduce_mean(n["ia"]), DTypeError, "reduce_mean: wrong dtype"),
    ("all dtype", lambda n: ops.reduce_all(n["fa"]), DTypeError, "reduce_all: wrong dtype"),
    ("cumsum axis", lambda n: ops.cumsum(n["fs"]), ShapeError, "cumsum: there is no such axis"),
    ("iota axis", lambda n: ops.iota(n["fa"].graph, "f32", (2,), 1), ShapeError, "iota"),
    ("iota dtype", lambda n: ops.iota(n["fa"].graph, "bool", (2,)), DTypeError, "iota"),
    ("float axis", lambda n: ops.reduce_sum(n["fa"], _ONE), ShapeError, r"whole (?s:.*)got: 1\.0"),
    ("float bound", lambda n: ops.slice(n["fv"], (_ONE,), (2,)), ShapeError, "whole numbers"),
    ("cast", lambda n: ops.cast(n["fa"], "uint8"), DTypeError, "not a dtype"),
]


NAMES = [row[0] for row in ROWS]


@pytest.mark.parametrize(("build", "error", "text"), [row[1:] for row in ROWS], ids=NAMES)
def test_refusal(build: Callable[[Nodes], Any], error: type[FrontendError], text: str) -> None:
    graph = Graph()
    nodes = {
        kind + size: graph.input(kind + size, dtype, shape)
        for kind, dtype in KINDS.items()
        for size, shape in SHAPES.items()
    }
    with pytest.raises(FrontendError, match=text) as info:
        build(nodes)
    assert type(info.value) is error
    assert f"at: {__file__}:" in str(info.value)
