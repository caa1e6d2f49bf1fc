"""Three models, their first weights and batches: what torch and this project both start from.

All of it is drawn by NumPy's RandomState, whose streams never change (NEP 19), so that none of it
is stored. `generate_models.py` trains them with torch; `models.npz` is what it found, as summaries
that no wrong element can hide from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STEPS = 20
FILE = Path(__file__).with_name("models.npz")
DIGITS = Path(__file__).parents[2] / "examples" / "data" / "digits.npz"
SAMPLES = 24
"""So many elements of each tensor are stored as they are, beside its norm and its projection."""

Float64 = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Model:
    """Shapes by path, of parameters in the order of the program; SGD at a rate float32 holds."""

    name: str
    batch: int
    shapes: Mapping[str, tuple[int, ...]]
    rate: float = 0.125
    seed: int = 0

    def initial(self) -> dict[str, Float64]:
        """float32 numbers; none of them is a 0 or 1 that could hide a mistake."""
        return {
            path: drawn(self.seed, path, shape).astype(np.float32).astype(np.float64)
            for path, shape in self.shapes.items()
        }

    def batches(self) -> Iterator[Arrays]:
        generator = np.random.RandomState(self.seed)
        for _ in range(STEPS):
            yield (
                transformer_batch(generator)
                if "tokens" in self.inputs
                else digits_batch(generator, self.batch)
            )

    @property
    def inputs(self) -> dict[str, str]:
        """As `compile_train_step` takes them."""
        if self.name == "transformer":
            return dict.fromkeys(("tokens", "targets"), f"{self.batch}x{TIME}xi32")
        return {"image": f"{self.batch}x8x8x1xf32", "label": f"{self.batch}xi32"}


def drawn(seed: int, path: str, shape: tuple[int, ...]) -> Float64:
    """Matrices by the number of their inputs, scales about 1, all else about 0."""
    generator = np.random.RandomState([seed, *path.encode()])
    # Uniform: bits and products, where a normal draw would need the logarithm of the platform.
    values = generator.uniform(-1.0, 1.0, shape)
    if path.endswith("/scale"):
        return 1.0 + 0.2 * values
    return values * (0.2 if len(shape) == 1 else math.sqrt(3.0 / math.prod(shape[:-1])))


def digits_batch(generator: np.random.RandomState, size: int) -> Arrays:
    """Real digits, from 0 to 1."""
    with np.load(DIGITS) as data:
        chosen = generator.randint(0, len(data["labels"]), size)
        image = data["images"][chosen].reshape(size, 8, 8, 1).astype(np.float32) / 16
        return {"image": image, "label": data["labels"][chosen].astype(np.int32)}


def transformer_batch(generator: np.random.RandomState) -> Arrays:
    """Steps of 1 to 3 around the vocabulary: something can be learned."""
    steps = generator.randint(1, 4, (TOKENS_BATCH, TIME + 1))
    text = (generator.randint(0, VOCABULARY, (TOKENS_BATCH, 1)) + steps.cumsum(1)) % VOCABULARY
    return {"tokens": text[:, :-1].astype(np.int32), "targets": text[:, 1:].astype(np.int32)}


def signs(path: str, shape: tuple[int, ...]) -> Float64:
    """The direction of a tensor's projection: of a wrong tensor it is off as far as its norm."""
    bits = np.random.RandomState([1, *path.encode()]).randint(0, 2, shape)
    return bits.astype(np.float64) * 2.0 - 1.0


def places(path: str, size: int) -> NDArray[np.intp]:
    """The elements that are stored."""
    generator = np.random.RandomState([2, *path.encode()])
    return np.sort(generator.permutation(size)[:SAMPLES]).astype(np.intp)


def summary(values: Mapping[str, Float64]) -> dict[str, Float64]:
    """Of tensors: norms and projections, one of each, and the samples end to end."""
    return {
        "norms": np.array([np.sqrt(np.square(x).sum()) for x in values.values()]),
        "projections": np.array([(x * signs(p, x.shape)).sum() for p, x in values.items()]),
        "samples": np.concatenate([x.reshape(-1)[places(p, x.size)] for p, x in values.items()]),
    }


def dense(scope: str, n: int, features: int) -> dict[str, tuple[int, ...]]:
    return {f"{scope}/w": (n, features), f"{scope}/b": (features,)}


def conv(scope: str, channels: int, features: int) -> dict[str, tuple[int, ...]]:
    return {f"{scope}/w": (3, 3, channels, features), f"{scope}/b": (features,)}


def norm(scope: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{scope}/scale": (width,), f"{scope}/offset": (width,)}


LAYERS, HEADS, WIDTH, TIME, VOCABULARY, TOKENS_BATCH = 2, 4, 16, 12, 11, 4


def transformer() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "/characters/w": (VOCABULARY, WIDTH),
        "/places/w": (TIME, WIDTH),
    }
    for layer in range(LAYERS):
        here = f"/layer_{layer}"
        shapes |= norm(f"{here}/norm_1", WIDTH)
        for part in ("query", "key", "value", "out"):
            shapes |= dense(f"{here}/attention/{part}", WIDTH, WIDTH)
        shapes |= norm(f"{here}/norm_2", WIDTH)
        shapes |= dense(f"{here}/wide", WIDTH, 4 * WIDTH) | dense(
            f"{here}/narrow", 4 * WIDTH, WIDTH
        )
    return shapes | norm("/norm", WIDTH) | dense("/head", WIDTH, VOCABULARY)


MODELS = (
    Model(
        "mlp",
        32,
        dense("/hidden_1", 64, 64) | dense("/hidden_2", 64, 64) | dense("/head", 64, 10),
    ),
    Model(
        "cnn",
        16,
        conv("/conv_1", 1, 16)
        | conv("/conv_2", 16, 32)
        | dense("/hidden", 512, 64)
        | dense("/head", 64, 10),
        rate=0.0625,
    ),
    Model("transformer", TOKENS_BATCH, transformer()),
)
