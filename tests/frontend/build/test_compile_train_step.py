"""Compiled training steps: the shapes in which an update in place once went wrong, and the numbers.

IREE writes state in place as soon as its new value is computed, whoever still reads the old one;
gradients that are products read the parameters that the update overwrites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import (
    Adam,
    Context,
    Graph,
    Node,
    Optimizer,
    StochasticGradientDescent,
    TrainOutputs,
    compile_train_step,
    initializers,
    ops,
)
from stepforge.frontend.reference import ReferenceStep
from stepforge.passes import UnsupportedDTypeError

pytestmark = pytest.mark.compiler

PLACES = [
    "cpu",
    pytest.param("vulkan", marks=pytest.mark.vulkan),
    "vmvx",
]
SGD = StochasticGradientDescent(learning_rate=0.1)


def weight(ctx: Context, graph: Graph, name: str, *shape: int) -> Node:
    first = initializers.he_normal(seed=len(name))
    return ctx.variable(name, shape, initializer=first).value_graph(graph)


def mean_square(x: Node) -> Node:
    return ops.reduce_mean(x * x)


def three_layers(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    graph = x.graph
    hidden = ops.maximum(ops.matmul(x, weight(ctx, graph, "a", 12, 16)), 0.0)
    hidden = ops.maximum(ops.matmul(hidden, weight(ctx, graph, "bb", 16, 16)), 0.0)
    out = ops.matmul(hidden, weight(ctx, graph, "ccc", 16, 12))
    return TrainOutputs(loss=mean_square(out - y), predictions={"out": out})


def squared_matrix(ctx: Context, x: Node, y: Node) -> Node:
    """`A @ A`: the gradient of A reads all of A, twice."""
    a = weight(ctx, x.graph, "a", 12, 12)
    return mean_square(ops.matmul(x, ops.matmul(a, a)) - y)


def transposed(ctx: Context, x: Node, y: Node) -> Node:
    a = weight(ctx, x.graph, "a", 12, 12)
    return mean_square(ops.matmul(x, ops.transpose(a, (1, 0))) - y) + mean_square(a)


def tied(ctx: Context, x: Node, y: Node) -> Node:
    """One matrix into the model and, transposed, out of it."""
    a = weight(ctx, x.graph, "a", 12, 16)
    hidden = ops.tanh(ops.matmul(x, a))
    return mean_square(ops.matmul(hidden, ops.transpose(a, (1, 0))) - y)


def used_twice(ctx: Context, x: Node, y: Node) -> Node:
    a = weight(ctx, x.graph, "a", 12, 12)
    hidden = ops.maximum(ops.matmul(x, a), 0.0)
    return mean_square(ops.matmul(hidden, a) - y)


def swapped(ctx: Context, x: Node, y: Node) -> Node:
    """Two buffers that exchange their values in every step, and are read in it."""
    graph = x.graph
    left = ctx.variable("left", (12, 12), trainable=False, initializer=initializers.ones())
    right = ctx.variable("right", (12, 12), trainable=False, initializer=initializers.zeros())
    a = weight(ctx, graph, "a", 12, 12) + left.input(graph)
    if ctx.is_training(graph):
        old = left.input(graph)
        left.set_value_graph(right.input(graph))
        right.set_value_graph(old)
    return mean_square(ops.matmul(x, a) - y)


def own_gradient_norm(ctx: Context, x: Node, y: Node) -> Node:
    """A buffer that keeps what the next step is divided by, and starts anew from a constant."""
    graph = x.graph
    scale = ctx.variable("scale", (12, 12), trainable=False, initializer=initializers.ones())
    a = weight(ctx, graph, "a", 12, 12)
    loss = mean_square(ops.matmul(x, a * scale.input(graph)) - y)
    if ctx.is_training(graph):
        scale.set_value_graph(graph.constant(0.5, "float32", (12, 12)))
    return loss


def reports_old_state(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    """Metrics that are the parameter and the buffer of before the step, and views of them."""
    graph = x.graph
    a, b = weight(ctx, graph, "a", 12, 12), weight(ctx, graph, "b")
    seen = ctx.variable("seen", (), "int32", trainable=False, initializer=initializers.zeros())
    old = seen.input(graph)
    if ctx.is_training(graph):
        seen.set_value_graph(old + 2)
    views = {"row": ops.slice(a, (1, 0), (2, 12)), "flat": ops.reshape(a, (144,))}
    loss = mean_square(ops.matmul(x, a) * b - y)
    return TrainOutputs(loss=loss, metrics={"a": a, "b": b, "seen": old, **views})


HAZARDS = [
    three_layers,
    squared_matrix,
    transposed,
    tied,
    used_twice,
    swapped,
    own_gradient_norm,
    reports_old_state,
]


def batch(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal((8, 12)).astype(np.float32) for name in ("x", "y")}


def run_and_compare(
    loss: Callable[..., Any], optimizer: Optimizer, target: str, steps: int, **options: Any
) -> None:
    """Losses and all state against the float64 evaluator.

    Allowed: 2^-24 for each rounding of sums of at most 16 terms through three layers, forward and
    back, is below 64 ULP of a value of size 1; each step adds as much again.
    """
    made = compile_train_step(
        loss, optimizer, inputs={"x": "8x12xf32", "y": "8x12xf32"}, target=target, **options
    )
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    allowed = 64 * steps * 2.0**-24
    with made.load() as step:
        step.initialize()
        for k in range(steps):
            data = batch(k)
            expected = reference.step(data, "train_step")
            got = step.train_step(**data)
            for name, value in expected.items():
                np.testing.assert_allclose(got[name], value, rtol=allowed, atol=allowed)
        for path, value in reference.variables.items():
            np.testing.assert_allclose(step.variables[path], value, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("loss", HAZARDS, ids=lambda f: f.__name__)
def test_old_values_are_read_before_they_are_overwritten(
    loss: Callable[..., Any], target: str
) -> None:
    run_and_compare(loss, SGD, target, steps=3)


@pytest.mark.parametrize("target", PLACES)
def test_adam_trains_in_place(target: str) -> None:
    run_and_compare(three_layers, Adam(), target, steps=5)


def test_no_state_is_copied() -> None:
    """Each update is one kernel that writes over its state; the rest is the model's."""
    made = compile_train_step(
        three_layers, Adam(), inputs={"x": "8x12xf32", "y": "8x12xf32"}, target="cpu"
    )
    counted = made.statistics["train_step"]
    assert (counted.copies, counted.late_reads) == (0, 0)


def test_predictions_and_evaluation_change_nothing() -> None:
    made = compile_train_step(
        three_layers, Adam(), inputs={"x": "8x12xf32", "y": "8x12xf32"}, target="cpu"
    )
    data = batch(0)
    with made.load() as step:
        step.initialize()
        before = {path: np.copy(step.variables[path]) for path in step.variables}
        evaluated = step.evaluate(**data)
        out = step.predict(x=data["x"])["out"]
        assert evaluated["loss"] == pytest.approx(((out - data["y"]) ** 2).mean(), rel=1e-6)
        for path, value in before.items():
            assert (np.asarray(step.variables[path]) == value).all()
        assert step.train_step(**data) == evaluated


def test_micro_batches_are_added_up_on_the_device() -> None:
    made = compile_train_step(
        three_layers,
        Adam(),
        inputs={"x": "8x12xf32", "y": "8x12xf32"},
        target="cpu",
        accumulate_steps=3,
    )
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    with made.load() as step:
        step.initialize()
        for k in range(6):
            reference.step(batch(k), "train_step" if k % 3 == 2 else "accumulate")
            step.train_step(**batch(k))
            assert step.global_step == (k + 1) // 3
        for path, value in reference.variables.items():
            np.testing.assert_allclose(step.variables[path], value, rtol=1e-5, atol=1e-6)


def narrow_parameter(ctx: Context, x: Node) -> Node:
    w = ctx.variable("w", (12,), "float16").value_graph(x.graph)
    return mean_square(ops.cast(w * x, "float32"))


def narrow_input(ctx: Context, x: Node) -> Node:
    return mean_square(ops.cast(x, "float32") * weight(ctx, x.graph, "w", 12))


@pytest.mark.parametrize("loss", [narrow_parameter, narrow_input], ids=lambda f: f.__name__)
def test_what_a_target_refuses_leaves_no_variable(loss: Callable[..., Any]) -> None:
    context = Context()
    with pytest.raises(UnsupportedDTypeError, match="16"):
        compile_train_step(loss, SGD, inputs={"x": "12xf16"}, target="vulkan", context=context)
    assert list(context.root) == []
