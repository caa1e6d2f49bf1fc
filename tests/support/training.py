"""A tiny model, compiled with its loss: a matrix fitted to made-up batches."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import Adam, Context, TrainOutputs, compile_train_step, initializers, ops
from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.graph import Node
from stepforge.runtime import Event, Trainer
from stepforge.runtime.step import CompiledStep

Batch = dict[str, NDArray[np.float32]]


def loss(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    """Least squares of `x @ w - y`; a metric of rank 1 too."""
    w = ctx.variable("w", (4, 3), "float32", initializer=initializers.he_normal(seed=1))
    prediction = ops.matmul(x, w.value_graph(x.graph))
    error = prediction - y
    columns = ops.reduce_mean(abs(error), axes=(0,))
    return TrainOutputs(
        loss=ops.reduce_mean(error * error),
        metrics={"mae": ops.reduce_mean(abs(error)), "columns": columns},
        predictions={"p": prediction},
    )


@cache
def artifact(accumulate_steps: int) -> Artifact:
    """Compiled once per process. Above 1, `/trainer/accumulate_steps` can be set, and non-finite
    gradients are counted.
    """
    context = Context()
    if accumulate_steps > 1:
        context.set_param("nanlogger", True)
    return compile_train_step(
        loss,
        Adam(),
        inputs={"x": "8x4xf32", "y": "8x3xf32"},
        context=context,
        accumulate_steps=accumulate_steps,
    )


def load(accumulate_steps: int = 1) -> CompiledStep:
    """Initialized, on local-sync."""
    step = artifact(accumulate_steps).load(device="local-sync")
    step.initialize()
    return step


def batches(count: int, seed: int = 0) -> list[Batch]:
    """Batches of one linear relation, with noise."""
    generator = np.random.default_rng(seed)
    truth = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    made: list[Batch] = []
    for _ in range(count):
        x = generator.standard_normal((8, 4), dtype=np.float32)
        noise = generator.standard_normal((8, 3), dtype=np.float32)
        made.append({"x": x, "y": (x @ truth + noise / 100).astype(np.float32)})
    return made


PER_EPOCH = 5
DATA = batches(PER_EPOCH)
HELD_OUT = batches(2, seed=9)


def shuffled(epoch: int) -> list[Batch]:
    """`DATA` in another order each epoch."""
    order = np.random.default_rng(epoch).permutation(PER_EPOCH)
    return [DATA[i] for i in order]


def snapshot(step: CompiledStep) -> dict[str, Any]:
    """Everything, comparable bit for bit."""
    return {path: step.variables[path].tobytes() for path in step.variables}


class Events:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def __call__(self, trainer: Trainer, event: Event) -> None:
        assert isinstance(trainer, Trainer)
        self.all.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.all if isinstance(event, kind)]
