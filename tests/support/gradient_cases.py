"""One table of functions to differentiate: what gradients are compared with runs over it.

Every op with a gradient rule has at least one row; a composite function, one too.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.gradient import gradient
from stepforge.frontend.graph import Graph, Node

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Graphs:
    """A weighted sum of a function's elements, and what its derivatives should be."""

    inputs: tuple[Node, ...]
    output: Node
    """The sum, of rank 0."""
    first: tuple[Node, ...]
    """Its gradients."""
    again: Node
    """A weighted sum of the gradients' elements."""
    second: tuple[Node, ...]
    """Its gradients in turn."""


@dataclass(frozen=True, slots=True)
class GradientCase:
    """A function of float32 inputs of these shapes, and where it is smooth.

    low, high: the range of the inputs' elements. All of a case differ by a part of that, so that
    maxima have no ties.
    """

    name: str
    build: Callable[..., Node]
    shapes: tuple[tuple[int, ...], ...]
    low: float = -2.0
    high: float = 2.1

    def __str__(self) -> str:
        return self.name

    def values(self) -> dict[str, Array]:
        """float64 arrays of float32 numbers, by input name."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        places = (rng.permutation(sum(sizes)) + 0.5) / max(1, sum(sizes))
        numbers = np.float64(np.float32(self.low + (self.high - self.low) * places))
        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        return {
            f"x{i}": part.reshape(shape)
            for i, (part, shape) in enumerate(zip(parts, self.shapes, strict=True))
        }

    def graphs(self) -> Graphs:
        graph = Graph(self.name)
        inputs = tuple(
            graph.input(f"x{i}", "float32", shape) for i, shape in enumerate(self.shapes)
        )
        output = weighted([self.build(*inputs)])
        first = tuple(gradient(output, inputs))
        again = weighted(first)
        return Graphs(inputs, output, first, again, tuple(gradient(again, inputs)))


def weighted(nodes: Sequence[Node]) -> Node:
    """The sum of all elements, each with a weight of its own between 0.5 and 1.5."""
    total: Node | None = None
    for i, node in enumerate(nodes):
        rng = np.random.default_rng(i)
        weights = np.float32(rng.uniform(0.5, 1.5, node.shape))
        term = ops.reduce_sum(node * node.graph.constant(weights, node.dtype))
        total = term if total is None else total + term
    assert total is not None
    return total


def unary(
    name: str, low: float = -2.0, high: float = 2.1, build: Callable[..., Node] | None = None
) -> GradientCase:
    return GradientCase(name, build or getattr(ops, name), ((3, 4),), low, high)


def binary(name: str, low: float = -2.0, high: float = 2.1) -> GradientCase:
    return GradientCase(name, getattr(ops, name), ((3, 2), (3, 2)), low, high)


def moved(
    name: str, build: Callable[..., Node], *shapes: tuple[int, ...], low: float = -2.0
) -> GradientCase:
    """Squared first, so that there is a second derivative, and each element has its own first."""
    return GradientCase(name, lambda *xs: build(*(x * x for x in xs)), shapes, low)


def _constant_like(x: Node, number: float) -> Node:
    return x.graph.constant(number, x.dtype, x.shape)


ELEMENTWISE = (
    binary("add"), binary("sub"), binary("mul"), binary("div", 0.5, 3.0),
    unary("div[negative]", -3.0, -0.5, lambda x: 1.0 / x),
    GradientCase("mul[scalar]", lambda x, s: x * s, ((2, 3), ())),
    GradientCase("rem", lambda x, y: ops.rem(x * 4.0, y + 2.0), ((5,), (5,)), 0.3, 0.9),
    binary("pow", 0.3, 2.5),
    *(unary(f"pow[{n}]", build=lambda x, n=n: ops.pow(x, n)) for n in (-2.0, 0.0, 1.0, 2.0, 3.0)),
    unary("pow[half]", 0.2, 3.0, lambda x: ops.pow(x, 0.5)),
    GradientCase("pow[exponent]", lambda x: ops.pow(2.5, x), ((6,),)),
    binary("maximum"), binary("minimum"),
    unary("clip", build=lambda x: ops.clip(x * x, 0.5, 2.0)),
    unary("neg"), unary("abs"), unary("square"),
    unary("sign", build=lambda x: ops.sign(x) * x),
    unary("sqrt", 0.1, 4.0), unary("rsqrt", 0.1, 4.0), unary("reciprocal", 0.3, 3.0),
    unary("exp"), unary("expm1"), unary("log", 0.1, 4.0), unary("log1p", -0.8, 4.0),
    unary("sin"), unary("cos"), unary("tanh"), unary("sigmoid", -9.0, 9.5), unary("erf"),
    unary("floor", 0.1, 0.9, lambda x: x * ops.floor(x + 1.0)),
    unary("ceil", 0.1, 0.9, lambda x: x * ops.ceil(x)),
    unary("round", 0.6, 1.4, lambda x: x * ops.round(x)),
    unary("stop_gradient", build=lambda x: x * x - ops.stop_gradient(_constant_like(x, 2.0))),
    unary("cast", build=lambda x: ops.cast(ops.cast(x * x, "bfloat16"), "float32")),
    unary("cast[integer]", 0.1, 0.9, lambda x: x * ops.cast(ops.cast(x, "int32"), x.dtype)),
    GradientCase("where", lambda x, y: ops.where(ops.less(x, y), x * y, y * y), ((7,), (7,))),
    GradientCase(
        "where[logic]",
        lambda x, y: ops.where(
            ops.logical_not(ops.logical_and(ops.greater(x, y), ops.less_equal(x, 0.0))), x * y, x
        ),
        ((7,), (7,)),
    ),
    unary(
        "where[safe]",
        build=lambda x: ops.where(
            ops.greater(x, 0.0), ops.sqrt(ops.where(ops.greater(x, 0.0), x, 1.0)), 0.0
        ),
    ),
    GradientCase("where[twice]", lambda x: ops.where(ops.less(x, 0.5), x * x, x) * x, ((6,),)),
)  # fmt: skip

SHAPING = (
    moved("broadcast", lambda x: ops.broadcast_to(x, (4, 3, 2, 5), (1, 3)), (3, 5)),
    moved("broadcast[scalar]", lambda x: ops.broadcast_to(x, (2, 3)), ()),
    moved("broadcast[ones]", lambda x: ops.broadcast_to(x, (2, 3, 4)), (3, 1)),
    moved("reshape", lambda x: ops.reshape(x, (3, 4)), (2, 6)),
    moved("transpose", lambda x: ops.transpose(x, (2, 0, 1)), (2, 3, 2)),
    moved("slice", lambda x: ops.slice(x, (1, 0), (3, 4)), (4, 5)),
    moved("slice[strides]", lambda x: ops.slice(x, (1, 0), (4, 6), (1, 3)), (4, 7)),
    moved("slice[two strides]", lambda x: ops.slice(x, (1, 1), (5, 7), (2, 2)), (6, 7)),
    moved("slice[to the end]", lambda x: ops.slice(x, (0,), (7,), (3,)), (7,)),
    moved("slice[one]", lambda x: ops.slice(x, (2,), (3,), (5,)), (6,)),
    moved("slice[none]", lambda x: ops.slice(x, (2,), (2,)), (4,)),
    moved("concatenate", lambda x, y: ops.concatenate([x, y, x], 1), (2, 2), (2, 3)),
    moved("pad", lambda x: ops.pad(x, 3.0, (1, 0), (0, 2)), (2, 3)),
    moved("pad[value]", lambda x, v: ops.pad(x, v, (1, 0), (0, 2)), (2, 3), ()),
    moved("reverse", lambda x: ops.reverse(x, 1), (2, 4)),
    moved("reverse[all]", ops.reverse, (2, 4)),
)

REDUCTIONS = (
    moved("reduce_sum", lambda x: ops.reduce_sum(x, 1), (3, 4)),
    moved("reduce_sum[all]", ops.reduce_sum, (3, 4)),
    moved("reduce_sum[kept]", lambda x: ops.reduce_sum(x, (0, 2), True), (2, 3, 2)),
    moved("reduce_mean", lambda x: ops.reduce_mean(x, 1), (3, 4)),
    unary("reduce_prod", build=lambda x: ops.reduce_prod(x, 1)),
    GradientCase("reduce_prod[odd]", lambda x: ops.reduce_prod(x, (0, 2)), ((5, 2, 1),)),
    GradientCase("reduce_prod[all]", ops.reduce_prod, ((7,),)),
    GradientCase("reduce_prod[one]", lambda x: ops.reduce_prod(x, 0), ((1, 3),)),
    GradientCase(
        "reduce_prod[zero]",
        lambda x: ops.reduce_prod(x - x.graph.constant([0.5, 0.0, 0.0], x.dtype)),
        ((3,),),
        0.25,
        0.75,
    ),
    moved("reduce_max", lambda x: ops.reduce_max(x, 1), (3, 4), low=0.1),
    moved("reduce_max[all]", ops.reduce_max, (3, 4), low=0.1),
    moved("reduce_min", lambda x: ops.reduce_min(x, (0, 1)), (3, 2, 2), low=0.1),
    moved("cumsum", lambda x: ops.cumsum(x, 1), (3, 5)),
    moved("cumsum[first]", lambda x: ops.cumsum(x, 0), (5, 2)),
)

ACTIVATIONS = (
    *(unary(name) for name in ("relu", "leaky_relu", "elu", "silu", "gelu")),
    unary("softplus", -6.0, 6.5),
    unary("gelu[tanh]", build=lambda x: ops.gelu(x, exact=False)),
    *(unary(name) for name in ("softmax", "log_softmax", "logsumexp")),
    unary("softmax[first]", build=lambda x: ops.softmax(x, 0)),
    unary("logsumexp[axis]", build=lambda x: ops.logsumexp(x, 0, keep_dims=True)),
)

WHOLE = (
    GradientCase("many uses", lambda x: x * x * ops.sin(x) + x / (1.0 + x * x), ((6,),)),
    GradientCase(
        "normalized",
        lambda x: (
            (x - ops.broadcast_to(ops.reduce_mean(x, 1, True), x.shape))
            * ops.broadcast_to(ops.rsqrt(ops.reduce_mean(x * x, 1, True) + 1e-3), x.shape)
        ),
        ((3, 4),),
    ),
    GradientCase("unused", lambda x, y: x * x, ((3,), (2, 2))),
)

GRADIENT_CASES: tuple[GradientCase, ...] = (
    *(*ELEMENTWISE, *SHAPING, *REDUCTIONS, *ACTIVATIONS, *WHOLE),
)


_VARIANTS = frozenset({
    "div[negative]", "pow[0.0]", "pow[1.0]", "pow[3.0]", "pow[half]", "pow[exponent]", "square",
    "reciprocal", "broadcast[scalar]", "broadcast[ones]", "slice[two strides]", "slice[to the end]",
    "slice[one]", "pad", "reverse[all]", "reduce_sum[all]", "reduce_sum[kept]", "reduce_prod[all]",
    "reduce_prod[one]", "reduce_prod[zero]", "reduce_max[all]", "cumsum[first]", "softmax[first]",
    "leaky_relu", "logsumexp[axis]", "where[twice]", "cast[integer]",
})  # fmt: skip
COMPILED_CASES = tuple(case for case in GRADIENT_CASES if case.name not in _VARIANTS)
"""Without those that differ from another in shapes or numbers alone."""


def differences(output: Node, values: Mapping[str, Array]) -> dict[str, Array]:
    """Derivatives of a rank-0 node by each element of each input, without gradient rows.

    Central differences in float64 over 3 step widths, extrapolated (Richardson): what is left is
    of the sixth order of the step, and a rounding of 1e-13.
    """
    from_inputs: dict[str, Array] = {}
    for name, value in values.items():
        slopes = np.zeros(value.shape)
        for at in np.ndindex(value.shape):
            slopes[at] = _slope(output, values, name, at)
        from_inputs[name] = slopes
    return from_inputs


WIDTH = 2.0**-8


def _slope(output: Node, values: Mapping[str, Array], name: str, at: tuple[int, ...]) -> float:
    rows = [_central(output, values, name, at, WIDTH / 2**i) for i in range(3)]
    for order in (4, 16):
        rows = [(order * b - a) / (order - 1) for a, b in itertools.pairwise(rows)]
    return rows[0]


def _central(
    output: Node, values: Mapping[str, Array], name: str, at: tuple[int, ...], width: float
) -> float:
    found: list[float] = []
    for sign in (1, -1):
        moved_by = np.array(values[name])
        moved_by[at] += sign * width
        (y,) = evaluate([output], {**values, name: moved_by}, "float64")
        found.append(float(y))
    return (found[0] - found[1]) / (2 * width)
