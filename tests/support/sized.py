"""A small model compiled for batches of 8 and of 3 rows, with two micro-batches for an update."""

from __future__ import annotations

from functools import cache

import numpy as np

from stepforge.frontend import (
    Context,
    StochasticGradientDescent,
    TrainOutputs,
    compile_train_step,
    initializers,
    ops,
)
from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.graph import Node
from support.training import Batch

INPUTS = {"x": "?x4xf32", "y": ((None, 3), "float32"), "scale": "3xf32"}
SIZES = (3, 8)


def loss(ctx: Context, x: Node, y: Node, scale: Node) -> TrainOutputs:
    """Two layers; `scale` has no row per example."""
    graph = x.graph
    first, second = (
        ctx.variable(name, shape, initializer=initializers.he_normal(seed=1)).value_graph(graph)
        for name, shape in (("a", (4, 6)), ("b", (6, 3)))
    )
    out = ops.matmul(ops.maximum(ops.matmul(x, first), 0.0), second)
    error = (out - y) * ops.broadcast_to(scale, y.shape)
    rows = graph.constant(float(x.shape[0]), "float32")
    return TrainOutputs(
        loss=ops.reduce_sum(error * error) / (3.0 * rows),
        metrics={"rows": rows},
        predictions={"out": out},
    )


@cache
def artifact(target: str = "cpu") -> Artifact:
    return compile_train_step(
        loss,
        StochasticGradientDescent(learning_rate=0.1),
        inputs=INPUTS,
        batch_sizes=SIZES,
        accumulate_steps=2,
        target=target,
    )


def batch(rows: int, seed: int = 0) -> Batch:
    draw = np.random.default_rng((rows, seed))
    return {
        "x": draw.standard_normal((rows, 4), np.float32),
        "y": draw.standard_normal((rows, 3), np.float32),
        "scale": np.array([1.0, 0.5, 2.0], np.float32),
    }
