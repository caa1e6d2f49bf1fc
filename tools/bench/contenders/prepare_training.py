"""Compiles a whole training step with AdamW, and tells peers the sizes of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stepforge.frontend import (
    AdamW,
    Context,
    FrontendError,
    Node,
    TrainOutputs,
    compile_train_step,
    losses,
    nn,
    ops,
)
from stepforge.passes import PassError
from stepforge.tools.errors import ToolError
from stepforge.tools.machine import devices_for
from stepforge.tools.model import load_function

EXAMPLES = Path(__file__).parents[3] / "examples"
MODELS = {
    "cnn": "digits_cnn.py",
    "transformer": "char_transformer.py",
}


def run(work: dict[str, Any], _draw: Callable[..., list[Any]]) -> dict[str, Any]:
    model = work["settings"]["model"]
    try:
        loss = mlp if model == "mlp" else load_function(f"{_example(MODELS[model])}:loss")
        sizes = SIZES[model](loss.__globals__)
        inputs = {name: f"{'x'.join(map(str, i['shape']))}x{i['dtype']}" for name, i in sizes}
        made = compile_train_step(loss, AdamW(), inputs=inputs, target=work["target"])
        devices = devices_for(made.manifest)
    except (FrontendError, PassError, ToolError) as error:
        raise NotImplementedError(" ".join(str(error).split())) from error
    Path(work["artifact"]).write_bytes(made.data)
    shapes = [v.shape for v in made.manifest.variables if v.role == "parameter"]
    cost = made.statistics["train_step"]
    return {
        "devices": devices,
        "dispatches": cost.dispatches,
        "artifact_bytes": len(made.data),
        "parameters": sum(map(math.prod, shapes)),
        "work": {"inputs": dict(sizes), "sizes": _numbers(loss.__globals__)},
    }


def mlp(ctx: Context, x: Node, label: Node) -> TrainOutputs:
    """x: float32[batch, 784]; label: int32[batch]."""
    x = ops.relu(nn.dense(ctx.at("hidden_1"), x, 512))
    x = ops.relu(nn.dense(ctx.at("hidden_2"), x, 512))
    logits = nn.dense(ctx.at("head"), x, 10)
    return TrainOutputs(loss=losses.categorical_cross_entropy(logits, label))


def _example(name: str) -> Path:
    path = EXAMPLES / name
    if not path.exists():
        raise NotImplementedError(f"examples/{name} is not installed: run it in a checkout")
    return path


def _input(shape: tuple[int, ...], classes: int | None = None) -> dict[str, Any]:
    """An input; with `classes` it holds whole numbers below."""
    return {"shape": shape, "dtype": "f32" if classes is None else "i32", "classes": classes}


def _of_transformer(names: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    tokens = _input((names["BATCH"], names["CONTEXT"]), len(names["VOCABULARY"]))
    return [("tokens", tokens), ("targets", tokens)]


SIZES: Mapping[str, Callable[[Mapping[str, Any]], list[tuple[str, dict[str, Any]]]]] = {
    "mlp": lambda _: [("x", _input((128, 784))), ("label", _input((128,), 10))],
    "cnn": lambda _: [("image", _input((64, 8, 8, 1))), ("label", _input((64,), 10))],
    "transformer": _of_transformer,
}


def _numbers(names: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the transformer's example names at its top."""
    found = {key.lower(): names[key] for key in ("LAYERS", "HEADS", "WIDTH") if key in names}
    return {**found, "vocabulary": len(names.get("VOCABULARY", ()))}
