"""An application with a compiled optimizer in it: it learns to read handwritten digits.

    python examples/digits_embedded.py adamw.cpu.vmfb adamw.vulkan.vmfb

Needs NumPy and `stepforge.runtime`: no compiler, no framework. The gradients of a softmax
regression are its own; the optimizer's state and its step are the artifact's. The artifacts are
compiled for two float32 parameters, `weights` (64, 10) and `bias` (10,).

The first artifact trains until it reads 95 % of a held-out fifth. The others start from the same
weights and take the same gradients, so that what they end with can be compared.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge import runtime

DATA = Path(__file__).parent / "data" / "digits.npz"
SPLIT_SEED = 0
CLASSES = 10

Float32 = NDArray[np.float32]
Arrays = Mapping[str, Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Standardised images [count, 64] and their labels [count]."""

    images: Float32
    labels: NDArray[np.intp]
    held_out_images: Float32
    held_out_labels: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one artifact did."""

    accuracy: float
    gradients: list[dict[str, Float32]]
    parameters: dict[str, Float32]
    seconds: list[float]


def read_digits(path: Path = DATA) -> Digits:
    """Hold out a fifth, chosen by a fixed seed; standardise by what is left."""
    with np.load(path) as data:
        images = data["images"].reshape(len(data["images"]), -1).astype(np.float32)
        labels = data["labels"].astype(np.intp)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    held_out, kept = np.split(order, [len(order) // 5])
    mean, deviation = images[kept].mean(axis=0), images[kept].std(axis=0)
    deviation[deviation == 0.0] = 1.0  # pixels that are never dark
    images = (images - mean) / deviation
    return Digits(
        images=images[kept],
        labels=labels[kept],
        held_out_images=images[held_out],
        held_out_labels=labels[held_out],
    )


def initial_parameters() -> dict[str, Float32]:
    """Zeros: softmax regression is convex."""
    return {
        "weights": np.zeros((64, CLASSES), np.float32),
        "bias": np.zeros(CLASSES, np.float32),
    }


def softmax_gradients(parameters: Arrays, digits: Digits) -> dict[str, Float32]:
    """Gradients of the mean cross-entropy over all training digits."""
    scores = digits.images @ parameters["weights"] + parameters["bias"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    error = powers / powers.sum(axis=1, keepdims=True)
    error[np.arange(len(error)), digits.labels] -= 1.0
    error /= np.float32(len(error))
    return {"weights": digits.images.T @ error, "bias": error.sum(axis=0)}


def held_out_accuracy(parameters: Arrays, digits: Digits) -> float:
    """Share of held-out digits that are read right."""
    scores = digits.held_out_images @ parameters["weights"] + parameters["bias"]
    return float((scores.argmax(axis=1) == digits.held_out_labels).mean())


def train(artifact: Path, digits: Digits, options: argparse.Namespace) -> Run:
    """Step `artifact` on its own gradients until it reads enough of the held-out digits."""
    gradients: list[dict[str, Float32]] = []
    seconds: list[float] = []
    with runtime.load(artifact) as optimizer:
        parameters = initial_parameters()
        optimizer.initialize(parameters)
        optimizer.learning_rate = options.learning_rate
        accuracy = 0.0
        while accuracy < options.accuracy and len(seconds) < options.limit:
            gradients.append(softmax_gradients(parameters, digits))
            seconds.append(timed_step(optimizer, gradients[-1]))
            parameters = {name: optimizer.parameters[name] for name in parameters}
            accuracy = held_out_accuracy(parameters, digits)
    return Run(accuracy=accuracy, gradients=gradients, parameters=parameters, seconds=seconds)


def replay(artifact: Path, digits: Digits, options: argparse.Namespace, first: Run) -> Run:
    """Step `artifact` through the gradients that the `first` run computed."""
    with runtime.load(artifact) as optimizer:
        optimizer.initialize(initial_parameters())
        optimizer.learning_rate = options.learning_rate
        seconds = [timed_step(optimizer, gradient) for gradient in first.gradients]
        parameters = {name: optimizer.parameters[name] for name in first.parameters}
    return Run(
        accuracy=held_out_accuracy(parameters, digits),
        gradients=first.gradients,
        parameters=parameters,
        seconds=seconds,
    )


def timed_step(optimizer: runtime.CompiledStep, gradient: Arrays) -> float:
    start = time.perf_counter()
    optimizer.step(gradient)
    return time.perf_counter() - start


def largest_difference(a: Arrays, b: Arrays) -> float:
    """Largest absolute difference between two sets of parameters."""
    return max(float(np.abs(np.float64(a[name]) - np.float64(b[name])).max()) for name in a)


def record(path: Path, run: Run, options: argparse.Namespace) -> None:
    """Write what an evaluator needs to retrace the run."""
    arrays: dict[str, Any] = {
        "learning_rate": np.float64(options.learning_rate),
        "steps": np.int64(len(run.gradients)),
    }
    for name, values in initial_parameters().items():
        arrays[f"initial/{name}"] = values
        arrays[f"gradients/{name}"] = np.stack([gradient[name] for gradient in run.gradients])
        arrays[f"final/{name}"] = run.parameters[name]
    with path.open("wb") as file:
        np.savez(file, **arrays)


def read_reference(path: Path, steps: int) -> dict[str, NDArray[np.floating]]:
    """`weights` and `bias` after `steps` steps, as somebody else computed them."""
    with np.load(path) as data:
        if int(data["steps"]) != steps:
            sys.exit(f"{path} is of {int(data['steps'])} steps, this run took {steps}")
        return {name: data[name] for name in initial_parameters()}


def report(artifact: Path, run: Run) -> str:
    """One line on a run."""
    return (
        f"{artifact}: {run.accuracy:.1%} of held-out digits after {len(run.seconds)} steps; "
        f"{artifact.stat().st_size:,} bytes, median step {np.median(run.seconds) * 1e6:.1f} us"
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn to read digits.")
    parser.add_argument("artifacts", nargs="+", type=Path, metavar="ARTIFACT")
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--accuracy", type=float, default=0.95, help="held-out share to reach")
    parser.add_argument("--limit", type=int, default=500, help="give up after so many steps")
    parser.add_argument("--record", type=Path, help="write gradients and weights to this .npz")
    parser.add_argument("--reference", type=Path, help="compare with the weights in this .npz")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when enough held-out digits are read, else 1."""
    options = parse(arguments)
    digits = read_digits()
    print(f"{len(digits.labels):,} digits to learn from, {len(digits.held_out_labels)} held out")
    first_artifact, *others = options.artifacts
    first = train(first_artifact, digits, options)
    print(report(first_artifact, first))
    for artifact in others:
        run = replay(artifact, digits, options, first)
        print(report(artifact, run))
        difference = largest_difference(run.parameters, first.parameters)
        print(f"largest difference from {first_artifact}: {difference:.3g}")
    if options.record is not None:
        record(options.record, first, options)
    if options.reference is not None:
        reference = read_reference(options.reference, len(first.gradients))
        difference = largest_difference(first.parameters, reference)
        print(f"largest difference from {options.reference}: {difference:.3g}")
    return 0 if first.accuracy >= options.accuracy else 1


if __name__ == "__main__":
    sys.exit(main())
