"""Calibration that keeps an order: a curve through noisy points that never goes down.

    python examples/calibration.py --compile cpu calibration.vmfb
    python examples/calibration.py calibration.vmfb

The first needs the compiler, the second NumPy and `stepforge.runtime` alone.

The curve is piecewise linear: a height for each of the keypoints, evenly spaced in [0, 1]. Where
the points are noisy, least squares alone would make it go down here and there. So after each
update the step projects the heights onto those that rise by a margin or more, on the device too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepforge import runtime

if TYPE_CHECKING:  # a machine that only trains has no compiler, and needs no frontend
    from stepforge.frontend import Context, Graph, Node, TrainOutputs
    from stepforge.frontend.build import Artifact

KEYPOINTS, BATCH = 24, 32
MARGIN = 1e-4
"""Far above what rounding does to heights of about 1, so that they rise as float32 numbers."""
POINTS, NOISE = 640, 0.25
RATE = 0.02

Float32 = NDArray[np.float32]
Batch = dict[str, Float32]


class NotMonotoneError(Exception):
    """A step left heights that do not rise."""


# The model and its compilation. The imports are inside, so that training needs no frontend.


def loss(ctx: Context, x: Node, y: Node) -> TrainOutputs:
    """Mean squared error of the curve at x[batch] in [0, 1], for measured y[batch]."""
    from stepforge.frontend import TrainOutputs, initializers, losses, ops  # noqa: PLC0415

    heights = ctx.variable("heights", (KEYPOINTS,), "float32", initializer=initializers.zeros())
    table = (*x.shape, KEYPOINTS)
    place = ops.cast(ops.iota(x.graph, "int32", table, 1), "float32")
    away = abs(ops.broadcast_to(x, table, (0,)) * float(KEYPOINTS - 1) - place)
    # Hats: 1 at the keypoint, 0 from its neighbours on. At most two of a row are not 0.
    hats = ops.maximum(1.0 - away, 0.0)
    curve = ops.matmul(hats, heights.value_graph(x.graph))
    return TrainOutputs(loss=losses.mean_squared_error(curve, y), predictions={"y": curve})


def project(ctx: Context, graph: Graph) -> None:
    """The heights after the update become the nearest ones that rise by the margin."""
    from stepforge.frontend import monotonic_projection  # noqa: PLC0415

    heights = ctx.get_variable("heights")
    margin = graph.constant(MARGIN, "float32")
    updated = heights.value_graph(graph)
    heights.set_value_graph(monotonic_projection(updated, margin, 0, method="exact"))


def compile_for(target: str, output: Path | None = None, *, monotone: bool = True) -> Artifact:
    """The training step with Adam; without `monotone` the heights go where they will."""
    from stepforge import frontend  # noqa: PLC0415

    return frontend.compile_train_step(
        loss,
        frontend.Adam(learning_rate=RATE),
        inputs={"x": f"{BATCH}xf32", "y": f"{BATCH}xf32"},
        after_update=project if monotone else None,
        target=target,
        output=output,
        force=True,
    )


# Training.


def truth(x: NDArray[np.floating]) -> Float32:
    """What is measured, without the noise: rises from 0 to 1, steeply at 1/3."""
    rise = 1.0 / (1.0 + np.exp(-30.0 * (x - 1.0 / 3.0)))
    return (0.7 * rise + 0.3 * x**2).astype(np.float32)


def measure(seed: int = 0) -> Batch:
    """Noisy points."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(size=POINTS).astype(np.float32)
    return {"x": x, "y": truth(x) + generator.normal(0, NOISE, POINTS).astype(np.float32)}


def batches(points: Batch, epoch: int) -> Iterator[Batch]:
    """All points once, in an order of the epoch."""
    order = np.random.default_rng(epoch).permutation(POINTS)
    for chosen in np.split(order, POINTS // BATCH):
        yield {name: values[chosen] for name, values in points.items()}


def check_monotone(trainer: runtime.Trainer, event: object) -> None:
    """A callback. Raises NotMonotoneError after a step that leaves heights that do not rise."""
    if not isinstance(event, runtime.StepEnd):
        return
    heights = trainer.step.parameters["heights"]
    if not (np.diff(heights) > 0.0).all():
        raise NotMonotoneError(f"step {event.step}: {heights}")


def train(
    step: runtime.CompiledStep,
    epochs: int,
    *,
    callbacks: tuple[Callable[[runtime.Trainer, object], None], ...] = (check_monotone,),
    progress: bool | None = None,
) -> runtime.History:
    """From heights of 0 on."""
    step.initialize()
    points = measure()
    trainer = runtime.Trainer(step, callbacks=callbacks, progress=progress)
    return trainer.train(lambda epoch: batches(points, epoch), epochs=epochs)


def error(step: runtime.CompiledStep) -> float:
    """Root mean square of the curve's distance from what was measured without noise."""
    x = np.linspace(0.0, 1.0, 10 * BATCH, dtype=np.float32)
    parts = [step.predict(x=part)["y"] for part in np.split(x, 10)]
    return float(np.sqrt(np.mean((np.concatenate(parts) - truth(x)) ** 2)))


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the curve is nearer to the truth than a third of the noise, else 1."""
    parser = argparse.ArgumentParser(description="Fit a curve that never goes down.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--compile", metavar="TARGET", help="write the artifact, and stop")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(arguments)
    if options.compile is not None:
        made = compile_for(options.compile, options.artifact)
        print(f"{options.artifact}: {len(made.data):,} bytes")
        return 0
    with runtime.load(options.artifact) as step:
        history = train(step, options.epochs)
        heights, found = step.parameters["heights"], error(step)
        print(
            f"{len(history)} steps, monotone after each; heights from {heights[0]:.3f} to "
            f"{heights[-1]:.3f}; {found:.3f} from the truth, through points {NOISE} off"
        )
    return 0 if found < NOISE / 3 else 1


if __name__ == "__main__":
    sys.exit(main())
