"""An application that learns how one person writes: the last layer of a trained model, trained on.

    python examples/personalise.py head.vmfb cnn.safetensors --save mine.safetensors

`cnn.safetensors` is what `digits_train.py --save` wrote, and `head.vmfb` is compiled from
`digits_head.py`. Needs NumPy, safetensors and `stepforge.runtime`; a telephone would do this.

The person is made up: somebody whose hand leans far to one side. The model has seen none of these
digits, leaning or upright: they are the fifth that was held out when it was trained. The person
writes 256 of them to learn from, and the model is judged by the rest.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from digits_train import Digits, Images, accuracy, batch_size, read_digits, read_with, shuffled
from stepforge import runtime

PARAMETERS = "params/"
"""What the names of a model's own tensors begin with in a saved state."""
WRITTEN = 256

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the model; `before` and `after` are shares of the writer's digits."""

    before: float
    after: float
    changed: frozenset[str]
    """The parameters of which a bit is different now."""


def leaning(images: Images) -> Images:
    """The images slanted, a pixel for every two rows, with white coming in at the sides."""
    width = images.shape[2]
    slanted = np.zeros_like(images)
    for row in range(images.shape[1]):
        right = int(np.floor((images.shape[1] - row) / 2)) - 2
        target, source = (slice(max(0, x), width + min(0, x)) for x in (right, -right))
        slanted[:, row, target] = images[:, row, source]
    return slanted


def writer() -> tuple[Digits, Digits]:
    """The digits that the person writes to be learned, and those to be read."""
    _, unseen = read_digits()
    images = leaning(unseen.images)
    return (
        Digits(images[:WRITTEN], unseen.labels[:WRITTEN]),
        Digits(images[WRITTEN:], unseen.labels[WRITTEN:]),
    )


def read_weights(path: Path) -> Weights:
    """The parameters in a saved state, by name."""
    return {
        name.removeprefix(PARAMETERS): value
        for name, value in load_file(path).items()
        if name.startswith(PARAMETERS)
    }


def personalise(
    artifact: Path, trained: Path, saved: Path, *, epochs: int, progress: bool | None = None
) -> Result:
    """Train what the artifact lets learn, save the whole model, and judge what was saved."""
    written, to_read = writer()
    weights = read_weights(trained)
    with runtime.load(artifact) as step:
        step.initialize(weights)
        before = accuracy(step, to_read)
        trainer = runtime.Trainer(step, progress=progress)
        trainer.train(shuffled(written, batch_size(step), seed=0), epochs=epochs)
        as_trained = read_with(step, to_read.images)
        step.save(saved)
    with runtime.load(artifact) as step:
        step.restore(saved)
        if (read_with(step, to_read.images) != as_trained).any():
            raise SystemExit(f"{saved} reads other digits than the model that it was saved from")
        after = accuracy(step, to_read)
        now = {name: step.parameters[name] for name in weights}
    changed = {name for name, value in weights.items() if value.tobytes() != now[name].tobytes()}
    return Result(before, after, frozenset(changed))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the last layer for one writer.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("trained", type=Path, help="the .safetensors of digits_train.py --save")
    parser.add_argument("--save", type=Path, default=Path("personal.safetensors"))
    parser.add_argument("--epochs", type=int, default=20)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the writer's digits are read better than before, else 1."""
    options = parse(arguments)
    result = personalise(options.artifact, options.trained, options.save, epochs=options.epochs)
    print(
        f"{result.before:.1%} of the writer's digits before, {result.after:.1%} after; "
        f"changed: {', '.join(sorted(result.changed))}; saved to {options.save}"
    )
    return 0 if result.after > result.before else 1


if __name__ == "__main__":
    sys.exit(main())
