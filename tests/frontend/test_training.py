"""Training programs: what they export, what they train, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge.frontend import (
    Adam,
    AdamW,
    Context,
    FrontendError,
    Graph,
    Node,
    StochasticGradientDescent,
    TrainOutputs,
    initializers,
    ops,
    train_program,
)
from stepforge.frontend.program import Program
from stepforge.frontend.reference import ReferenceStep

INPUTS = {"x": "8x4xf32", "y": "8x3xf32"}


def linear(ctx: Context, x: Node, features: int) -> Node:
    w = ctx.variable("w", (x.shape[-1], features), initializer=initializers.he_normal(seed=1))
    b = ctx.variable("b", (features,), initializer=initializers.zeros())
    product = ops.matmul(x, w.value_graph(x.graph))
    return product + ops.broadcast_to(b.value_graph(x.graph), product.shape)


def model(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    hidden = ops.maximum(linear(ctx.at("encoder"), x, 5), 0.0)
    error = linear(ctx.at("head"), hidden, 3) - y
    return TrainOutputs(
        loss=ops.reduce_mean(error * error),
        metrics={"mae": ops.reduce_mean(abs(error))},
        predictions={"out": error + y},
    )


def batch(seed: int, count: int = 8) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {
        "x": draw.standard_normal((count, 4)).astype(np.float32),
        "y": draw.standard_normal((count, 3)).astype(np.float32),
    }


def arguments(program: Program, function: str, role: str) -> list[str]:
    return [x.name for x in program.entry_point(function).arguments if x.role == role]


def test_a_program_trains_evaluates_and_predicts() -> None:
    program = train_program(model, Context(), Adam(), inputs=INPUTS)
    names = [entry.name for entry in program.entry_points]
    assert names == ["train_step", "evaluate", "predict", "initialize"]
    parameters = ["/encoder/w", "/encoder/b", "/head/w", "/head/b"]
    assert arguments(program, "train_step", "parameter") == parameters
    assert program.entry_point("train_step").parameters == tuple(parameters)
    assert arguments(program, "train_step", "input") == ["x", "y"]
    assert arguments(program, "train_step", "gradient") == []
    outputs = [x.name for x in program.entry_point("train_step").results if x.role == "output"]
    assert outputs == ["loss", "mae"]
    assert not [x for x in program.entry_point("evaluate").results if x.role == "state"]


def test_predict_takes_only_what_predictions_need() -> None:
    def loss(ctx: Context, x: Node, y: Node) -> TrainOutputs:
        p = linear(ctx, x, 3)
        return TrainOutputs(loss=ops.reduce_mean((p - y) * (p - y)), predictions={"p": p})

    program = train_program(loss, Context(), Adam(), inputs=INPUTS)
    assert arguments(program, "predict", "input") == ["x"]
    assert arguments(program, "evaluate", "input") == ["x", "y"]


def test_one_step_is_the_gradient_step() -> None:
    """SGD on a linear model, against the gradient written by hand."""

    def loss(ctx: Context, x: Node, y: Node) -> Node:
        error = linear(ctx, x, 3) - y
        return ops.reduce_mean(error * error)

    program = train_program(
        loss, Context(), StochasticGradientDescent(learning_rate=0.5, decay=False), inputs=INPUTS
    )
    step = ReferenceStep(program, "float64")
    step.initialize()
    data = batch(0)
    w, b = step.variables["/w"].copy(), step.variables["/b"].copy()
    error = data["x"].astype(np.float64) @ w + b - data["y"]
    outputs = step.step(data, "train_step")
    assert outputs["loss"] == pytest.approx((error**2).mean(), rel=1e-14)
    np.testing.assert_allclose(
        step.variables["/w"], w - 0.5 * data["x"].T.astype(np.float64) @ error / 12, rtol=1e-13
    )
    np.testing.assert_allclose(step.variables["/b"], b - 0.5 * error.sum(0) / 12, rtol=1e-13)
    assert step.variables["/global_step"] == 1


def test_frozen_variables_keep_their_values_and_have_no_slots() -> None:
    ctx = Context()
    ctx.at("encoder").freeze()
    program = train_program(model, ctx, Adam(), inputs=INPUTS)
    assert program.entry_point("train_step").parameters == ("/head/w", "/head/b")
    slots = [spec.of for spec in program.variables if spec.role == "slot"]
    assert sorted(set(slots), key=str) == ["/head/b", "/head/w"]
    specs = {spec.name: spec for spec in program.variables}
    assert not specs["/encoder/w"].trainable
    assert specs["/head/w"].trainable
    step = ReferenceStep(program)
    step.initialize()
    before = {path: np.copy(value) for path, value in step.variables.items()}
    step.step(batch(1), "train_step")
    for path in ("/encoder/w", "/encoder/b"):
        assert (step.variables[path] == before[path]).all()
    assert (step.variables["/head/w"] != before["/head/w"]).any()


def stopped(ctx: Context, x: Node, y: Node) -> Node:
    """A head on features that it does not train, in a scale that only decides."""
    features = ops.stop_gradient(linear(ctx.at("encoder"), x, 5))
    scale = ctx.variable("scale", (), initializer=initializers.ones()).value_graph(x.graph)
    error = ops.where(scale > 0.0, linear(ctx.at("head"), features, 3) - y, y)
    return ops.reduce_mean(error * error)


def test_what_is_behind_stop_gradient_alone_is_left_alone() -> None:
    """A zero gradient would still give it slots, and AdamW would decay it."""
    program = train_program(stopped, Context(), AdamW(weight_decay=0.1), inputs=INPUTS)
    assert program.entry_point("train_step").parameters == ("/head/w", "/head/b")
    slots = {spec.of for spec in program.variables if spec.role == "slot"}
    assert slots == {"/head/b", "/head/w"}
    step = ReferenceStep(program)
    step.initialize()
    before = {path: np.copy(value) for path, value in step.variables.items()}
    step.step(batch(1), "train_step")
    for path in ("/encoder/w", "/encoder/b", "/scale"):
        assert (step.variables[path] == before[path]).all()
    assert (step.variables["/head/w"] != before["/head/w"]).any()


def test_one_way_without_stop_gradient_is_enough() -> None:
    def loss(ctx: Context, x: Node, y: Node) -> Node:
        out = linear(ctx, x, 3)
        return ops.reduce_mean(out * ops.stop_gradient(out) - y)

    program = train_program(loss, Context(), AdamW(), inputs=INPUTS)
    assert program.entry_point("train_step").parameters == ("/w", "/b")


def test_the_nearest_scope_decides_what_is_frozen() -> None:
    ctx = Context()
    ctx.freeze()
    ctx.at("head").freeze(frozen=False)
    program = train_program(model, ctx, Adam(), inputs=INPUTS)
    assert program.entry_point("train_step").parameters == ("/head/w", "/head/b")


@pytest.mark.parametrize("steps", [2, 4])
def test_micro_batches_make_the_step_of_the_whole_batch(steps: int) -> None:
    whole = ReferenceStep(
        train_program(
            model, Context(), Adam(), inputs={"x": f"{8 * steps}x4xf32", "y": f"{8 * steps}x3xf32"}
        ),
        "float64",
    )
    parts = ReferenceStep(
        train_program(model, Context(), Adam(), inputs=INPUTS, accumulate_steps=steps), "float64"
    )
    whole.initialize()
    parts.initialize()
    for k in range(3):
        data = batch(k, 8 * steps)
        whole.step(data, "train_step")
        for i in range(steps):
            part = {name: value[8 * i : 8 * (i + 1)] for name, value in data.items()}
            parts.step(part, "train_step" if i == steps - 1 else "accumulate")
    for path, value in whole.variables.items():
        np.testing.assert_allclose(parts.variables[path], value, rtol=1e-12, atol=1e-15)


def test_update_graph_takes_the_gradients_of_a_loss() -> None:
    """The seed's way: variables and loss in one graph, and the optimizer adds the update."""
    ctx, graph = Context(), Graph("step")
    x, y = graph.input("x", "float32", (8, 4)), graph.input("y", "float32", (8, 3))
    made = model(ctx, x, y)
    Adam().update_graph(ctx, graph, made.loss)
    assert {"/encoder/w", "/encoder/b", "/head/w", "/head/b"} <= graph.variable_values.keys()
    assert graph.variable_values["/global_step"].dtype.name == "int64"


def test_training_is_told_apart() -> None:
    seen: list[bool] = []

    def loss(ctx: Context, x: Node, y: Node) -> TrainOutputs:
        seen.append(ctx.is_training(x.graph))
        return model(ctx, x, y)

    train_program(loss, Context(), Adam(), inputs=INPUTS)
    assert seen == [True, False, False]
    assert not Context().is_training(Graph())


def tensor_loss(ctx: Context, x: Node, y: Node) -> Node:
    return linear(ctx, x, 3) - y


def nothing_to_train(ctx: Context, x: Node, y: Node) -> Node:
    return ops.reduce_mean(x) + ops.reduce_mean(y)


def forgets_an_input(ctx: Context, x: Node, y: Node) -> Node:
    return ops.reduce_mean(linear(ctx, x, 3))


def no_node(ctx: Context, x: Node, y: Node) -> Any:
    return 3.0


def changes_when_it_evaluates(ctx: Context, x: Node, y: Node) -> Node:
    seen = ctx.variable("seen", (), trainable=False, initializer=initializers.zeros())
    seen.set_value_graph(seen.value_graph(x.graph) + 1.0)
    return model(ctx, x, y).loss


def reports_the_loss_twice(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    made = model(ctx, x, y)
    return TrainOutputs(loss=made.loss, metrics={"loss": made.loss})


def with_outputs(**outputs: Any) -> Any:
    return lambda ctx, x, y: TrainOutputs(**{"loss": model(ctx, x, y).loss, **outputs})


def keeps_a_node() -> Any:
    kept: list[Node] = []

    def loss(ctx: Context, x: Node, y: Node) -> Node:
        kept.append(model(ctx, x, y).loss)
        return kept[0]

    return loss


WRONG_OUTPUTS = [
    (with_outputs(loss=3.0), "the loss is a node(.|\n)*got: float 3.0"),
    (with_outputs(metrics={"a": 3.0}), r"metrics\['a'\] is a node(.|\n)*graph.constant"),
    (with_outputs(predictions={"a": None}), r"predictions\['a'\] is a node"),
    (with_outputs(metrics=[]), "metrics are nodes by name(.|\n)*got: list"),
    (with_outputs(metrics={1: None}), "metrics have names(.|\n)*got: 1"),
    (with_outputs(metrics={"": None}), "metrics have names(.|\n)*got: ''"),
    (with_outputs(metrics={"nonfinite": None}), "metrics have names(.|\n)*got: 'nonfinite'"),
    (keeps_a_node(), "made of this call's inputs(.|\n)*'evaluate'(.|\n)*'train_step'"),
    (lambda ctx, x: model(ctx, x, x).loss, r"loss\(ctx, x, y\)(.|\n)*keyword argument 'y'"),
    (lambda ctx, x, y, z: z, r"loss\(ctx, x, y\)(.|\n)*missing a required argument: 'z'"),
    (lambda x, y: model(x, y, y).loss, r"loss\(ctx, x, y\)(.|\n)*multiple values .* 'x'"),
    (3, r"loss\(ctx, x, y\)(.|\n)*got: 3"),
]


@pytest.mark.parametrize(("loss", "text"), WRONG_OUTPUTS)
def test_what_a_loss_function_takes_and_returns(loss: Any, text: str) -> None:
    with pytest.raises(FrontendError, match=text):
        train_program(loss, Context(), Adam(), inputs=INPUTS)


def test_a_class_is_no_optimizer() -> None:
    optimizer: Any = Adam
    with pytest.raises(FrontendError, match=r"has an optimizer(.|\n)*AdamW\(\)(.|\n)*got: .*Adam"):
        train_program(model, Context(), optimizer, inputs=INPUTS)


def host_number_of_the_device(ctx: Context, x: Node, y: Node) -> Node:
    last = ctx.variable("last", (), storage="host", trainable=False)
    loss = model(ctx, x, y).loss
    last.set_value_graph(loss)
    return loss


def counts(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    count = ctx.variable(
        "count", (), "int64", storage="host", trainable=False, initializer=initializers.zeros()
    )
    made = model(ctx, x, y)
    return TrainOutputs(loss=made.loss, metrics={"n": count.value_graph(x.graph) + 1})


def all_stopped(ctx: Context, x: Node, y: Node) -> Node:
    return ops.stop_gradient(model(ctx, x, y).loss)


REFUSED = {
    counts: r"output 'n' is no integer of host(.|\n)*ops.cast\(x, \"float32\"\)",
    all_stopped: "nothing to train(.|\n)*without stop_gradient",
    host_number_of_the_device: "train_step: the new value of '/last'(.|\\n)*without storage='host'",
    tensor_loss: "a loss is one float(.|\n)*ops.reduce_mean",
    nothing_to_train: "nothing to train",
    forgets_an_input: "use every input(.|\n)*no use of y",
    no_node: "returns the loss, a Node, or TrainOutputs(.|\n)*got: float",
    changes_when_it_evaluates: "evaluate changes no variable(.|\n)*/seen(.|\n)*is_training",
    reports_the_loss_twice: "the loss is reported already",
}


def test_a_count_of_host_variables_is_reported_as_a_float() -> None:
    def loss(ctx: Context, x: Node, y: Node) -> TrainOutputs:
        made = counts(ctx, x, y)
        count = ops.cast(made.metrics["n"], "float32")
        whole = ops.cast(ops.reduce_sum(x), "int32")  # of the device: as it is
        return TrainOutputs(loss=made.loss, metrics={"n": count, "whole": whole})

    program = train_program(loss, Context(), Adam(), inputs=INPUTS)
    step = ReferenceStep(program)
    step.initialize()
    assert step.step(batch(0), "train_step")["n"] == 1.0
    table = program.entry_point("train_step").table
    assert [x.dtype.name for x in table if x.dtype.is_integer] == []


@pytest.mark.parametrize("loss", REFUSED, ids=lambda f: f.__name__)
def test_a_wrong_loss_function_is_refused(loss: Any) -> None:
    with pytest.raises(FrontendError, match=REFUSED[loss]):
        train_program(loss, Context(), Adam(), inputs=INPUTS)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "at least one input"),
        ({"x": "8x4xf32", "y": "8*3"}, "such as 64x32xf32: 'y' has '8.3'"),
        ([("x", "8x4xf32")], "at least one input(.|\n)*got: .*'x'"),
        ({1: "8x4xf32"}, "names of variables(.|\n)*got: 1"),
        ({"the x": "8x4xf32"}, "names of variables(.|\n)*'the x'"),
        ({"x": "8x4xf32", "y": "0x3xf32"}, r"at least 1: 'y'(.|\n)*got: shape \(0, 3\)"),
        ({"x": np.zeros((8, 0)), "y": "8x3xf32"}, r"at least 1: 'x'(.|\n)*got: shape \(8, 0\)"),
        ({"x": (-1, 4), "y": "8x3xf32"}, r"at least 1: 'x'(.|\n)*got: shape \(-1, 4\)"),
    ],
)
def test_wrong_inputs_are_refused(inputs: Any, text: str) -> None:
    with pytest.raises(FrontendError, match=text):
        train_program(model, Context(), Adam(), inputs=inputs)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "2", 2**24])
def test_a_wrong_number_of_micro_batches_is_refused(steps: Any) -> None:
    with pytest.raises(FrontendError, match="accumulate_steps counts micro-batches"):
        train_program(model, Context(), Adam(), inputs=INPUTS, accumulate_steps=steps)


def test_a_context_that_counts_other_micro_batches_is_refused() -> None:
    ctx = Context()
    for steps in (4, 1, 4):
        train_program(model, ctx, Adam(), inputs=INPUTS, accumulate_steps=steps)
    with pytest.raises(FrontendError, match=r"accumulate_steps'(.|\n)*expected: 4(.|\n)*got: .*=8"):
        train_program(model, ctx, Adam(), inputs=INPUTS, accumulate_steps=8)


@pytest.mark.parametrize(("steps", "taken"), [(2, 4), (1, 3), (0, 1), (-3, 2)])
def test_the_mean_is_of_what_was_taken(steps: int, taken: int) -> None:
    """Also where the number was made smaller in between, or is none."""
    program = train_program(model, Context(), Adam(), inputs=INPUTS, accumulate_steps=4)
    parts, single = (ReferenceStep(program, "float64") for _ in range(2))
    for step in (parts, single):
        step.initialize()
    single.variables["/trainer/accumulate_steps"] = 1
    single.step(batch(0), "train_step")
    for _ in range(taken - 1):
        parts.step(batch(0), "accumulate")
    parts.variables["/trainer/accumulate_steps"] = steps
    parts.step(batch(0), "train_step")
    for path in ("/head/w", "/AdamOptimizer/head/w_1st_moment"):
        np.testing.assert_allclose(parts.variables[path], single.variables[path], rtol=1e-9)


def test_everything_frozen_is_nothing_to_train() -> None:
    ctx = Context()
    ctx.freeze()
    with pytest.raises(FrontendError, match="unfreeze"):
        train_program(model, ctx, Adam(), inputs=INPUTS)


def test_a_refused_loss_function_changes_nothing() -> None:
    ctx = Context()
    ctx.variable("kept", (2,), initializer=initializers.zeros())

    def loss(ctx: Context, x: Node, y: Node) -> Node:
        ctx.at("head").freeze()
        ctx.set_param("learning_rate", 0.5)
        return linear(ctx, x, 3) - y

    with pytest.raises(FrontendError, match="a loss is one float"), ctx.unchanged_on_error():
        train_program(loss, ctx, Adam(), inputs=INPUTS)
    assert [v.path for v in ctx.root] == ["/kept"]
    assert ctx.get_param("learning_rate") is None
    assert not ctx.is_frozen(ctx.at("head").variable("w", (2,)))
