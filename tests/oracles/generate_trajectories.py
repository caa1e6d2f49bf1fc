"""Make `trajectories/*.json`: what torch, optax and Keras make of the seed's formulas in float64.

Run by hand, in an environment that has them (no test needs them):

    pip install torch jax optax keras
    PYTHONPATH=tests python -m oracles.generate_trajectories
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"  # Keras's NumPy backend computes partly in float32

import numpy as np

from .peer_cases import keras_cases, optax_cases, torch_cases
from .peers import STEPS, VERSIONS

FOLDER = Path(__file__).parent / "trajectories"
SEED = 20_240_611
ZERO_STEPS = (8, 9, 30)
"""Steps whose whole gradient is zero."""
LATE_ELEMENT, LATE_UNTIL = 4, 10
"""An element whose gradient is zero from the start."""
GRADIENT_SCALE = np.array([3e-8, 1e-3, 1.0, 1e3, 0.1])
"""The first makes epsilon count: its root is a third of 1e-7."""
START = np.array([1e-3, 1.0, -30.0, 0.25, 0.0])
STORMS = ((3, 1, "nan"), (17, 0, "inf"), (18, 2, "-inf"), (18, 3, "nan"), (31, 4, "inf"))


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
