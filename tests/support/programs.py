"""Traced programs for tests: parameters with first values, and gradients that repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend.context import Context
from stepforge.frontend.optimizers import Optimizer
from stepforge.frontend.program import Program
from stepforge.frontend.trace import trace

Array = NDArray[Any]
SHAPES: Mapping[str, tuple[int, ...]] = {"encoder/w": (3, 4), "b": (5,), "scale": ()}


def context(
    params: Mapping[str, Any] | None = None,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
    dtype: str = "float32",
) -> Context:
    """A Context with trainable variables of these shapes, and hyperparameters."""
    ctx = Context()
    ctx.set_params(params or {})
    for name, shape in shapes.items():
        ctx.variable(name, shape, dtype)
    return ctx


def program(optimizer: Optimizer, params: Mapping[str, Any] | None = None) -> Program:
    """The optimizer's program over `SHAPES`."""
    return trace(optimizer, context(params))


def draw(
    seed: int, shapes: Mapping[str, tuple[int, ...]] = SHAPES, dtype: str = "float64"
) -> dict[str, Array]:
    """A normal array for each name."""
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
