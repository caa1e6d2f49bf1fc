"""Contractions, convolutions, pooling, rows and bits on every backend, against float64.

The bound on an element: each of its terms is rounded at most once in its product and once for
every addition, so (terms + 2) * 2^-24 times the sum of the sizes of all terms, which is the same
function of the sizes of the inputs. A backend that flushes denormals loses less than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import initializers, ops, random
from stepforge.frontend.dtypes import int32
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.gradient import gradient
from stepforge.frontend.graph import Graph, Node
from support.backends import BACKENDS, Backend
from support.contraction_cases import LARGE, SMALL
from support.emitted import compile_entries, function
from support.tensor_cases import LINEAR, PICKS, TensorCase

pytestmark = pytest.mark.compiler
Array = NDArray[Any]
ON_EACH = [pytest.param(backend, marks=backend.marks, id=str(backend)) for backend in BACKENDS]


@dataclass(frozen=True, slots=True)
class Row:
    """One function of a module: what it computes, of which arrays, and how well."""

    name: str
    node: Node
    inputs: dict[str, Array]
    terms: int
    """0: exact."""

    def wrong(self, got: Array) -> bool:
        (exact,) = evaluate([self.node], self.inputs, "float64")
        if not self.terms:
            return not np.array_equal(got, exact)
        sizes = {k: np.abs(x) if x.dtype == np.float32 else x for k, x in self.inputs.items()}
        (largest,) = evaluate([self.node], sizes, "float64")
        bound = (self.terms + 2) * 2.0**-24 * np.abs(largest) + 2.0**-126
        return not np.all(np.abs(got - exact) <= bound)


def check(rows: list[Row], backend: Backend) -> None:
    entries = [function(f"f{i}", [row.node]) for i, row in enumerate(rows)]
    compiled = compile_entries(entries, backend)
    wrong: list[str] = []
    for row, entry in zip(rows, entries, strict=True):
        given = [row.inputs[x.name] for x in entry.arguments]
        (got,) = compiled(entry.name, given, [row.node.dtype])
        if row.wrong(got):
            wrong.append(row.name)
    assert not wrong


def row(case: TensorCase, terms: int | None = None) -> Row:
    inputs = {f"x{i}": x for i, x in enumerate(case.arrays())}
    return Row(case.name, case.graph("float32")[1], inputs, case.terms if terms is None else terms)


def slopes(case: TensorCase) -> list[Row]:
    """The shares of a cotangent that is an input itself, so that all stays linear in each."""
    rows: list[Row] = []
    for i in range(len(case.shapes)):
        nodes, y = case.graph("float32")
        if not nodes[i].dtype.is_float:
            continue
        cotangent = y.graph.input("c", "float32", y.shape)
        (share,) = gradient(ops.reduce_sum(y * cotangent), [nodes[i]])
        rng = np.random.default_rng(i)
        inputs = {f"x{k}": x for k, x in enumerate(case.arrays())}
        inputs["c"] = rng.uniform(-1, 1, y.shape).astype(np.float32)
        rows.append(Row(f"{case.name} by x{i}", share, inputs, int(np.prod(y.shape)) + 8))
    return rows


WITH_SLOPES = frozenset({"convolution[strides and groups]"})
"""Its gradients go through every branch of the rule that emits them."""
VARIANTS = frozenset({
    "convolution[1-D]", "convolution[2-D]", "convolution[dilated]", "convolution[1 x 1]",
    "avg_pool", "avg_pool[1-D]", "scatter_add[many rows]", "gather[numbers]",
})  # fmt: skip
"""Cases that differ from another in shapes alone."""


@pytest.mark.parametrize("backend", ON_EACH)
def test_tensor_ops_on_the_device(backend: Backend) -> None:
    rows = [row(case) for case in LINEAR if case.name not in VARIANTS]
    rows += [row(case, 0) for case in PICKS]
    rows += [x for case in LINEAR if case.name in WITH_SLOPES for x in slopes(case)]
    check(rows, backend)


@pytest.mark.parametrize("backend", ON_EACH)
def test_contractions_on_the_device(backend: Backend) -> None:
    """The long ones are sums of more terms than software Vulkan devices count to in one loop."""
    cases = SMALL if backend.name == "vmvx" else (*SMALL, *LARGE)
    rows = [row(TensorCase(c.name, c.build, c.shapes, None, c.terms)) for c in cases]
    check(rows, backend)


def _whole(build: Any, *arrays: Array) -> Row:
    graph = Graph()
    nodes = [graph.input(f"x{i}", x.dtype, x.shape) for i, x in enumerate(arrays)]
    return Row("whole numbers", build(*nodes), {f"x{i}": x for i, x in enumerate(arrays)}, 0)


@pytest.mark.parametrize("backend", ON_EACH)
def test_bits_and_whole_numbers_on_the_device(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-(2**31), 2**31, (8, 5)).astype(np.int32) for _ in range(2))
    amounts = rng.integers(-3, 36, (8, 5)).astype(np.int32)
    numbers = rng.integers(-1, 5, 8).astype(np.int32)
    rows = [
        *(_whole(op, a, b) for op in (ops.bit_and, ops.bit_or, ops.bit_xor)),
        *(_whole(op, a, amounts) for op in (ops.shift_left, ops.shift_right_logical)),
        _whole(lambda x: ops.shift_right_logical(ops.shift_left(x, 3), 31), a),
        _whole(ops.matmul, a, b.T.copy()),
        _whole(lambda x, y: ops.einsum("ij,kj->", x, y), a, b),
        _whole(ops.gather, a, numbers),
        _whole(lambda x, i: ops.cast(ops.gather(ops.greater(x, 0), i), "int32"), a, numbers),
        _whole(lambda x, i, u: ops.scatter_add(x, i, u), a[:4], numbers, b),
        _whole(lambda x, i, u: ops.scatter_add(x, i, u), np.tile(a, (3, 1)), numbers, b),
        _whole(lambda i: ops.one_hot(i, 4, "int32"), numbers),
    ]
    check(rows, backend)


@pytest.mark.parametrize("backend", ON_EACH)
def test_random_numbers_on_the_device(backend: Backend) -> None:
    """The same bits as the generator of first values."""
    graph = Graph()
    key = graph.input("k0", "int32"), graph.input("k1", "int32")
    node = random.random_uniform(key, (9, 31))
    compiled = compile_entries([function("f", [node])], backend)
    key_words = initializers.stream_start(11, "/w")
    words = np.array(key_words, np.uint32).view(np.int32)
    (got,) = compiled("f", [np.array(x, int32.numpy) for x in words], [node.dtype])
    index = np.arange(9 * 31, dtype=np.uint32)
    word, _ = initializers.threefry2x32(key_words, index, np.zeros_like(index))
    np.testing.assert_array_equal(got.ravel(), (word >> np.uint32(8)) * 2.0**-24)
