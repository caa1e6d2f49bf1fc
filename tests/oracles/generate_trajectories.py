# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""Make `trajectories/*.json`: what torch, optax and Keras make of the seed's formulas in float64.

Run by hand, in an environment that has them (tests need none of the three):

    pip install torch jax optax keras && python tests/oracles/generate_trajectories.py

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

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

from oracles.settings import Cosine, Settings, settings_for

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")

FOLDER = Path(__file__).parent / "trajectories"
STEPS, SEED = 50, 20_240_611
ZERO_STEPS = (8, 9, 30)
"""Steps whose whole gradient is zero."""
LATE_ELEMENT, LATE_UNTIL = 4, 10
"""An element whose gradient is zero from the start."""
GRADIENT_SCALE = np.array([3e-8, 1e-3, 1.0, 1e3, 0.1])
"""The first makes epsilon count: its root is a third of 1e-7."""
START = np.array([1e-3, 1.0, -30.0, 0.25, 0.0])
STORMS = ((3, 1, "nan"), (17, 0, "inf"), (18, 2, "-inf"), (18, 3, "nan"), (31, 4, "inf"))
CHANGES = {26: 3e-4}
COSINE = Cosine(period=15, warm_up=10, minimum=1e-5)
NONZERO = (0, 1, 2, 3)

Run = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One formula and the peer's way of saying it."""

    name: str
    settings: Settings
    call: str
    run: Callable[["Case", np.ndarray, np.ndarray], Run]
    make: Callable[..., Any]
    learning_rates: Mapping[int, float] = field(default_factory=lambda: CHANGES)
    gradient_set: str = "plain"
    elements: tuple[int, ...] = (0, 1, 2, 3, 4)

    @property
    def peer(self) -> str:
        return self.name.split("_")[0]


def rate(case: Case, t: int) -> float:
    """The rate set by hand at step `t`."""
    since = [step for step in case.learning_rates if step <= t]
    return case.learning_rates[max(since)] if since else case.settings.learning_rate


def run_torch(case: Case, start: np.ndarray, gradients: np.ndarray) -> Run:
    """`make([parameter])` is a torch optimizer, or a pair of one and its scheduler."""
    parameter = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    made = case.make([parameter])
    optimizer, scheduler = made if isinstance(made, tuple) else (made, None)
    rows = []
    for t, gradient in enumerate(gradients, 1):
        if scheduler is None:
            optimizer.param_groups[0]["lr"] = rate(case, t)
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        rows.append(parameter.detach().numpy().copy())
    state = optimizer.state[parameter]
    names = {"m": "exp_avg", "v": "exp_inf" if "exp_inf" in state else "exp_avg_sq"}
    return np.array(rows), {k: state[names[k]].numpy() for k in case.settings.slots}


def run_optax(case: Case, start: np.ndarray, gradients: np.ndarray) -> Run:
    """`make(rate)` is an optax transformation; `rate` a schedule."""
    transformation = case.make(schedule(case))
    parameter = jnp.asarray(start)
    state = transformation.init(parameter)
    rows = []
    for gradient in gradients:
        updates, state = transformation.update(jnp.asarray(gradient), state, parameter)
        parameter = optax.apply_updates(parameter, updates)
        rows.append(np.asarray(parameter))
    names = {"m": "mu", "v": "nu"}
    get = optax.tree_utils.tree_get
    return np.array(rows), {k: np.asarray(get(state, names[k])) for k in case.settings.slots}


def schedule(case: Case) -> optax.Schedule:
    """The case's rate as an optax schedule, which counts from 0."""
    base, cosine = case.settings.learning_rate, case.settings.cosine
    if cosine is None:
        pieces = [optax.constant_schedule(rate(case, t)) for t in (1, *case.learning_rates)]
        return optax.join_schedules(pieces, [t - 1 for t in case.learning_rates])
    one = optax.cosine_decay_schedule(base, cosine.period, alpha=cosine.minimum / base)
    warm_up = optax.linear_schedule(cosine.minimum, base, cosine.warm_up)
    starts = range(cosine.warm_up, STEPS, cosine.period)
    joined = optax.join_schedules([warm_up, *[one for _ in starts]], list(starts))
    return lambda count: joined(jnp.asarray(count, jnp.float64))  # an int32 count gives float32


def run_keras(case: Case, start: np.ndarray, gradients: np.ndarray) -> Run:
    """`make()` is a Keras optimizer on the JAX backend: NumPy's computes partly in float32."""
    variable = keras.Variable(start, dtype="float64", name="p")
    optimizer = case.make()
    optimizer.build([variable])
    rows = []
    for t, gradient in enumerate(gradients, 1):
        optimizer.learning_rate = rate(case, t)
        optimizer.apply([jnp.asarray(gradient)], [variable])
        rows.append(np.asarray(variable.numpy()))
    slots = {v.path.rsplit("_", 1)[-1]: np.asarray(v.numpy()) for v in optimizer.variables}
    names = {"m": "momentum", "v": "norm"}
    return np.array(rows), {k: slots[names[k]] for k in case.settings.slots}


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


def hexadecimal(rows: np.ndarray) -> list[Any]:
    return [hexadecimal(row) if row.ndim else float(row).hex() for row in rows]


def write(name: str, document: Mapping[str, Any]) -> None:
    """One key a line, and one row of numbers a line."""
    lines = []
    for key, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], list):
            text = "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n]"
        lines.append(f"{json.dumps(key)}: {text}")
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def make_inputs() -> dict[str, np.ndarray]:
    """Gradients of every set, [steps, elements]; written with the start and the storms."""
    generator = np.random.default_rng(SEED)
    gradients = generator.normal(0.0, 1.0, (STEPS, len(START))) * GRADIENT_SCALE
    gradients[[t - 1 for t in ZERO_STEPS]] = 0.0
    gradients[:LATE_UNTIL, LATE_ELEMENT] = 0.0
    write(
        "inputs",
        {
            "seed": SEED,
            "parameters": hexadecimal(START),
            "gradients": hexadecimal(gradients),
            "storms": [list(storm) for storm in STORMS],
        },
    )
    storm, nan_storm = gradients.copy(), gradients.copy()
    for t, element, value in STORMS:
        storm[t - 1, element] = float(value)
        nan_storm[t - 1, element] = np.nan
    return {"plain": gradients, "storm": storm, "nan_storm": nan_storm}


VERSIONS = {
    "torch": {"torch": torch.__version__},
    "optax": {"optax": optax.__version__, "jax": jax.__version__},
    "keras": {"keras": keras.__version__, "jax": jax.__version__},
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    sets = make_inputs()
    for case in [*torch_cases(), *optax_cases(), *keras_cases()]:
        chosen = list(case.elements)
        rows, slots = case.run(case, START[chosen], sets[case.gradient_set][:, chosen])
        write(
            case.name,
            {
                "peer": case.peer,
                "versions": VERSIONS[case.peer],
                "call": case.call,
                "settings": asdict(case.settings),
                "learning_rates": {str(t): value for t, value in case.learning_rates.items()},
                "gradient_set": case.gradient_set,
                "elements": chosen,
                "parameters": hexadecimal(rows),
                "slots": {slot: hexadecimal(values) for slot, values in slots.items()},
            },
        )


if __name__ == "__main__":
    main()
