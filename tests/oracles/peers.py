# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""Run torch, optax and Keras in float64, one step at a time. Only the generator imports this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

from .settings import Settings

jax.config.update("jax_enable_x64", True)
keras.config.set_floatx("float64")

STEPS = 50
CHANGES = {26: 3e-4}
"""The rate changes here, in cases without a schedule."""

VERSIONS = {
    "torch": {"torch": torch.__version__},
    "optax": {"optax": optax.__version__, "jax": jax.__version__},
    "keras": {"keras": keras.__version__, "jax": jax.__version__},
}

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
    """`make()` is a Keras optimizer on the JAX backend."""
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
