"""optax's AdamW under jit, with parameters and state donated, so that it may update in place."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], None], dict[str, Any]]:
    jax: Any = importlib.import_module("jax")
    optax: Any = importlib.import_module("optax")
    rule = optax.adamw(1e-3, weight_decay=0.01)
    parameters = [jax.numpy.asarray(value) for value in draw(work["shapes"], 1)]
    gradients = [jax.numpy.asarray(value) for value in draw(work["shapes"], 2)]

    def update(parameters: Any, state: Any, gradients: Any) -> Any:
        changes, state = rule.update(gradients, state, parameters)
        return optax.apply_updates(parameters, changes), state

    compiled = jax.jit(update, donate_argnums=(0, 1))
    held = [parameters, rule.init(parameters)]

    def step() -> None:
        held[:] = compiled(*held, gradients)
        jax.block_until_ready(held)

    versions = {"jax": jax.__version__, "optax": optax.__version__}
    return step, {"threads": len(os.sched_getaffinity(0)), "versions": versions}
