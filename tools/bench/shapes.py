"""Names and shapes of parameters, as models have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

Shape = tuple[int, ...]


def one(elements: int) -> Mapping[str, Shape]:
    """A single tensor."""
    return {"w": (elements,)}


def minilm() -> Mapping[str, Shape]:
    """The 103 tensors of all-MiniLM-L6-v2: 22.7 million parameters."""
    width, wide = 384, 1536
    embeddings = {"word": 30522, "position": 512, "token_type": 2}
    found: dict[str, Shape] = {
        f"embeddings.{name}_embeddings.weight": (rows, width) for name, rows in embeddings.items()
    }
    found.update(_pair("embeddings.LayerNorm", (width,)))
    for layer in range(6):
        here = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            found.update(_pair(f"{here}.attention.{part}", (width, width)))
        found.update(_pair(f"{here}.attention.output.LayerNorm", (width,)))
        found.update(_pair(f"{here}.intermediate.dense", (wide, width)))
        found.update(_pair(f"{here}.output.dense", (width, wide)))
        found.update(_pair(f"{here}.output.LayerNorm", (width,)))
    found.update(_pair("pooler.dense", (width, width)))
    return found


def transformer(layers: int = 9, width: int = 168, vocabulary: int = 1100) -> Mapping[str, Shape]:
    """A small transformer: with these numbers 150 tensors and 3.3 million parameters."""
    found: dict[str, Shape] = {"tokens": (vocabulary, width), "places": (256, width)}
    for layer in range(layers):
        for part in ("query", "key", "value", "out"):
            found.update(_pair(f"layer_{layer}.{part}", (width, width)))
        found.update(_pair(f"layer_{layer}.norm_1", (width,)))
        found.update(_pair(f"layer_{layer}.wide", (4 * width, width)))
        found.update(_pair(f"layer_{layer}.narrow", (width, 4 * width)))
        found.update(_pair(f"layer_{layer}.norm_2", (width,)))
    found.update(_pair("norm", (width,)))
    found.update(_pair("head", (10, width)))
    return found


def thousand() -> Mapping[str, Shape]:
    """A transformer of 1,000 tensors."""
    return dict(islice(transformer(layers=63, width=32).items(), 1000))


def _pair(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """A weight [out, in] or [out], and its bias [out]."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
