"""Cases of convolutions, pooling and rows by number, each with what it means in loops.

All but `max_pool` are linear in each input, so that a bound on rounding is the sum of the sizes of
all terms, which is the same function of the inputs' sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.dtypes import as_dtype
from stepforge.frontend.graph import Graph, Node

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorCase:
    """A function of float32 inputs, and of row numbers where `rows` says how many there are."""

    name: str
    build: Callable[..., Node]
    shapes: tuple[tuple[int, ...], ...]
    loops: Callable[..., Array] | None = None
    terms: int = 1
    """How many rounded products or terms are summed for an element."""
    rows: dict[int, int] = field(default_factory=dict[int, int])
    """For inputs that are row numbers: beyond how many they go."""

    def __str__(self) -> str:
        return self.name

    def arrays(self) -> list[Array]:
        """All floats of a case differ by a part of their range, so that maxima have no ties."""
        rng = np.random.default_rng(len(self.name))
        made: list[Array] = []
        for i, shape in enumerate(self.shapes):
            if i in self.rows:
                made.append(rng.integers(-2, self.rows[i] + 2, shape).astype(np.int32))
                continue
            count = int(np.prod(shape))
            numbers = (rng.permutation(count) + 0.5) * (4 / count) - 2
            made.append(numbers.astype(np.float32).reshape(shape))
        return made

    def graph(self, dtype: str) -> tuple[tuple[Node, ...], Node]:
        graph = Graph(self.name)
        inputs = tuple(
            graph.input(f"x{i}", "int32" if i in self.rows else as_dtype(dtype), shape)
            for i, shape in enumerate(self.shapes)
        )
        return inputs, self.build(*inputs)


def _at(x: Array, n: int, place: list[int], c: int) -> float:
    inside = all(0 <= p < size for p, size in zip(place, x.shape[1:-1], strict=True))
    return float(x[(n, *place, c)]) if inside else 0.0


def convolved(
    x: Array,
    kernel: Array,
    strides: tuple[int, ...] = (1, 1),
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0)),
    input_dilation: tuple[int, ...] = (1, 1),
    kernel_dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
) -> Array:
    """Convolution, one product at a time."""
    count = x.ndim - 2
    spread = [(n - 1) * d + 1 for n, d in zip(x.shape[1:-1], input_dilation, strict=False)]
    wide = np.zeros((x.shape[0], *spread, x.shape[-1]))
    wide[(np.s_[:], *(np.s_[::d] for d in input_dilation[:count]))] = x
    sizes = [
        (n + sum(pair) - (taps - 1) * d - 1) // s + 1
        for n, pair, taps, d, s in zip(
            spread, padding, kernel.shape, kernel_dilation, strides, strict=False
        )
    ]
    inner, channels = kernel.shape[-2:]
    total = np.zeros((x.shape[0], *sizes, channels))
    for n, *place, f in np.ndindex(*total.shape):
        for *tap, c in np.ndindex(*kernel.shape[:-1]):
            seen = [
                o * s + t * d - low
                for o, s, t, d, (low, _) in zip(
                    place, strides, tap, kernel_dilation, padding, strict=False
                )
            ]
            group = f // (channels // groups)
            value = _at(wide, n, seen, group * inner + c)
            total[(n, *place, f)] += value * kernel[(*tap, c, f)]
    return total


def _convolution(name: str, x: tuple[int, ...], kernel: tuple[int, ...], **at: Any) -> TensorCase:
    return TensorCase(
        f"convolution[{name}]",
        lambda a, b: ops.convolution(a, b, **at),
        (x, kernel),
        lambda a, b: convolved(a, b, **at),
        int(np.prod(kernel[:-1])),
    )


def pooled(combine: Callable[[list[float]], float], window: int, stride: int) -> Any:
    """Pooling of 2-D without padding."""

    def loops(x: Array) -> Array:
        n, height, width, channels = x.shape
        sizes = [(size - window) // stride + 1 for size in (height, width)]
        result = np.zeros((n, *sizes, channels))
        for i, h, w, c in np.ndindex(*result.shape):
            part = x[i, h * stride : h * stride + window, w * stride : w * stride + window, c]
            result[i, h, w, c] = combine(part.ravel().tolist())
        return result

    return loops


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def same_mean(x: Array) -> Array:
    """avg_pool of a window of 3 and stride 2 that counts real elements only."""
    n, height, width, channels = x.shape
    result = np.zeros((n, -(-height // 2), -(-width // 2), channels))
    before = [max(0, (-(-size // 2) - 1) * 2 + 3 - size) // 2 for size in (height, width)]
    for i, h, w, c in np.ndindex(*result.shape):
        first = [h * 2 - before[0], w * 2 - before[1]]
        parts = [
            x[i, a, b, c]
            for a in range(first[0], first[0] + 3)
            for b in range(first[1], first[1] + 3)
            if 0 <= a < height and 0 <= b < width
        ]
        result[i, h, w, c] = _mean(parts)
    return result


def chosen(x: Array, indices: Array) -> Array:
    rows = [x[min(max(i, 0), len(x) - 1)] for i in indices.ravel().tolist()]
    return np.array(rows).reshape(*indices.shape, *x.shape[1:])


def scattered(x: Array, indices: Array, updates: Array) -> Array:
    total = x.astype(np.float64)
    for at in np.ndindex(*indices.shape):
        total[min(max(int(indices[at]), 0), len(x) - 1)] += updates[at]
    return total


LINEAR = (
    _convolution("1-D", (2, 6, 3), (3, 3, 4)),
    _convolution("1-D strides", (2, 7, 4), (3, 2, 6), strides=(2,), padding=((1, 2),),
                 kernel_dilation=(2,), groups=2),
    _convolution("2-D", (2, 5, 6, 2), (3, 2, 2, 3)),
    _convolution("strides and groups", (2, 7, 6, 4), (3, 2, 2, 4), strides=(2, 3),
                 padding=((1, 2), (0, 1)), groups=2),
    _convolution("dilated", (1, 7, 8, 2), (2, 3, 2, 3), kernel_dilation=(3, 2),
                 padding=((2, 0), (1, 1))),
    _convolution("transposed", (2, 4, 3, 2), (3, 2, 2, 3), input_dilation=(2, 3), strides=(1, 2),
                 padding=((1, 2), (-1, 1))),
    _convolution("depthwise", (2, 6, 5, 3), (3, 3, 1, 3), groups=3, padding=((1, 1), (1, 1))),
    _convolution("1 x 1", (2, 5, 5, 2), (1, 1, 2, 3), strides=(2, 2)),
    _convolution("one output", (2, 5, 5, 2), (5, 5, 2, 3)),
    _convolution("cut off", (1, 9, 2), (4, 2, 1), padding=((-1, -2),)),
    TensorCase("avg_pool", lambda x: ops.avg_pool(x, 2), ((2, 6, 7, 3),), pooled(_mean, 2, 2), 4),
    TensorCase("avg_pool[same]", lambda x: ops.avg_pool(x, 3, 2, "same"), ((2, 6, 7, 3),),
               same_mean, 9),
    TensorCase("avg_pool[1-D]", lambda x: ops.avg_pool(x, 3, 1, ((1, 2),)), ((2, 6, 3),), None, 3),
    TensorCase("gather", ops.gather, ((10, 3), (4, 5)), chosen, rows={1: 10}),
    TensorCase("gather[numbers]", ops.gather, ((10,), (7,)), chosen, rows={1: 10}),
    TensorCase("take", lambda x, i: ops.take(x, i, 1), ((3, 10, 4), (2, 2)), rows={1: 10}),
    TensorCase("scatter_add", ops.scatter_add, ((5, 3), (40,), (40, 3)), scattered, 40, {1: 5}),
    TensorCase("scatter_add[many rows]", ops.scatter_add, ((50, 3), (4, 5), (4, 5, 3)), scattered,
               20, {1: 50}),
    TensorCase("scatter_add[repeated]", ops.scatter_add, ((90, 2, 2), (30,), (30, 2, 2)),
               scattered, 30, {1: 3}),
    TensorCase("scatter_add[numbers]", ops.scatter_add, ((50,), (20,), (20,)), scattered, 20,
               {1: 50}),
    TensorCase("scatter_add[parts]", ops.scatter_add, ((4500,), (4200,), (4200,)), scattered, 40,
               {1: 4500}),
    TensorCase("scatter_add[one]", ops.scatter_add, ((5,), (), ()), scattered, 1, {1: 5}),
)  # fmt: skip

PICKS = (
    TensorCase("max_pool", lambda x: ops.max_pool(x, 2), ((2, 6, 7, 3),), pooled(max, 2, 2)),
    TensorCase("max_pool[overlap]", lambda x: ops.max_pool(x, 3, 2), ((2, 6, 7, 3),),
               pooled(max, 3, 2)),
    TensorCase("max_pool[same]", lambda x: ops.max_pool(x, (2, 3), (1, 2), "same"),
               ((2, 6, 7, 3),)),
    TensorCase("max_pool[1-D]", lambda x: ops.max_pool(x, 3, 2), ((2, 9, 3),)),
)  # fmt: skip

TENSOR_CASES = (*LINEAR, *PICKS)
