# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""Make `compositions.json`: what torch, optax and Keras make of clipping, averaging and skipping.

Run by hand, in an environment that has them, as `generate_trajectories`:

    PYTHONPATH=tests python -m oracles.generate_compositions

All in float64, on two tensors whose norms are clipped together in about half of the steps.
"""

import json
import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

from .compositions import CLIP, DECAY, PATH, RATE, SCALE, STEPS, gradients, start

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")

State = tuple[list[np.ndarray], list[np.ndarray]]
"""Parameters and averages."""


def run_torch() -> State:
    """GradScaler's division and skip by hand, clip_grad_norm_, AdamW, and swa_utils' average."""
    parameters = [torch.tensor(x, requires_grad=True) for x in start()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, eps=1e-7, weight_decay=0.004, foreach=False)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(DECAY)
    averages: list[Any] = []
    for t in range(STEPS):
        for parameter, gradient in zip(parameters, gradients(t, storms=True), strict=True):
            parameter.grad = torch.tensor(gradient) / SCALE
        if not all(torch.isfinite(p.grad).all() for p in parameters):
            continue
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        new = [p.detach().clone() for p in parameters]
        if averages:
            average(averages, new, 1)
        averages = averages or new
    return [p.detach().numpy() for p in parameters], [x.numpy() for x in averages]


def run_optax() -> State:
    """clip_by_global_norm, adamw and apply_if_finite, with incremental_update after them."""
    inner = optax.chain(
        optax.clip_by_global_norm(CLIP), optax.adamw(RATE, eps=1e-7, weight_decay=0.004)
    )
    whole = optax.apply_if_finite(inner, max_consecutive_errors=STEPS)
    parameters = [jnp.asarray(x) for x in start()]
    state, averages = whole.init(parameters), None
    for t in range(STEPS):
        given = [jnp.asarray(x) / SCALE for x in gradients(t, storms=True)]
        updates, state = whole.update(given, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        if averages is None and state.last_finite:
            averages = parameters
        elif state.last_finite:
            averages = optax.incremental_update(parameters, averages, 1.0 - DECAY)
    return [np.asarray(x) for x in parameters], [np.asarray(x) for x in averages or []]


def run_keras() -> State:
    """SGD(global_clipnorm=, use_ema=True), without storms: Keras skips only with loss scaling."""
    optimizer = keras.optimizers.SGD(
        RATE, global_clipnorm=CLIP, use_ema=True, ema_momentum=DECAY, loss_scale_factor=SCALE
    )
    variables = [keras.Variable(x, dtype="float64") for x in start()]
    optimizer.build(variables)
    for t in range(STEPS):
        given = [jnp.asarray(x) for x in gradients(t, storms=False)]
        optimizer.apply(given, variables)
    averages = optimizer._model_variables_moving_average
    return [np.asarray(x) for x in variables], [np.asarray(x) for x in averages]


def main() -> None:
    made = {
        "torch": (torch.__version__, run_torch()),
        "optax": (optax.__version__, run_optax()),
        "keras": (keras.__version__, run_keras()),
    }
    document = {
        name: {
            "version": version,
            "parameters": [[float(x).hex() for x in array] for array in parameters],
            "averages": [[float(x).hex() for x in array] for array in averages],
        }
        for name, (version, (parameters, averages)) in made.items()
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
