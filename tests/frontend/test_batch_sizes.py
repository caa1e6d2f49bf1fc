"""Batch sizes of a training program: one set of entry points each, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge.frontend import (
    Adam,
    Context,
    FrontendError,
    Node,
    TrainOutputs,
    initializers,
    ops,
    train_program,
)
from stepforge.frontend.batch_sizes import MAX_SIZES
from stepforge.frontend.program import Program

INPUTS = {"x": "?x4xf32", "y": "?x3xf32"}
NAMES = ["train_step", "accumulate", "evaluate", "predict"]


def linear(ctx: Context, x: Node) -> Node:
    w = ctx.variable("w", (4, 3), initializer=initializers.he_normal(seed=1))
    return ops.matmul(x, w.value_graph(x.graph))


def model(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    p = linear(ctx, x)
    return TrainOutputs(loss=ops.reduce_mean(abs(p - y)), predictions={"p": p})


def traced(loss: Any = model, **options: Any) -> Program:
    return train_program(loss, Context(), Adam(), **{"inputs": INPUTS, **options})


def types(program: Program, function: str) -> dict[str, tuple[int, ...]]:
    arguments = program.entry_point(function).arguments
    return {x.name: x.node.shape for x in arguments if x.role == "input"}


def test_the_largest_has_the_plain_names() -> None:
    program = traced(batch_sizes=(1, 32, 8), accumulate_steps=2)
    assert [entry.name for entry in program.entry_points] == [
        *(f"{name}{suffix}" for suffix in ("", "_b8", "_b1") for name in NAMES),
        "initialize",
    ]
    assert types(program, "train_step") == {"x": (32, 4), "y": (32, 3)}
    assert types(program, "accumulate_b8") == {"x": (8, 4), "y": (8, 3)}
    assert types(program, "predict_b1") == {"x": (1, 4)}


def test_variables_and_hyperparameters_are_those_of_one_size() -> None:
    several, one = traced(batch_sizes=(8, 2)), traced(batch_sizes=[8])
    assert several.variables == one.variables
    assert several.groups == one.groups
    names = [entry.name for entry in one.entry_points]
    assert names == ["train_step", "evaluate", "predict", "initialize"]
    fixed = traced(inputs={"x": "8x4xf32", "y": "8x3xf32"})
    assert one.variables == fixed.variables


@pytest.mark.parametrize(
    "x",
    [
        "?x4xf32",
        ((None, 4), "float32"),
        (None, 4),
        ["?", 4],
        {"shape": [None, 4], "dtype": "float32"},
        {"shape": ("?", 4)},
    ],
)
def test_how_an_open_dimension_is_written(x: Any) -> None:
    program = traced(inputs={"x": x, "y": "?x3xf32"}, batch_sizes=(8, 2))
    assert types(program, "evaluate_b2") == {"x": (2, 4), "y": (2, 3)}


def test_inputs_without_rows_keep_their_shape_and_their_functions() -> None:
    """A function that takes no batch is there once."""

    def loss(ctx: Context, x: Node, table: Node) -> TrainOutputs:
        p = linear(ctx, table)
        score = ops.reduce_mean(linear(ctx, x)) + ops.reduce_mean(p)
        return TrainOutputs(loss=score, predictions={"p": p})

    inputs = {"x": "?x4xf32", "table": np.zeros((5, 4), np.float32)}
    program = traced(loss, inputs=inputs, batch_sizes=(8, 2))
    names = [entry.name for entry in program.entry_points]
    calls = ["train_step", "evaluate", "predict", "train_step_b2", "evaluate_b2"]
    assert names == [*calls, "initialize"]
    assert types(program, "evaluate_b2") == {"x": (2, 4), "table": (5, 4)}


SIZES = "different whole numbers of at least 1"
REFUSED: list[Any] = [
    pytest.param({}, r"needs the sizes .*\n.*\n  got: 'x': '\?x4xf32', 'y'", id="no sizes"),
    pytest.param(
        {"inputs": {"x": "8x4xf32", "y": "8x3xf32"}, "batch_sizes": (8,)},
        r"are for inputs with an open batch dimension(.|\n)*write \? for the leading",
        id="nothing open",
    ),
    *(
        pytest.param({"batch_sizes": sizes}, SIZES, id=repr(sizes))
        for sizes in ((), (8, 8), (0,), (-1, 2), (2.0,), (True,), 8, "8", (2**31,))
    ),
    pytest.param({"batch_sizes": tuple(range(1, MAX_SIZES + 2))}, SIZES, id="too many"),
    *(
        pytest.param({"inputs": {"x": x, "y": "?x3xf32"}, "batch_sizes": (2,)}, text, id=repr(x))
        for x, text in {
            "8x?xf32": "only the leading dimension of an input may be open",
            "?x?xf32": "only the leading dimension of an input may be open",
            (4, None): "only the leading dimension of an input may be open",
            "?": "a shape is written as dimensions and dtype joined by x",
            "?4xf32": "a shape is written as dimensions and dtype joined by x",
            "?x0xf32": "every dimension of an input is at least 1",
        }.items()
    ),
]


@pytest.mark.parametrize(("options", "text"), REFUSED)
def test_what_is_refused(options: Any, text: str) -> None:
    with pytest.raises(FrontendError, match=text):
        traced(**options)


def variable_of_the_batch(ctx: Context, x: Node, y: Node) -> Node:
    offset = ctx.variable("offset", (x.shape[0], 3), initializer=initializers.zeros())
    return ops.reduce_mean(linear(ctx, x) + offset.value_graph(x.graph) - y)


def metric_of_large_batches(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    made = model(ctx, x, y)
    return TrainOutputs(loss=made.loss, metrics={"wide": made.loss} if x.shape[0] > 2 else {})


def predictions_of_small_batches(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    made = model(ctx, x, y)
    return made if x.shape[0] == 2 else TrainOutputs(loss=made.loss)


def predictions_of_large_batches(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    made = model(ctx, x, y)
    return made if x.shape[0] > 2 else TrainOutputs(loss=made.loss)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (
            variable_of_the_batch,
            r"'/offset' exists already, with another shape(.|\n)*"
            r"no variable's shape may follow the batch size",
        ),
        (
            metric_of_large_batches,
            r"the same variables and outputs for each batch size\n"
            r"  expected: train_step_b2: gives output wide\n  got: nothing more",
        ),
        (
            predictions_of_small_batches,
            r"expected: predict_b2: no such entry point\n  got: takes parameter /w, takes input x",
        ),
        (
            predictions_of_large_batches,
            r"expected: predict_b2: takes parameter /w, .*\n  got: no such entry point",
        ),
    ],
)
def test_what_depends_on_the_size(loss: Any, text: str) -> None:
    with pytest.raises(FrontendError, match=text):
        traced(loss, batch_sizes=(8, 2))
