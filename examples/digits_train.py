"""An application that trains a compiled model to read handwritten digits.

    python examples/digits_train.py mlp.vmfb
    python examples/digits_train.py cnn.vmfb --shift 1 --save cnn.safetensors

Needs NumPy and `stepforge.runtime`: no compiler, no framework, not even the model's source. Loss,
gradients and update are the artifact's, as compiled from `digits_mlp.py` or `digits_cnn.py`; how
those say. What is left to do here is to bring the batches.

A batch has the size that was compiled. Of the digits to learn from, each epoch leaves out the rest
of a shuffle that makes no whole batch, other ones each time. The held-out digits are all read:
`predict` takes them padded to whole batches, and what it says of the padding is dropped.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepforge import runtime

DATA = Path(__file__).parent / "data" / "digits.npz"
SPLIT_SEED = 0

Images = NDArray[np.float32]
Labels = NDArray[np.int32]
Batch = dict[str, NDArray[np.float32] | NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [count, 8, 8, 1] from 0, white, to 1, black; and what they show, [count]."""

    images: Images
    labels: Labels


def read_digits(path: Path = DATA) -> tuple[Digits, Digits]:
    """The digits to learn from, and a fifth that is held out, chosen by a fixed seed."""
    with np.load(path) as data:
        images = (data["images"].astype(np.float32) / 16)[..., np.newaxis]
        labels = data["labels"].astype(np.int32)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    held_out, kept = np.split(order, [len(order) // 5])
    return Digits(images[kept], labels[kept]), Digits(images[held_out], labels[held_out])


def shuffled(
    digits: Digits, size: int, *, seed: int, shift: int = 0
) -> Callable[[int], Iterator[Batch]]:
    """From an epoch's number to its batches, each of whole `size`: the same in every run."""

    def epoch(number: int) -> Iterator[Batch]:
        draw = np.random.default_rng((seed, number))
        order = draw.permutation(len(digits.labels))
        for first in range(0, len(order) - size + 1, size):
            chosen = order[first : first + size]
            images = shifted(digits.images[chosen], shift, draw)
            yield {"image": images, "label": digits.labels[chosen]}

    return epoch


def shifted(images: Images, most: int, draw: np.random.Generator) -> Images:
    """Each image moved by up to `most` pixels either way, with white coming in at the edges."""
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
    down, right = draw.integers(0, 2 * most, (2, count), endpoint=True)
    rows = down[:, np.newaxis] + np.arange(height)
    columns = right[:, np.newaxis] + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def batch_size(step: runtime.CompiledStep) -> int:
    """The size that the artifact was compiled for."""
    (function,) = (f for f in step.manifest.functions if f.name == "train_step")
    return next(x.shape[0] for x in function.arguments if x.name == "image")


def read_with(step: runtime.CompiledStep, images: Images) -> Labels:
    """What each image shows, as the model has it."""
    size, count = batch_size(step), len(images)
    padded = np.pad(images, ((0, -count % size), (0, 0), (0, 0), (0, 0)))
    batches = padded.reshape(-1, size, *images.shape[1:])
    logits = np.concatenate([step.predict(image=batch)["logits"] for batch in batches])
    return logits[:count].argmax(axis=1).astype(np.int32)


def accuracy(step: runtime.CompiledStep, digits: Digits) -> float:
    """The share that is read right."""
    return float((read_with(step, digits.images) == digits.labels).mean())


@dataclass(frozen=True, slots=True)
class Run:
    """What a training came to."""

    history: runtime.History
    accuracy: float
    """Of the held-out digits, at the end."""
    step_seconds: float
    """The median time from the end of one step to that of the next."""


def train(
    step: runtime.CompiledStep,
    *,
    epochs: int,
    seed: int = 0,
    shift: int = 0,
    steps: int | None = None,
    progress: bool | None = None,
) -> Run:
    """Train from the first weights that the model has; `steps` ends the run before its epochs."""
    kept, held_out = read_digits()
    size = batch_size(step)
    moments: list[float] = []
    trainer = runtime.Trainer(
        step, progress=progress, callbacks=[lambda *_: moments.append(time.perf_counter())]
    )
    step.initialize()
    # The learning rate goes down along a cosine, and has to know where the training ends.
    step.hyperparameters["train_last_global_step"] = epochs * (len(kept.labels) // size)
    history = trainer.train(
        shuffled(kept, size, seed=seed, shift=shift), epochs=epochs, steps=steps
    )
    return Run(history, accuracy(step, held_out), float(np.median(np.diff(moments))))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a compiled model to read digits.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the order and the shifts")
    parser.add_argument("--shift", type=int, default=0, help="move digits by up to so many pixels")
    parser.add_argument(
        "--accuracy", type=float, default=0.0, help="fail below this held-out share"
    )
    parser.add_argument("--save", type=Path, help="write the trained state to this .safetensors")
    parser.add_argument("--history", type=Path, help="write the losses to this .csv")
    parser.add_argument("--device", help="such as vulkan; the artifact's own by default")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when enough held-out digits are read, else 1."""
    options = parse(arguments)
    with runtime.load(options.artifact, device=options.device) as step:
        run = train(step, epochs=options.epochs, seed=options.seed, shift=options.shift)
        if options.save is not None:
            step.save(options.save)
        steps = step.global_step
    if options.history is not None:
        run.history.to_csv(options.history)
    print(
        f"{options.artifact}: {run.accuracy:.2%} of held-out digits after {steps} steps; "
        f"{options.artifact.stat().st_size:,} bytes, median step {run.step_seconds * 1e6:.0f} us"
    )
    return 0 if run.accuracy >= options.accuracy else 1


if __name__ == "__main__":
    sys.exit(main())
