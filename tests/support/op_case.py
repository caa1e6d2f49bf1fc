"""The record of one case of `op_cases.OP_CASES`: how to build, feed and judge one op."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend.dtypes import DType, bool_, convert
from stepforge.frontend.graph import Graph, Node

Array = NDArray[Any]

INF, NAN = math.inf, math.nan


@dataclass(frozen=True, slots=True)
class Domain:
    """Where the elements of one operand are drawn from, and where it is interesting."""

    low: float = -4.0
    high: float = 4.0
    special: tuple[float, ...] = ()
    """Values that stand in the first half of the operand, when a test asks for them."""
    shape: tuple[int, ...] = (16, 16)
    dtype: DType | None = None
    """The operand's own dtype; None is the dtype of the case."""

    def draw(self, rng: np.random.Generator, dtype: DType, special: bool) -> Array:
        count = math.prod(self.shape)
        if dtype.kind == "bool":
            return rng.integers(0, 2, self.shape).astype(np.bool_)
        if dtype.is_integer:
            low, high = math.ceil(self.low), math.floor(self.high)
            return rng.integers(low, high, self.shape, endpoint=True).astype(dtype.numpy)
        values = rng.uniform(self.low, self.high, count)
        if special and self.special:
            values[: count // 2] = rng.choice(self.special, count // 2)
        return convert(values, dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpCase:
    """One op on one kind of operand.

    build: from input nodes to the result. reference: from arrays (longdouble for floats, int64 for
    integers) to the exact result, written without the frontend. ulp: how far an implementation in
    the dtype itself may be from the exact result, and why; 0.5 is a correctly rounded one.
    """

    name: str
    op: str
    build: Callable[..., Node]
    reference: Callable[..., Any]
    domains: tuple[Domain, ...]
    dtypes: tuple[DType, ...]
    ulp: float = 0.5
    why: str = "exact, then rounded once"
    result: DType | None = None
    """The dtype of the result; None is the dtype of the case."""

    def __str__(self) -> str:
        return self.name

    def result_dtype(self, dtype: DType) -> DType:
        return self.result or dtype

    def graph(self, dtype: DType) -> tuple[Graph, Node]:
        """A graph with inputs x0, x1, ... and the node under test."""
        graph = Graph(self.name)
        operands = [
            graph.input(f"x{i}", domain.dtype or dtype, domain.shape)
            for i, domain in enumerate(self.domains)
        ]
        return graph, self.build(*operands)

    def inputs(self, dtype: DType, *, special: bool = True, seed: int = 0) -> dict[str, Array]:
        """Seeded values for the inputs; with `special`, infinities, NaN and edges among them."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return {
            f"x{i}": domain.draw(rng, domain.dtype or dtype, special)
            for i, domain in enumerate(self.domains)
        }

    def expected(self, inputs: Mapping[str, Array], dtype: DType) -> Array:
        """The exact result: longdouble for a float result, else in the result's dtype (wrapped)."""
        with np.errstate(all="ignore"):
            value = np.asarray(self.reference(*map(_exact, inputs.values())))
            result = self.result_dtype(dtype)
            return value.astype(np.longdouble if result.is_float else result.numpy)


def _exact(values: Array) -> Array:
    if values.dtype == bool_.numpy:
        return values
    return values.astype(np.int64 if values.dtype.kind == "i" else np.longdouble)
