"""One program with every kind of layer, compiled and trained, against the float64 evaluator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import (
    Artifact,
    Context,
    Node,
    StochasticGradientDescent,
    TrainOutputs,
    compile_train_step,
    losses,
    metrics,
    nn,
    ops,
)
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.program import Program
from stepforge.frontend.reference import ReferenceStep

pytestmark = pytest.mark.compiler

TARGETS = [
    "cpu",
    pytest.param("vulkan", marks=pytest.mark.vulkan),
    "vmvx",
]
BATCH, TIME, WIDTH, CLASSES = 4, 6, 8, 5
SGD = StochasticGradientDescent(learning_rate=0.1)
STEPS = 3


def model(ctx: Context, ids: Node, labels: Node, weights: Node) -> TrainOutputs:
    x = nn.embedding(ctx.at("embedding"), ids, 7, WIDTH)
    attended = nn.multi_head_attention(ctx.at("attention"), x, 2, mask=weights, dropout_rate=0.1)
    x = nn.layer_norm(ctx.at("norm"), x + attended)
    x = nn.batch_norm(ctx.at("statistics"), nn.conv(ctx.at("conv"), x, WIDTH, 3))
    x = nn.rms_norm(ctx.at("root"), ops.silu(x))
    logits = nn.dense(ctx.at("head"), nn.dropout(ctx, x, 0.2), CLASSES)
    loss = losses.categorical_cross_entropy(logits, labels, weights=weights, label_smoothing=0.1)
    return TrainOutputs(
        loss=loss,
        metrics={
            "accuracy": metrics.accuracy(logits, labels, weights=weights),
            "average": metrics.moving_average(ctx, "average", loss, 0.9),
        },
        predictions={"logits": logits},
    )


INPUTS = {
    "ids": f"{BATCH}x{TIME}xi32",
    "labels": f"{BATCH}x{TIME}xi32",
    "weights": f"{BATCH}x{TIME}xf32",
}


def batch(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    weights = draw.integers(0, 3, (BATCH, TIME)).astype(np.float32)
    weights[:, 0] = 1  # a causal place 0 that is masked would see nothing
    return {
        "ids": draw.integers(0, 7, (BATCH, TIME)).astype(np.int32),
        "labels": draw.integers(0, CLASSES, (BATCH, TIME)).astype(np.int32),
        "weights": weights,
    }


def float_depth(program: Program, function: str) -> int:
    """How many operations on floats follow on one another at most."""
    depths: dict[Node, int] = {}
    for node in reachable([result.node for result in program.entry_point(function).results]):
        below = max((depths[x] for x in node.inputs), default=0)
        depths[node] = below + (node.dtype.is_float and bool(node.inputs))
    return max(depths.values())


def all_losses(ctx: Context, x: Node, y: Node, weights: Node) -> TrainOutputs:
    hidden = nn.batch_norm(ctx.at("norm"), nn.dense(ctx.at("hidden"), x, WIDTH))
    p = nn.dense(ctx.at("head"), nn.dropout(ctx, hidden, 0.2), 3)
    found = [
        loss(p, y, weights=weights)
        for loss in (
            losses.mean_squared_error,
            losses.mean_absolute_error,
            losses.huber,
            losses.binary_cross_entropy,
            losses.categorical_cross_entropy,
        )
    ]
    return TrainOutputs(
        loss=functools.reduce(ops.add, found),
        metrics={"accuracy": metrics.binary_accuracy(p, y, weights=weights)},
    )


def all_losses_batch(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {
        "x": draw.standard_normal((16, 4)).astype(np.float32),
        "y": draw.random((16, 3), np.float32),
        "weights": draw.integers(0, 2, 16).astype(np.int32),
    }


def compare(made: Artifact, batch: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Losses, metrics and all state after each of three steps, then evaluation and prediction.

    Allowed: one rounding, 2^-24 of a number of size 1, for each operation on the longest way from
    an input to a result, and as much again for every step before. Sums have at most 24 terms and
    functions are right to 8 ULP, but few operations are either; the norms keep numbers near 1, so
    that errors do not grow on the way. The masks of dropout must agree bit for bit: one element
    more or less would be off by 0.1. Returns the evaluator's variables.
    """
    once = float_depth(made.program, "train_step") * 2.0**-24
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    with made.load() as step:
        step.initialize()
        for n in range(1, STEPS + 1):
            data = batch(n)
            expected, got = reference.step(data, "train_step"), step.train_step(**data)
            assert got.keys() == expected.keys()
            for name, value in expected.items():
                assert got[name] == pytest.approx(float(value), abs=n * once), (n, name)
            for path, value in reference.variables.items():
                now = step.variables[path]
                np.testing.assert_allclose(now, value, rtol=0, atol=n * once, err_msg=path)
        data, allowed = batch(9), (STEPS + 1) * once
        loss = step.evaluate(**data)["loss"]
        assert loss == pytest.approx(float(reference.step(data, "evaluate")["loss"]), abs=allowed)
        entry = next((e for e in made.program.entry_points if e.name == "predict"), None)
        if entry is not None:
            data = {a.name: data[a.name] for a in entry.arguments if a.role == "input"}
            expected, got = reference.step(data, "predict"), step.predict(**data)
            for name, value in expected.items():
                np.testing.assert_allclose(got[name], value, rtol=0, atol=allowed, err_msg=name)
    return reference.variables


@pytest.mark.parametrize("target", TARGETS)
def test_every_layer_trains_compiled(target: str) -> None:
    made = compile_train_step(model, SGD, inputs=INPUTS, target=target)
    expected = compare(made, batch)
    assert expected["/trainer/dropout_step"] == STEPS


@pytest.mark.vulkan
def test_every_loss_trains_where_memory_holds_whole_words_alone() -> None:
    """The portable Vulkan target refuses a mask that goes from one kernel to another as bytes."""
    inputs = {"x": "16x4xf32", "y": "16x3xf32", "weights": "16xi32"}
    compare(compile_train_step(all_losses, SGD, inputs=inputs, target="vulkan"), all_losses_batch)
