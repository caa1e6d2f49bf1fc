"""Read what `generate_compositions.py` made: the ends of 30 steps of torch, optax and Keras."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).parent / "compositions.json"
STEPS, RATE, CLIP, DECAY, SCALE = 30, 0.05, 2.0, 0.9, 16.0
STORMS = {0: np.nan, 4: np.inf, 5: -np.inf, 17: np.nan}
SIZES = (5, 3)

Float64 = NDArray[np.float64]


def start() -> list[Float64]:
    generator = np.random.default_rng(7)
    return [generator.standard_normal(size) for size in SIZES]


def gradients(step: int, *, storms: bool) -> list[Float64]:
    """Of a loss times `SCALE`; in a storm one element is not finite."""
    generator = np.random.default_rng((8, step))
    size = SCALE * (1.0 if step % 2 else 0.3)
    found = [size * generator.standard_normal(n) for n in SIZES]
    if storms and step in STORMS:
        found[step % 2][1] = STORMS[step]
    return found


@dataclass(frozen=True, slots=True)
class End:
    """What is there after the last step."""

    parameters: list[Float64]
    averages: list[Float64]


def load(peer: str) -> End:
    document: dict[str, Any] = json.loads(PATH.read_text())[peer]
    parameters, averages = (
        [np.array([float.fromhex(x) for x in row]) for row in document[key]]
        for key in ("parameters", "averages")
    )
    return End(parameters, averages)
