"""Layers against formulas in NumPy, and their gradients against differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import Context, Node, evaluate, nn
from support.layers import Array, Built, assert_gradients, build, fixed, numbers

IDS = np.array([[3, 0, 3], [1, 4, 0]], np.int32)


@dataclass(frozen=True, slots=True)
class LayerCase:
    """A layer, its input, the variables it makes, and what it computes of both."""

    name: str
    layer: Callable[..., Node]
    x: Array
    variables: dict[str, tuple[int, ...]]
    formula: Callable[..., Array]
    """Of x and the variables in the order given."""
    training: bool = False

    def __str__(self) -> str:
        return self.name

    def built(self) -> Built:
        return build(self.layer, training=self.training, x=self.x)


def normalized(x: Array, axes: Any, epsilon: float) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def conv_1d(x: Array, w: Array, b: Array) -> Array:
    """Two groups, stride 2, one zero before and two after."""
    padded = np.pad(x, ((0, 0), (1, 2), (0, 0)))
    places = range(0, padded.shape[1] - 2, 2)
    rows: list[Array] = []
    for at in places:
        window = padded[:, at : at + 3]
        halves = [
            np.einsum("nkc,kco->no", window[..., 2 * g : 2 * g + 2], w[..., 3 * g : 3 * g + 3])
            for g in range(2)
        ]
        rows.append(np.concatenate(halves, -1))
    return np.stack(rows, 1) + b


def conv_2d(x: Array, w: Array, b: Array) -> Array:
    padded = np.pad(x, ((0, 0), (1, 1), (0, 1), (0, 0)))
    height, width = x.shape[1:3]
    y = np.zeros((x.shape[0], height, width, w.shape[-1]))
    for i in range(3):
        for j in range(2):
            y += padded[:, i : i + height, j : j + width] @ w[i, j]
    return y + b


def attention(x: Array, variables: list[Array], causal: bool, mask: Array | None) -> Array:
    wq, bq, wk, bk, wv, bv, wo, bo = variables
    batch, time, width = x.shape
    heads, size = 2, width // 2
    out = np.zeros_like(x)
    for n in range(batch):
        q, k, v = x[n] @ wq + bq, x[n] @ wk + bk, x[n] @ wv + bv
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[:, part] @ k[:, part].T / np.sqrt(size)
            seen = np.tril(np.ones((time, time), bool)) if causal else np.ones((time, time), bool)
            seen = seen & (mask[n] != 0) if mask is not None else seen
            powers = np.where(seen, np.exp(scores), 0)
            out[n, :, part] = powers / powers.sum(-1, keepdims=True) @ v[:, part]
    return out @ wo + bo


MASK = np.array([[1, 1, 0], [1, 0, 1]])
SQUARES = {
    f"/{layer}/{name}": (4, 4) if name == "w" else (4,)
    for layer in ("query", "key", "value", "out")
    for name in ("w", "b")
}
CASES = (
    LayerCase(
        "dense",
        lambda ctx, x: nn.dense(ctx, x, 3),
        numbers(2, 4),
        {"/w": (4, 3), "/b": (3,)},
        lambda x, w, b: x @ w + b,
    ),
    LayerCase(
        "dense[sequence]",
        lambda ctx, x: nn.dense(ctx.at("a"), x, 3, use_bias=False),
        numbers(2, 2, 4),
        {"/a/w": (4, 3)},
        lambda x, w: x @ w,
    ),
    LayerCase(
        "dense[vector]",
        lambda ctx, x: nn.dense(ctx, x, 3),
        numbers(4),
        {"/w": (4, 3), "/b": (3,)},
        lambda x, w, b: x @ w + b,
    ),
    LayerCase(
        "conv[1-D]",
        lambda ctx, x: nn.conv(ctx, x, 6, 3, strides=2, padding=[(1, 2)], groups=2),
        numbers(2, 5, 4),
        {"/w": (3, 2, 6), "/b": (6,)},
        conv_1d,
    ),
    LayerCase(
        "conv[2-D]",
        lambda ctx, x: nn.conv(ctx, x, 2, (3, 2)),
        numbers(1, 3, 3, 2),
        {"/w": (3, 2, 2, 2), "/b": (2,)},
        conv_2d,
    ),
    LayerCase(
        "layer_norm",
        nn.layer_norm,
        numbers(2, 3, 4),
        {"/scale": (4,), "/offset": (4,)},
        lambda x, s, o: normalized(x, -1, 1e-5) * s + o,
    ),
    LayerCase(
        "rms_norm",
        nn.rms_norm,
        numbers(2, 3, 4),
        {"/scale": (4,)},
        lambda x, s: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * s,
    ),
    LayerCase(
        "batch_norm[trains]",
        nn.batch_norm,
        numbers(2, 3, 4),
        {"/mean": (4,), "/variance": (4,), "/scale": (4,), "/offset": (4,)},
        lambda x, m, v, s, o: normalized(x, (0, 1), 1e-5) * s + o,
        training=True,
    ),
    LayerCase(
        "batch_norm",
        nn.batch_norm,
        numbers(2, 4),
        {"/mean": (4,), "/variance": (4,), "/scale": (4,), "/offset": (4,)},
        lambda x, m, v, s, o: (x - m) / np.sqrt(v + 1e-5) * s + o,
    ),
    LayerCase(
        "attention",
        lambda ctx, x: nn.multi_head_attention(ctx, x, 2, causal=False),
        numbers(2, 3, 4),
        SQUARES,
        lambda x, *v: attention(x, list(v), False, None),
    ),
    LayerCase(
        "attention[causal]",
        lambda ctx, x: nn.multi_head_attention(ctx, x, 2),
        numbers(2, 3, 4),
        SQUARES,
        lambda x, *v: attention(x, list(v), True, None),
    ),
    LayerCase(
        "attention[mask]",
        lambda ctx, x: nn.multi_head_attention(ctx, x, 2, mask=fixed(x, MASK, "int32")),
        numbers(2, 3, 4),
        SQUARES,
        lambda x, *v: attention(x, list(v), True, MASK),
    ),
    LayerCase(
        "embedding",
        lambda ctx, x: nn.embedding(ctx, fixed(x, IDS, "int32"), 5, 2) * x,
        numbers(2, 3, 2),
        {"/w": (5, 2)},
        lambda x, w: w[IDS] * x,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: LayerCase) -> None:
    built = case.built()
    assert {v.path: v.shape for v in built.ctx} == case.variables
    values = built.values
    missing = np.zeros(())  # of statistics that a step which trains does not read
    expected = case.formula(case.x, *(values.get(path, missing) for path in case.variables))
    assert built.output.shape == expected.shape
    np.testing.assert_allclose(built.run(), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients(case: LayerCase) -> None:
    built = case.built()
    if case.training:  # its gradients are of the output, whatever becomes of the statistics
        built.graph.variable_values.clear()
    assert_gradients(built)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_called_again_shares_its_variables(case: LayerCase) -> None:
    def twice(ctx: Context, x: Node) -> Node:
        return case.layer(ctx, x) + case.layer(ctx, x)

    once = case.built()
    both = build(twice, training=case.training, x=case.x)
    assert [v.path for v in both.ctx] == [v.path for v in once.ctx]
    np.testing.assert_allclose(both.run(), 2 * once.run(), rtol=1e-12)


def test_halves_have_variables_of_halves_and_sums_in_float32() -> None:
    x = np.full((2, 1024), 64.0, np.float16)
    x[:, ::2] = -64.0
    for layer in (nn.layer_norm, nn.rms_norm):
        built = build(layer, ctx=Context(), x=x)
        assert built.output.dtype.name == "float16"
        assert all(v.dtype.name == "float16" for v in built.ctx)
        # The sum of squares, 4,194,304, is beyond float16, and the result is 1 or -1.
        got = evaluate_own(built)
        np.testing.assert_allclose(np.abs(got.astype(np.float64)), 1.0, rtol=2.0**-10)
    built = build(nn.batch_norm, x=x)
    assert {v.name: v.dtype.name for v in built.ctx} == {
        "mean": "float32",
        "variance": "float32",
        "scale": "float16",
        "offset": "float16",
    }


def evaluate_own(built: Built) -> Array:
    """The output, each node in its own dtype."""
    own = {name: node.dtype.numpy for name, node in built.graph.inputs.items()}
    (got,) = evaluate([built.output], {k: v.astype(own[k]) for k, v in built.values.items()})
    return got


def test_attention_of_an_example_without_keys_is_finite() -> None:
    built = build(
        lambda ctx, x: nn.multi_head_attention(
            ctx, x, 2, causal=False, mask=fixed(x, [[True] * 3, [False] * 3], "bool")
        ),
        x=numbers(2, 3, 4),
    )
    assert np.isfinite(built.run()).all()
    assert np.isfinite(evaluate_own(built)).all()
