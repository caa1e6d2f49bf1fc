"""One program with every kind of layer, compiled and trained, against the float64 evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge.frontend import (
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
from stepforge.runtime import ArtifactFormatError

pytestmark = pytest.mark.compiler

TOO_MANY_KERNELS = pytest.mark.xfail(
    reason="an artifact has at most 64 entries, and a Vulkan module one for each kernel",
    raises=ArtifactFormatError,
    strict=True,
)
TARGETS = [
    "cpu",
    pytest.param("vulkan", marks=[pytest.mark.vulkan, TOO_MANY_KERNELS]),
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


@pytest.mark.parametrize("target", TARGETS)
def test_every_layer_trains_compiled(target: str) -> None:
    """Losses, metrics and all state after each of three steps, then evaluation and prediction.

    Allowed: one rounding, 2^-24 of a number of size 1, for each operation on the longest way from
    an input to a result, and as much again for every step before. Sums have at most 24 terms and
    functions are right to 8 ULP, but few operations are either; the norms keep numbers near 1, so
    that errors do not grow on the way. The masks of dropout must agree bit for bit: one element
    more or less would be off by 0.1.
    """
    made = compile_train_step(model, SGD, inputs=INPUTS, target=target)
    once = float_depth(made.program, "train_step") * 2.0**-24
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    with made.load() as step:
        step.initialize()
        for n in range(1, STEPS + 1):
            data = batch(n)
            expected = reference.step(data, "train_step")
            got = step.train_step(**data)
            assert got.keys() == expected.keys()
            for name, value in expected.items():
                assert got[name] == pytest.approx(float(value), abs=n * once), (n, name)
            for path, value in reference.variables.items():
                got = step.variables[path]
                np.testing.assert_allclose(got, value, rtol=0, atol=n * once, err_msg=path)
        data, allowed = batch(9), (STEPS + 1) * once
        loss = step.evaluate(**data)["loss"]
        assert loss == pytest.approx(float(reference.step(data, "evaluate")["loss"]), abs=allowed)
        del data["labels"]
        logits = reference.step(data, "predict")["logits"]
        np.testing.assert_allclose(step.predict(**data)["logits"], logits, rtol=0, atol=allowed)
        assert step.variables["/trainer/dropout_step"] == STEPS
