"""Made the kept artifacts of format 1: `python -m artifacts.make_artifacts`, in the folder tests.

Not to be run again: a file that is kept shows that what users have goes on loading. Another format
version, or another release of IREE, gets files of its own beside these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.frontend import AdamW, Settable, compile_optimizer

FOLDER = Path(__file__).parent
TARGETS = {"x86-64": "cpu:x86_64:x86-64", "vmvx": "vmvx"}
SIGNED, PUBLIC_KEY = FOLDER / "artifact-1-signed.vmfb", FOLDER / "artifact-1-signed.pub.pem"
RESULTS = FOLDER / "artifact-1-adamw.npz"
SHAPES = {"layer/w": (5, 3), "layer/b": (3,)}
SPECS = {"layer/w": "5x3xf32", "layer/b": "3xf32"}
STEPS = 3

Values = dict[str, NDArray[np.float32]]


def path_of(name: str) -> Path:
    return FOLDER / f"artifact-1-adamw.{name}.vmfb"


def first_values() -> Values:
    return {
        name: (np.arange(np.prod(shape)) / 8 - 1).astype(np.float32).reshape(shape)
        for name, shape in SHAPES.items()
    }


def gradients(step: int) -> Values:
    """Exact in float32, whatever NumPy computes them."""
    return {
        name: ((np.arange(np.prod(shape)) * (step + 3)) % 17 / 16 - 0.5)
        .astype(np.float32)
        .reshape(shape)
        for name, shape in SHAPES.items()
    }


def stepped(optimizer: runtime.CompiledStep) -> Mapping[str, NDArray[np.float32]]:
    """All variables after a few steps, with a setting changed on the way."""
    optimizer.initialize(first_values())
    for step in range(STEPS):
        optimizer.step(gradients(step))
        optimizer.hyperparameters["weight_decay"] = 0.25
    return {path: np.asarray(value) for path, value in optimizer.variables.items()}


def main() -> None:
    found: dict[str, NDArray[np.float32]] = {}
    for name, target in TARGETS.items():
        optimizer = AdamW(learning_rate=0.01, weight_decay=Settable(0.01))
        compile_optimizer(optimizer, SPECS, target=target, output=str(path_of(name)))
        with runtime.load(path_of(name)) as step:
            found |= {f"{name}:{path}": value for path, value in stepped(step).items()}
    arrays: dict[str, Any] = dict(found)
    np.savez(RESULTS, **arrays)
    private, public = runtime.new_key_pair()
    runtime.sign_artifact(path_of("vmvx"), private, SIGNED)
    PUBLIC_KEY.write_bytes(public)


if __name__ == "__main__":
    main()
