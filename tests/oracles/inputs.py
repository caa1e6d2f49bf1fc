"""Where to look: float32 states and gradients over the whole range, and the edges of it."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .settings import Settings

Float32 = NDArray[np.float32]

STEPS = (*range(1, 11), 100, 1_000, 10_000, 1_000_000, 2**24, 2**24 + 1, 2**31)
"""First steps, where bias correction is strongest; steps past what float32 and int32 count."""

LOWEST, HIGHEST = 1e-30, 1e18

EDGES = np.array(
    [
        0.0,
        -0.0,
        2.0**-149,
        -(2.0**-127),
        2.0**-126,
        1e-38,
        -1e-20,
        1e-7,
        1.0,
        -1.0 - 2.0**-23,
        1.8e19,
        -1.85e19,
        3.4e38,
    ],
    np.float32,
)
"""Zeros, denormals, the smallest normal, epsilon, what squares to overflow, the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One variable before a step: `state` maps "parameter" and slot names to float32 arrays."""

    state: dict[str, Float32]
    gradient: Float32


def log_uniform(
    generator: np.random.Generator, count: int, low: float = LOWEST, high: float = HIGHEST
) -> Float32:
    """Signed values whose magnitude is log-uniform in [low, high]."""
    exponent = generator.uniform(np.log(low), np.log(high), count)
    sign = generator.choice(np.array([-1.0, 1.0]), count)
    return (sign * np.exp(exponent)).astype(np.float32)


def random_state(settings: Settings, count: int, seed: int) -> State:
    """`count` independent log-uniform tuples.

    Every second parameter is 0, which shows the step unrounded; every fourth gradient nearly
    cancels the first moment; every eighth tuple is of the size training has.
    """
    generator = np.random.default_rng(seed)
    p, g, m = (log_uniform(generator, count) for _ in range(3))
    v = np.abs(log_uniform(generator, count))
    ordinary = slice(5, None, 8)
    size = len(p[ordinary])
    p[ordinary] = generator.normal(0.0, 1.0, size)
    g[ordinary] = generator.normal(0.0, 0.1, size)
    m[ordinary] = generator.normal(0.0, 0.1, size)
    v[ordinary] = generator.normal(0.0, 0.1, size) ** 2
    cancelling = slice(3, None, 4)
    off = 1.0 + log_uniform(generator, len(p[cancelling]), 1e-6, 0.5)
    ratio = -settings.beta1 / (1.0 - settings.beta1)
    with np.errstate(over="ignore"):
        g[cancelling] = np.clip(m[cancelling] * (ratio * off), -HIGHEST, HIGHEST)
    p[::2] = 0.0
    return _state(settings, p, g, m, v)


def edge_state(settings: Settings) -> State:
    """Every combination of edge values for the parameter, the gradient and the slots."""
    columns = [EDGES] * (2 + len(settings.slots))
    rows = np.array(list(itertools.product(*columns)), np.float32).T
    p, g, *slots = rows
    if settings.optimizer == "rmsprop":
        return _state(settings, p, g, g, np.abs(slots[0]))
    m, v = (slots[0], np.abs(slots[1])) if slots else (g, g)
    return _state(settings, p, g, m, v)


def _state(settings: Settings, p: Float32, g: Float32, m: Float32, v: Float32) -> State:
    slots = {name: values for name, values in (("m", m), ("v", v)) if name in settings.slots}
    return State(state={"parameter": p, **slots}, gradient=g)


def half_state(settings: Settings, count: int, seed: int, dtype: np.dtype) -> State:
    """As `random_state`, parameters and gradients exactly representable in `dtype`."""
    generator = np.random.default_rng(seed)
    p = log_uniform(generator, count, 1e-4, 1e3).astype(dtype).astype(np.float32)
    g = log_uniform(generator, count, 1e-4, 1e3).astype(dtype).astype(np.float32)
    m = log_uniform(generator, count, 1e-8, 1e4)
    v = np.abs(log_uniform(generator, count, 1e-12, 1e6))
    p[::4] = 0.0
    return _state(settings, p, g, m, v)


def storm(gradient: Float32, seed: int, *, values: tuple[float, ...] = ()) -> Float32:
    """`gradient` with one non-finite value at a random place, or each of `values` somewhere."""
    generator = np.random.default_rng(seed)
    stormy = np.array(gradient, np.float32)
    kinds = values or (float(generator.choice([np.nan, np.inf, -np.inf])),)
    places = generator.choice(stormy.size, len(kinds), replace=False)
    stormy.flat[places] = kinds
    return stormy
