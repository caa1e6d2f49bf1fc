"""Read the committed 50-step float64 trajectories of torch, optax and Keras.

`generate_trajectories.py` made them; `trajectories/inputs.json` holds what all of them start
from, one file a case what a peer made of it. Numbers are hexadecimal floats: exact in text.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .settings import Cosine, Settings

FOLDER = Path(__file__).parent / "trajectories"
INPUTS = "inputs.json"
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """What one peer made of one formula: row t of `parameters` is the state after step t."""

    name: str
    peer: str
    versions: dict[str, str]
    call: str
    """What was called, and with which options."""
    settings: Settings
    learning_rates: dict[int, float]
    """Rates set mid-run: step -> rate from that step on."""
    gradients: Float64
    """Row t - 1 is the gradient of step t."""
    parameters: Float64
    """Row 0 is the start."""
    slots: dict[str, Float64]
    """After the last step."""

    def learning_rate(self, t: int) -> float | None:
        """The rate set by hand that holds at step `t`, if any was."""
        since = [step for step in self.learning_rates if step <= t]
        return self.learning_rates[max(since)] if since else None


def parse(rows: list[Any]) -> Float64:
    """Nested lists of hexadecimal floats as an array."""
    return np.array(
        [
            [float.fromhex(x) for x in row] if isinstance(row, list) else float.fromhex(row)
            for row in rows
        ],
        np.float64,
    )


def inputs(gradient_set: str) -> tuple[Float64, Float64]:
    """Start parameters [elements] and gradients [steps, elements] of one set.

    "plain", or with the committed storms over it: "storm" (NaN and infinities), "nan_storm".
    """
    document = json.loads((FOLDER / INPUTS).read_text())
    gradients = parse(document["gradients"])
    for t, element, value in document["storms"]:
        if gradient_set != "plain":
            gradients[t - 1, element] = np.nan if gradient_set == "nan_storm" else float(value)
    return parse(document["parameters"]), gradients


def names() -> list[str]:
    """The committed cases, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.name != INPUTS)


def load(name: str) -> Trajectory:
    """The committed trajectory `name`."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    start, gradients = inputs(document["gradient_set"])
    chosen = document["elements"]
    cosine = document["settings"].pop("cosine", None)
    return Trajectory(
        name=name,
        peer=document["peer"],
        versions=document["versions"],
        call=document["call"],
        settings=Settings(**document["settings"], cosine=Cosine(**cosine) if cosine else None),
        learning_rates={int(t): rate for t, rate in document["learning_rates"].items()},
        gradients=gradients[:, chosen],
        parameters=np.vstack([start[chosen], parse(document["parameters"])]),
        slots={slot: parse(values) for slot, values in document["slots"].items()},
    )
