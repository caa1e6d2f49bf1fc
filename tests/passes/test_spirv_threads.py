"""Vulkan kernels give every thread its part: shapes that IREE alone gets wrong, and neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend import (
    Context,
    Node,
    StochasticGradientDescent,
    compile_train_step,
    initializers,
    ops,
)
from stepforge.passes import bindings, parse_target, spirv_threads
from stepforge.passes.errors import CompileError
from stepforge.passes.session import Lowering, open_session

pytestmark = pytest.mark.compiler

PRODUCT = """
func.func @f(%a: tensor<64x32xf32>, %b: tensor<32x7xf32>) -> tensor<64x7xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<64x7xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<64x7xf32>) -> tensor<64x7xf32>
  %p = linalg.matmul ins(%a, %b : tensor<64x32xf32>, tensor<32x7xf32>)
    outs(%i : tensor<64x7xf32>) -> tensor<64x7xf32>
  return %p : tensor<64x7xf32>
}"""
EVEN = PRODUCT.replace("x7x", "x8x")


def lowered(text: str, *, spread: bool) -> int:
    with open_session(parse_target("vulkan").flags) as session:
        module = bindings.parse(text, session.context)
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("executable-configurations")
            found = spirv_threads.spread_columns(module) if spread else 0
            lowering.advance("executable-targets")
            spirv_threads.check_divided(module, "a test")
    return found


def test_iree_divides_no_work_among_64_rows_and_odd_columns() -> None:
    """If this stops failing, IREE is mended and the module is not needed."""
    with pytest.raises(CompileError, match="no thread in particular"):
        lowered(PRODUCT, spread=False)
    assert lowered(PRODUCT, spread=True) == 1
    assert lowered(EVEN, spread=True) == 0


def product_and_gradient(terms: int, rows: int, columns: int) -> None:
    """w becomes -a^T b, in integers: exact in any order of the sums."""

    def loss(ctx: Context, a: Node, b: Node) -> Node:
        w = ctx.variable("w", (rows, columns), "float32", initializer=initializers.zeros())
        return ops.reduce_sum(ops.matmul(a, w.value_graph(a.graph)) * b)

    made = compile_train_step(
        loss,
        StochasticGradientDescent(learning_rate=1.0, decay=False),
        inputs={"a": f"{terms}x{rows}xf32", "b": f"{terms}x{columns}xf32"},
        target="vulkan",
    )
    draw = np.random.default_rng(0)
    a, b = (draw.integers(-4, 5, (terms, n)).astype(np.float32) for n in (rows, columns))
    with made.load() as step:
        step.initialize()
        assert step.train_step(a=a, b=b)["loss"] == 0.0
        np.testing.assert_array_equal(step.parameters["w"], -a.T @ b)
        loss_after = -float(np.square(a.T @ b).sum(dtype=np.float64))
        assert step.evaluate(a=a, b=b)["loss"] == pytest.approx(loss_after, rel=1e-5)


@pytest.mark.vulkan
@pytest.mark.parametrize(
    ("terms", "rows", "columns"),
    [(1024, 64, 103), (64, 128, 7), (128, 64, 1), (192, 192, 3), (64, 63, 9), (96, 64, 102)],
)
def test_products_are_exact(terms: int, rows: int, columns: int) -> None:
    product_and_gradient(terms, rows, columns)


@pytest.mark.vulkan
@pytest.mark.parametrize("shape", [(64, 103), (128, 3, 5), (3, 64, 7), (64, 1, 9)])
def test_element_wise_kernels_are_exact(shape: tuple[int, ...]) -> None:
    """Not flattened, as a broadcast along the last axis is in it."""
    text = "x".join(map(str, shape))

    def loss(ctx: Context, x: Node, y: Node) -> Node:
        w = ctx.variable("w", shape[-1:], "float32", initializer=initializers.ones())
        wide = ops.broadcast_to(w.value_graph(x.graph), shape)
        return ops.reduce_sum(ops.transpose(ops.maximum(x * wide, y)) * 2.0)

    made = compile_train_step(
        loss,
        StochasticGradientDescent(learning_rate=1.0, decay=False),
        inputs={"x": f"{text}xf32", "y": f"{text}xf32"},
        target="vulkan",
    )
    draw = np.random.default_rng(1)
    x, y = (draw.permutation(int(np.prod(shape))).reshape(shape) * 2.0 + i for i in (0, 1))
    x, y = x.astype(np.float32), y.astype(np.float32)
    with made.load() as step:
        step.initialize()
        got = step.train_step(x=x, y=y)["loss"]
        assert got == pytest.approx(2.0 * float(np.maximum(x, y).sum(dtype=np.float64)), rel=1e-6)
        slope = np.where(x > y, x, 0.0).reshape(-1, shape[-1]).sum(axis=0) * 2.0
        np.testing.assert_allclose(step.parameters["w"], 1.0 - slope, rtol=1e-6)
