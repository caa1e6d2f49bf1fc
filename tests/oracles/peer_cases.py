# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""The cases of the trajectories: the seed's formulas in the words of torch, optax and Keras.

A case is here only when the peer can express the seed's formula exactly:

* torch `Adam`/`AdamW` put epsilon outside the root after correction, as the seed does; with
  betas (0, b2) they are the seed's RMSProp. torch's decoupled decay multiplies p by 1 - lr * wd
  first: the same number in exact arithmetic.
* torch `RMSprop` has no bias correction: left out; optax `scale_by_rms` has it as an option.
* torch and optax `Adamax` add epsilon to |g| inside the maximum: they are here with epsilon 0,
  on elements whose first gradient is not zero. Keras adds it to u, as the seed does.
* Keras `Adam` scales epsilon ("epsilon hat"), its SGD has no root of the step: left out.
* No peer has the backoff steps.
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import keras
import optax
import torch

from .peers import Case, run_keras, run_optax, run_torch
from .settings import Cosine, settings_for

COSINE = Cosine(period=15, warm_up=10, minimum=1e-5)
NONZERO = (0, 1, 2, 3)
"""The elements whose first gradient is not zero."""


def drop_nonfinite(gradient: Any, parameter: Any) -> Any:
    """The seed's clip_nan for the Adam family: one non-finite value zeroes the tensor."""
    del parameter
    return jnp.where(jnp.isfinite(gradient).all(), gradient, 0.0)


TORCH: dict[str, Any] = {"foreach": False, "fused": False}
ADAM: dict[str, Any] = {"b1": 0.9, "b2": 0.999, "eps": 1e-7, "eps_root": 0.0}
RMS: dict[str, Any] = {
    "decay": 0.999,
    "eps": 1e-7,
    "eps_in_sqrt": False,
    "bias_correction": True,
    "initial_scale": 0.0,
}
ADAMAX0 = settings_for("adamax", epsilon=0.0)
SGD = settings_for("sgd", learning_rate=0.1)


def torch_cases() -> list[Case]:
    def lambda_rate(parameters: Any) -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(parameters, lr=0.1, **TORCH)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: (k + 1) ** -0.5)

    return [
        Case(
            name="torch_sgd_constant",
            settings=replace(SGD, decay=False),
            call="SGD(lr=0.1)",
            run=run_torch,
            make=lambda p: torch.optim.SGD(p, lr=0.1, **TORCH),
        ),
        Case(
            name="torch_sgd_root",
            settings=SGD,
            call="SGD(lr=0.1), LambdaLR(1 / sqrt(k + 1))",
            run=run_torch,
            make=lambda_rate,
            learning_rates={},
        ),
        Case(
            name="torch_adam",
            settings=settings_for("adam"),
            call="Adam(betas=(0.9, 0.999), eps=1e-7)",
            run=run_torch,
            make=lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, **TORCH),
        ),
        Case(
            name="torch_adamw",
            settings=settings_for("adamw"),
            call="AdamW(betas=(0.9, 0.999), eps=1e-7, weight_decay=0.004)",
            run=run_torch,
            make=lambda p: torch.optim.AdamW(
                p, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, weight_decay=0.004, **TORCH
            ),
        ),
        Case(
            name="torch_adam_betas",
            settings=settings_for("adam", beta1=0.8, beta2=0.95, epsilon=1e-3),
            call="Adam(betas=(0.8, 0.95), eps=1e-3)",
            run=run_torch,
            make=lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.8, 0.95), eps=1e-3, **TORCH),
        ),
        Case(
            name="torch_rmsprop",
            settings=settings_for("rmsprop"),
            call="Adam(betas=(0.0, 0.999), eps=1e-7)",
            run=run_torch,
            make=lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.0, 0.999), eps=1e-7, **TORCH),
        ),
        Case(
            name="torch_rmsprop_decay",
            settings=settings_for("rmsprop", weight_decay=0.01),
            call="AdamW(betas=(0.0, 0.999), eps=1e-7, weight_decay=0.01)",
            run=run_torch,
            make=lambda p: torch.optim.AdamW(
                p, lr=1e-3, betas=(0.0, 0.999), eps=1e-7, weight_decay=0.01, **TORCH
            ),
        ),
        Case(
            name="torch_adamax_eps0",
            settings=ADAMAX0,
            call="Adamax(betas=(0.9, 0.999), eps=0)",
            run=run_torch,
            make=lambda p: torch.optim.Adamax(
                p, lr=1e-3, betas=(0.9, 0.999), eps=0.0, foreach=False
            ),
            elements=NONZERO,
        ),
    ]


def optax_cases() -> list[Case]:
    clip = 5e-4
    return [
        Case(
            name="optax_adam",
            settings=settings_for("adam"),
            call="adam(b1=0.9, b2=0.999, eps=1e-7, eps_root=0)",
            run=run_optax,
            make=lambda lr: optax.adam(lr, **ADAM),
        ),
        Case(
            name="optax_adamw",
            settings=settings_for("adamw"),
            call="adamw(eps=1e-7, weight_decay=0.004)",
            run=run_optax,
            make=lambda lr: optax.adamw(lr, weight_decay=0.004, **ADAM),
        ),
        Case(
            name="optax_adamw_clip",
            settings=settings_for("adamw", clip_step_by_value=clip),
            call="chain(adamw(eps=1e-7, weight_decay=0.004), clip(5e-4))",
            run=run_optax,
            make=lambda lr: optax.chain(
                optax.adamw(lr, weight_decay=0.004, **ADAM), optax.clip(clip)
            ),
        ),
        Case(
            name="optax_adamw_cosine",
            settings=settings_for("adamw", cosine=COSINE),
            call="adamw(join_schedules(linear, cosine, cosine, cosine), weight_decay=0.004)",
            run=run_optax,
            make=lambda lr: optax.adamw(lr, weight_decay=0.004, **ADAM),
            learning_rates={},
        ),
        Case(
            name="optax_adam_clip_nan",
            settings=settings_for("adam", clip_nan=True),
            call="chain(stateless(zero a tensor with a non-finite value), adam(eps=1e-7))",
            run=run_optax,
            make=lambda lr: optax.chain(optax.stateless(drop_nonfinite), optax.adam(lr, **ADAM)),
            gradient_set="storm",
        ),
        Case(
            name="optax_sgd_clip_nan",
            settings=replace(SGD, decay=False, clip_nan=True),
            call="chain(sgd, zero_nans), NaN only",
            run=run_optax,
            make=lambda lr: optax.chain(optax.sgd(lr), optax.zero_nans()),
            gradient_set="nan_storm",
        ),
        Case(
            name="optax_sgd_clip_cosine",
            settings=replace(SGD, decay=False, clip_step_by_value=0.01, cosine=COSINE),
            call="chain(sgd(join_schedules(linear, cosine, cosine, cosine)), clip(0.01))",
            run=run_optax,
            make=lambda lr: optax.chain(optax.sgd(lr), optax.clip(0.01)),
            learning_rates={},
        ),
        Case(
            name="optax_rmsprop",
            settings=settings_for("rmsprop"),
            call="scale_by_rms(eps_in_sqrt=False, bias_correction=True), scale_by_learning_rate",
            run=run_optax,
            make=lambda lr: optax.chain(
                optax.scale_by_rms(**RMS), optax.scale_by_learning_rate(lr)
            ),
        ),
        Case(
            name="optax_rmsprop_decay_cosine",
            settings=settings_for("rmsprop", weight_decay=0.01, cosine=COSINE),
            call="scale_by_rms(...), add_decayed_weights(0.01), scale_by_learning_rate(cosine)",
            run=run_optax,
            make=lambda lr: optax.chain(
                optax.scale_by_rms(**RMS),
                optax.add_decayed_weights(0.01),
                optax.scale_by_learning_rate(lr),
            ),
            learning_rates={},
        ),
        Case(
            name="optax_adamax_eps0_clip",
            settings=replace(ADAMAX0, clip_step_by_value=clip),
            call="chain(adamax(eps=0), clip(5e-4))",
            run=run_optax,
            make=lambda lr: optax.chain(
                optax.adamax(lr, b1=0.9, b2=0.999, eps=0.0), optax.clip(clip)
            ),
            elements=NONZERO,
        ),
    ]


def keras_cases() -> list[Case]:
    options: dict[str, Any] = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    return [
        Case(
            name="keras_adamax",
            settings=settings_for("adamax"),
            call="Adamax(0.9, 0.999, epsilon=1e-7), JAX backend",
            run=run_keras,
            make=lambda: keras.optimizers.Adamax(1e-3, **options),
        ),
        Case(
            name="keras_adamax_decay",
            settings=settings_for("adamax", weight_decay=0.01),
            call="Adamax(0.9, 0.999, epsilon=1e-7, weight_decay=0.01), JAX backend",
            run=run_keras,
            make=lambda: keras.optimizers.Adamax(1e-3, weight_decay=0.01, **options),
        ),
    ]
