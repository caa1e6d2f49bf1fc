"""float32 ops over wide domains, and the largest errors that docs/ops-accuracy.md promises."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32
from stepforge.frontend.graph import Graph, Node
from support.machine import REPOSITORY
from support.ulp import ulp_distance

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, int], Array]
COUNT = 2**14
TABLE = REPOSITORY / "docs" / "ops-accuracy.md"


@dataclass(frozen=True, slots=True)
class AccuracyCase:
    """One function: where its operands are drawn, and its exact value.

    References are computed in longdouble (erf in float64): 2^-11 ULP of float32 and better.
    """

    name: str
    build: Callable[..., Node]
    reference: Callable[..., Array]
    draws: tuple[Draw, ...]

    def node(self) -> Node:
        graph = Graph(self.name)
        shape = self.inputs()[0].shape
        return self.build(*(graph.input(f"x{i}", float32, shape) for i in range(len(self.draws))))

    def inputs(self) -> list[Array]:
        rng = np.random.default_rng(7)
        with np.errstate(all="ignore"):
            return [draw(rng, COUNT).astype(np.float32) for draw in self.draws]

    def worst(self, got: Array, inputs: list[Array]) -> float:
        """The largest error; 0 where it is below 2^-125, as flushing on the way in or out is."""
        wide = [x.astype(np.longdouble) for x in inputs]
        with np.errstate(all="ignore"):
            exact = self.reference(*wide)
            distance = ulp_distance(got, exact, np.dtype(np.float32))
            tiny = np.abs(got - exact) <= 2.0**-125
        return float(np.max(np.where(tiny, 0, distance)))


def between(low: float, high: float) -> Draw:
    return lambda rng, count: rng.uniform(low, high, count)


def sizes(low: float, high: float, *, signed: bool = True) -> Draw:
    """Powers of two with uniform exponents from low to high, of either sign."""

    def draw(rng: np.random.Generator, count: int) -> Array:
        return np.exp2(rng.uniform(low, high, count)) * (
            rng.choice([-1, 1], count) if signed else 1
        )

    return draw


def everywhere(keep: Callable[[Array], Array] = np.ones_like) -> Draw:
    """Every float16 and bfloat16 number, infinities and NaN with them, as many float32 ones of any
    size, as many of middling size, and what is next to 1 and -1: of these those to keep."""

    @np.errstate(all="ignore")
    def draw(rng: np.random.Generator, count: int) -> Array:
        patterns = np.arange(2**16, dtype=np.uint16)
        narrow = [patterns.view(np.float16), (patterns.astype(np.uint32) << 16).view(np.float32)]
        ones = np.array([1, -1], np.float32)
        beside = [np.nextafter(ones, 0 * ones), np.nextafter(ones, 2 * ones)]
        drawn = [sizes(-126, 128)(rng, 2**16), sizes(-12, 12)(rng, 2**16)]
        every = np.concatenate([*narrow, *beside, *drawn]).astype(np.float32)
        return every[keep(every).astype(bool)]

    return draw


def with_quarter_turns(draw: Draw) -> Draw:
    """And the numbers next to multiples of pi / 2, up to 2^17."""
    near = np.arange(1, 83_444) * np.longdouble(np.pi / 2)
    return lambda rng, count: np.concatenate([draw(rng, count), near])


ANY = sizes(-60, 60)
EVERYWHERE = everywhere()
NO_DENORMALS = everywhere(lambda x: (x == 0) | (np.abs(x) >= 2.0**-126) | (x != x))
TO_2_17 = with_quarter_turns(everywhere(lambda x: (np.abs(x) <= 2.0**17) | ~np.isfinite(x)))


def _erf(x: Array) -> Array:
    """In float64, which is exact enough to judge float32."""
    return np.array([math.erf(v) for v in x.astype(np.float64)], np.longdouble)


ACCURACY_CASES: tuple[AccuracyCase, ...] = (
    AccuracyCase("add", ops.add, np.add, (ANY, ANY)),
    AccuracyCase("sub", ops.sub, np.subtract, (ANY, ANY)),
    AccuracyCase("mul", ops.mul, np.multiply, (ANY, ANY)),
    AccuracyCase("div", ops.div, np.divide, (ANY, ANY)),
    AccuracyCase("rem", ops.rem, np.fmod, (sizes(-20, 10), sizes(-1, 4))),
    AccuracyCase("pow", ops.pow, np.power, (sizes(-30, 30, signed=False), between(-4, 4))),
    AccuracyCase("sqrt", ops.sqrt, np.sqrt, (sizes(-120, 120, signed=False),)),
    AccuracyCase("rsqrt", ops.rsqrt, lambda x: 1 / np.sqrt(x), (sizes(-120, 120, signed=False),)),
    AccuracyCase("exp", ops.exp, np.exp, (EVERYWHERE,)),
    AccuracyCase("expm1", ops.expm1, np.expm1, (EVERYWHERE,)),
    AccuracyCase("log", ops.log, np.log, (NO_DENORMALS,)),
    AccuracyCase("log1p", ops.log1p, np.log1p, (EVERYWHERE,)),
    AccuracyCase("sin", ops.sin, np.sin, (TO_2_17,)),
    AccuracyCase("cos", ops.cos, np.cos, (TO_2_17,)),
    AccuracyCase("tanh", ops.tanh, np.tanh, (EVERYWHERE,)),
    AccuracyCase("erf", ops.erf, _erf, (EVERYWHERE,)),
    AccuracyCase("sigmoid", ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), (EVERYWHERE,)),
)


def promised() -> Mapping[str, Mapping[str, float]]:
    """The bounds of the table: function -> backend -> error."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in TABLE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\|\s*`", line)
    ]
    backends = ("cpu", "vmvx", "vulkan")
    return {
        row[0].strip("`"): dict(zip(backends, map(float, row[-3:]), strict=True)) for row in rows
    }
