"""float32 ops over wide domains, and the largest errors that docs/ops-accuracy.md promises."""

from __future__ import annotations

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
from support.op_cases import error_function
from support.ulp import ulp_distance

Array = NDArray[Any]
Draw = Callable[[np.random.Generator, int], Array]
COUNT = 2**14
TABLE = REPOSITORY / "docs" / "ops-accuracy.md"


@dataclass(frozen=True, slots=True)
class AccuracyCase:
    """One function: where its operands are drawn, its exact value, and the unit of its error.

    least: the error is in units in the last place of the result, or of this number (a function of
    the operands) where it is larger.
    """

    name: str
    build: Callable[..., Node]
    reference: Callable[..., Array]
    draws: tuple[Draw, ...]
    least: Callable[..., Any] | None = None

    def node(self) -> Node:
        graph = Graph(self.name)
        shape = (COUNT,)
        return self.build(*(graph.input(f"x{i}", float32, shape) for i in range(len(self.draws))))

    def inputs(self) -> list[Array]:
        rng = np.random.default_rng(7)
        return [draw(rng, COUNT).astype(np.float32) for draw in self.draws]

    def worst(self, got: Array, inputs: list[Array]) -> float:
        """The largest error; 0 where result and exact value are below the smallest normal one."""
        wide = [x.astype(np.longdouble) for x in inputs]
        with np.errstate(all="ignore"):
            exact = self.reference(*wide)
            distance = ulp_distance(got, exact, np.dtype(np.float32))
            if self.least is not None:
                scale = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
                unit = np.spacing(np.abs(self.least(*inputs)).astype(np.float32))
                distance = distance * np.minimum(1, scale / unit)
        tiny = (np.abs(exact) < 2.0**-126) & (np.abs(got) < 2.0**-126)
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


def both(first: Draw, second: Draw) -> Draw:
    return lambda rng, count: np.concatenate(
        [first(rng, count // 2), second(rng, count - count // 2)]
    )


def _one(*operands: Array) -> float:
    return 1.0


ANY = sizes(-60, 60)
SMALL = sizes(-30, 0)

ACCURACY_CASES: tuple[AccuracyCase, ...] = (
    AccuracyCase("add", ops.add, np.add, (ANY, ANY)),
    AccuracyCase("sub", ops.sub, np.subtract, (ANY, ANY)),
    AccuracyCase("mul", ops.mul, np.multiply, (ANY, ANY)),
    AccuracyCase("div", ops.div, np.divide, (ANY, ANY)),
    AccuracyCase("rem", ops.rem, np.fmod, (sizes(-20, 10), sizes(-1, 4))),
    AccuracyCase("pow", ops.pow, np.power, (sizes(-12, 12, signed=False), between(-10, 10))),
    AccuracyCase("sqrt", ops.sqrt, np.sqrt, (sizes(-120, 120, signed=False),)),
    AccuracyCase("rsqrt", ops.rsqrt, lambda x: 1 / np.sqrt(x), (sizes(-120, 120, signed=False),)),
    AccuracyCase("exp", ops.exp, np.exp, (between(-87, 88),)),
    AccuracyCase("expm1", ops.expm1, np.expm1, (both(SMALL, between(-87, 88)),)),
    AccuracyCase("log", ops.log, np.log, (both(sizes(-120, 120, signed=False), between(0.5, 2)),)),
    AccuracyCase("log1p", ops.log1p, np.log1p, (between(-0.5, 100),)),
    AccuracyCase("log1p (small)", ops.log1p, np.log1p, (SMALL,), _one),
    AccuracyCase("sin", ops.sin, np.sin, (between(-100, 100),), _one),
    AccuracyCase("cos", ops.cos, np.cos, (between(-100, 100),), _one),
    AccuracyCase("tanh", ops.tanh, np.tanh, (both(SMALL, between(-20, 20)),)),
    AccuracyCase("erf", ops.erf, error_function, (both(SMALL, between(-6, 6)),)),
    AccuracyCase(
        "sigmoid", ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), (both(SMALL, between(-80, 80)),)
    ),
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
