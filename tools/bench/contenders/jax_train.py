"""The same training steps in JAX under jit, with optax's AdamW; all state is donated."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable
from typing import Any

Draw = Callable[..., list[Any]]


def make(work: dict[str, Any], draw: Draw) -> tuple[Callable[[], None], dict[str, Any]]:
    jax: Any = importlib.import_module("jax")
    optax: Any = importlib.import_module("optax")
    batch = [
        jax.numpy.asarray(draw([i["shape"]], 3)[0])
        if i["classes"] is None
        else (jax.numpy.arange(math.prod(i["shape"])) % i["classes"]).reshape(i["shape"])
        for i in work["inputs"].values()
    ]
    shapes, model = MODELS[work["settings"]["model"]](jax, work)
    values = map(jax.numpy.asarray, draw(shapes.values(), 1))
    parameters = dict(zip(shapes, values, strict=True))
    rule = optax.adamw(1e-3, weight_decay=0.01)

    def loss(parameters: Any, inputs: Any, labels: Any) -> Any:
        logits = model(parameters, inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def update(parameters: Any, state: Any, inputs: Any, labels: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(parameters, inputs, labels)
        changes, state = rule.update(gradients, state, parameters)
        return optax.apply_updates(parameters, changes), state, value

    compiled = jax.jit(update, donate_argnums=(0, 1))
    held = [parameters, rule.init(parameters)]

    def step() -> None:
        held[0], held[1], value = compiled(*held, *batch)
        jax.block_until_ready((held, value))

    versions = {"jax": jax.__version__, "optax": optax.__version__}
    return step, {"threads": len(os.sched_getaffinity(0)), "versions": versions}


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.w": (inputs, outputs), f"{name}.b": (outputs,)}


def _apply(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.w"] + p[f"{name}.b"]


def _mlp(jax: Any, _work: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., Any]]:
    def model(p: Any, x: Any) -> Any:
        x = jax.nn.relu(_apply(p, "1", x))
        return _apply(p, "3", jax.nn.relu(_apply(p, "2", x)))

    return {**_dense("1", 784, 512), **_dense("2", 512, 512), **_dense("3", 512, 10)}, model


def _cnn(jax: Any, _work: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., Any]]:
    def conv(p: Any, name: str, x: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, p[f"{name}.w"], (1, 1), "SAME", dimension_numbers=layout
        )
        return jax.nn.relu(y + p[f"{name}.b"])

    def model(p: Any, x: Any) -> Any:
        x = conv(p, "2", conv(p, "1", x))
        x = jax.lax.reduce_window(
            x, -math.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
        ).reshape(x.shape[0], -1)
        return _apply(p, "4", jax.nn.relu(_apply(p, "3", x)))

    shapes = {"1.w": (3, 3, 1, 16), "1.b": (16,), "2.w": (3, 3, 16, 32), "2.b": (32,)}
    return {**shapes, **_dense("3", 512, 64), **_dense("4", 64, 10)}, model


def _transformer(jax: Any, work: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., Any]]:
    np, sizes = jax.numpy, work["sizes"]
    width, heads, words = sizes["width"], sizes["heads"], sizes["vocabulary"]
    batch, time = work["inputs"]["tokens"]["shape"]
    shapes: dict[str, Any] = {"characters": (words, width), "places": (time, width)}
    for i in range(sizes["layers"]):
        for name in ("query", "key", "value", "out"):
            shapes.update(_dense(f"{i}.{name}", width, width))
        shapes.update(_dense(f"{i}.wide", width, 4 * width))
        shapes.update(_dense(f"{i}.narrow", 4 * width, width))
        shapes.update({f"{i}.norm_{n}.{v}": (width,) for n in (1, 2) for v in ("w", "b")})
    shapes.update({"norm.w": (width,), "norm.b": (width,), **_dense("head", width, words)})

    def norm(p: Any, name: str, x: Any) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((centered * centered).mean(-1, keepdims=True) + 1e-5)
        return centered * scale * p[f"{name}.w"] + p[f"{name}.b"]

    def attention(p: Any, name: str, x: Any) -> Any:
        q, k, v = (
            _apply(p, f"{name}.{part}", x).reshape(batch, time, heads, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(width // heads)
        scores = np.where(np.tril(np.ones((time, time), bool)), scores, -1e30)
        mixed = np.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        return _apply(p, f"{name}.out", mixed.reshape(x.shape))

    def model(p: Any, tokens: Any) -> Any:
        x = p["characters"][tokens] + p["places"]
        for i in range(sizes["layers"]):
            x = x + attention(p, str(i), norm(p, f"{i}.norm_1", x))
            hidden = jax.nn.gelu(_apply(p, f"{i}.wide", norm(p, f"{i}.norm_2", x)))
            x = x + _apply(p, f"{i}.narrow", hidden)
        return _apply(p, "head", norm(p, "norm", x))

    return shapes, model


MODELS = {"mlp": _mlp, "cnn": _cnn, "transformer": _transformer}
