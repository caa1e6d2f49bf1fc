"""AdamW as a loop over NumPy arrays, in place, with the memory for intermediates made ahead."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

RATE, BETA1, BETA2, EPSILON, DECAY = 1e-3, 0.9, 0.999, 1e-8, 0.01


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], None], dict[str, Any]]:
    shapes = work["shapes"]
    parameters, gradients = draw(shapes, 1), draw(shapes, 2)
    rows = [
        (p, g, np.zeros_like(p), np.zeros_like(p), np.empty_like(p), np.empty_like(p))
        for p, g in zip(parameters, gradients, strict=True)
    ]
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        rate = np.float32(RATE / -math.expm1(count * math.log(BETA1)))
        scale = np.float32(1 / math.sqrt(-math.expm1(count * math.log(BETA2))))
        for p, g, m, v, a, b in rows:
            np.multiply(m, np.float32(BETA1), out=m)
            np.multiply(g, np.float32(1 - BETA1), out=a)
            np.add(m, a, out=m)
            np.multiply(v, np.float32(BETA2), out=v)
            np.multiply(g, g, out=a)
            np.multiply(a, np.float32(1 - BETA2), out=a)
            np.add(v, a, out=v)
            np.sqrt(v, out=a)
            np.multiply(a, scale, out=a)
            np.add(a, np.float32(EPSILON), out=a)
            np.multiply(m, rate, out=b)
            np.divide(b, a, out=b)
            np.multiply(p, np.float32(1 - RATE * DECAY), out=p)
            np.subtract(p, b, out=p)

    return step, {"threads": 1, "versions": {"numpy": np.__version__}}
