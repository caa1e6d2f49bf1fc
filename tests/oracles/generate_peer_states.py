# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""Make `peer_states/*.npz`: the state of real torch, optax and Keras optimizers after some steps,
and where float64 takes them from there.

Run by hand, in an environment that has them (no test needs them):

    pip install torch jax optax keras
    python tests/oracles/generate_peer_states.py

`state:NAME` is the flat file that docs/convert.md tells a user to write; `gradient:T:NAME` are the
gradients of the steps after it, and `after:NAME` the parameters that the library itself, continued
in float64, has after them.
"""

import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch

jax.config.update("jax_enable_x64", True)

FOLDER = Path(__file__).parent / "peer_states"
SHAPES = {"encoder/w": (5, 3), "encoder/b": (3,)}
BEFORE, AFTER = 12, 5
RATE, DECAY, EPSILON = 0.01, 0.1, 1e-8

Arrays = dict[str, np.ndarray]


def draw(generator: np.random.Generator, scale: float) -> Arrays:
    """One float32 array of each shape."""
    return {
        name: (scale * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def run_torch(make: Any, start: Arrays, gradients: list[Arrays]) -> tuple[Arrays, Arrays]:
    def step(model: dict[str, Any], optimizer: Any, rows: list[Arrays]) -> None:
        for row in rows:
            for name, parameter in model.items():
                parameter.grad = torch.tensor(row[name], dtype=parameter.dtype)
            optimizer.step()

    model = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    optimizer = make(list(model.values()))
    step(model, optimizer, gradients[:BEFORE])
    flat = {name: p.detach().numpy().copy() for name, p in model.items()}
    for name, parameter in model.items():
        for kind, value in optimizer.state[parameter].items():
            flat[f"{name}.{kind}"] = value.numpy().copy()
    exact = {n: torch.tensor(flat[n].astype(np.float64), requires_grad=True) for n in model}
    other = make(list(exact.values()))
    other.load_state_dict(optimizer.state_dict())
    step(exact, other, gradients[BEFORE:])
    return flat, {name: p.detach().numpy() for name, p in exact.items()}


def run_optax(transformation: Any, start: Arrays, gradients: list[Arrays]) -> tuple[Arrays, Arrays]:
    def step(parameters: Any, state: Any, rows: list[Arrays]) -> tuple[Any, Any]:
        for row in rows:
            cast = {n: jnp.asarray(row[n], parameters[n].dtype) for n in parameters}
            updates, state = transformation.update(cast, state, parameters)
            parameters = optax.apply_updates(parameters, updates)
        return parameters, state

    parameters = {name: jnp.asarray(value) for name, value in start.items()}
    parameters, state = step(parameters, transformation.init(parameters), gradients[:BEFORE])
    flat = {f"params/{name}": np.asarray(value) for name, value in parameters.items()}
    for part in state:
        if not isinstance(part, optax.ScaleByAdamState):
            continue
        flat["count"] = np.asarray(part.count)
        flat |= {f"mu/{name}": np.asarray(value) for name, value in part.mu.items()}
        flat |= {f"nu/{name}": np.asarray(value) for name, value in part.nu.items()}

    def wide(x: Any) -> Any:
        return x.astype(np.float64) if x.dtype == np.float32 else x

    parameters, state = jax.tree_util.tree_map(wide, (parameters, state))
    after, _ = step(parameters, state, gradients[BEFORE:])
    return flat, {name: np.asarray(value) for name, value in after.items()}


def run_keras(make: Any, start: Arrays, gradients: list[Arrays]) -> tuple[Arrays, Arrays]:
    def built(dtype: str, values: Arrays) -> tuple[list[Any], Any]:
        keras.config.set_floatx(dtype)
        variables = []
        for name, value in values.items():
            scope, leaf = name.split("/")
            with keras.name_scope(scope):
                variables.append(keras.Variable(value, dtype=dtype, name=leaf))
        optimizer = make()
        optimizer.build(variables)
        return variables, optimizer

    variables, optimizer = built("float32", start)
    for row in gradients[:BEFORE]:
        optimizer.apply_gradients(zip([row[n] for n in SHAPES], variables, strict=True))
    flat = {v.path: np.asarray(v.numpy()) for v in [*variables, *optimizer.variables]}
    exact, other = built("float64", {name: flat[name] for name in SHAPES})
    for old, new in zip(optimizer.variables, other.variables, strict=True):
        new.assign(np.asarray(old.numpy()).astype(np.dtype(str(new.dtype))))
    for row in gradients[BEFORE:]:
        wide = [row[n].astype(np.float64) for n in SHAPES]
        other.apply_gradients(zip(wide, exact, strict=True))
    return flat, {n: np.asarray(v.numpy()) for n, v in zip(SHAPES, exact, strict=True)}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    generator = np.random.default_rng(20_261_128)
    start = draw(generator, 1.0)
    gradients = [draw(generator, 0.3) for _ in range(BEFORE + AFTER)]
    decayed = {"lr": RATE, "weight_decay": DECAY, "eps": EPSILON}
    plain = {"learning_rate": RATE, "epsilon": EPSILON}
    runs = {
        "torch_adam": run_torch(
            lambda p: torch.optim.Adam(p, lr=RATE, eps=EPSILON), start, gradients
        ),
        "torch_adamw": run_torch(lambda p: torch.optim.AdamW(p, **decayed), start, gradients),
        "torch_amsgrad": run_torch(
            lambda p: torch.optim.AdamW(p, amsgrad=True, **decayed), start, gradients
        ),
        "optax_adamw": run_optax(
            optax.adamw(RATE, eps=EPSILON, weight_decay=DECAY), start, gradients
        ),
        "keras_adamw": run_keras(
            lambda: keras.optimizers.AdamW(weight_decay=DECAY, **plain), start, gradients
        ),
        "keras_adamax": run_keras(lambda: keras.optimizers.Adamax(**plain), start, gradients),
    }
    for name, (state, after) in runs.items():
        arrays: dict[str, Any] = {f"state:{key}": value for key, value in state.items()}
        for t, row in enumerate(gradients[BEFORE:]):
            arrays |= {f"gradient:{t}:{key}": value for key, value in row.items()}
        arrays |= {f"after:{key}": np.asarray(value, np.float64) for key, value in after.items()}
        np.savez(FOLDER / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
