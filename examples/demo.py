"""What `make demo` runs: an optimizer in one artifact, then a whole training step in one.

Compiling uses the command line, as a user would; what trains imports only the runtime and NumPy.

First AdamW for a softmax regression that computes its own gradients, `digits_embedded.py`. The
gradients of that run go once more through each artifact, and through the graph inside one,
evaluated in float64 by NumPy. Then a convolutional network, with loss, gradients and AdamW in one
artifact: `digits_cnn.py`, trained by `digits_train.py`.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.tools.reference import reference

HERE = Path(__file__).parent
OUTPUT = HERE.parent / "out" / "demo"
RECORD = OUTPUT / "run.npz"

Arrays = dict[str, NDArray[Any]]


def run(program: str, *arguments: str | Path) -> None:
    """Run a program of this environment, and show how."""
    words = [str(argument) for argument in arguments]
    print("\n$", Path(program).name, *words, flush=True)
    done = subprocess.run([program, *words], cwd=HERE.parent)
    if done.returncode != 0:
        sys.exit(done.returncode)


def compile_for(targets: Sequence[str]) -> list[Path]:
    options = [word for target in targets for word in ("--target", target)]
    parameters = Path("examples") / "digits_parameters.toml"
    command = str(Path(sys.executable).with_name("compile-optimizer"))
    run(command, "adamw", "--params", parameters, *options, "--force", "-o", "out/demo/")
    return [OUTPUT / f"adamw.{target}.vmfb" for target in targets]


def replay(artifact: Path, initial: Arrays, gradients: Sequence[Arrays], rate: float) -> Arrays:
    """The parameters after the recorded gradients."""
    with runtime.load(artifact) as optimizer:
        optimizer.initialize(initial)
        optimizer.learning_rate = rate
        for gradient in gradients:
            optimizer.step(gradient)
        return {name: optimizer.parameters[name] for name in initial}


def evaluate(artifact: Path, initial: Arrays, gradients: Sequence[Arrays], rate: float) -> Arrays:
    """The same in float64, as the artifact's graph says it."""
    loaded = runtime.read_artifact(artifact)
    step = reference(loaded)
    state: dict[str, Any] = {
        variable.name: np.full(variable.shape, variable.initializer.value or 0)
        for variable in loaded.manifest.variables
    }
    state.update({f"/{name}": value for name, value in initial.items()})
    state["/optimizers/learning_rate"] = rate
    for gradient in gradients:
        found = step.step(state, {f"/{name}": value for name, value in gradient.items()})
        state.update({name: bounded.value for name, bounded in found.items()})
    return {name: state[f"/{name}"] for name in initial}


def read_record() -> tuple[Arrays, list[Arrays], float]:
    """First parameters, the gradients of each step, and the learning rate."""
    with np.load(RECORD) as data:
        names = [key.removeprefix("initial/") for key in data.files if key.startswith("initial/")]
        initial = {name: data[f"initial/{name}"] for name in names}
        stacks = {name: data[f"gradients/{name}"] for name in names}
        steps = int(data["steps"])
        gradients = [{name: stacks[name][step] for name in names} for step in range(steps)]
        return initial, gradients, float(data["learning_rate"])


def largest_difference(found: Mapping[str, Arrays]) -> tuple[float, str]:
    """Between any two of the results, and which two."""
    pairs = itertools.combinations(found.items(), 2)
    return max(
        (max(float(np.abs(a[name] - b[name]).max()) for name in a), f"{first} and {second}")
        for (first, a), (second, b) in pairs
    )


def train_whole_step() -> None:
    """Compile a model with its loss, and train it with a bar that shows how far it is."""
    command = str(Path(sys.executable).with_name("compile-optimizer"))
    inputs = ["--input", "image=64x8x8x1xf32", "--input", "label=64xi32"]
    settings = ["--set", "learning_rate=0.003", "--set", "cosine_schedule_cycles=1"]
    model = ["--model", "examples/digits_cnn.py:loss", *inputs]
    run(command, "adamw", *model, *settings, "--force", "-o", "out/demo/cnn.vmfb")
    options = ["--shift", "1", "--accuracy", "0.985", "--save", "out/demo/cnn.safetensors"]
    run(sys.executable, "examples/digits_train.py", "out/demo/cnn.vmfb", *options)


def main() -> int:
    vulkan = runtime.probe("vulkan")
    targets = ["cpu", "vulkan"] if vulkan.available else ["cpu"]
    if not vulkan.available:
        print(f"without Vulkan: {vulkan.reason}")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    artifacts = compile_for(targets)
    shown = [artifact.relative_to(HERE.parent) for artifact in artifacts]
    run(sys.executable, "examples/digits_embedded.py", *shown, "--record", "out/demo/run.npz")
    recorded = read_record()
    found = {
        target: replay(artifact, *recorded)
        for target, artifact in zip(targets, artifacts, strict=True)
    }
    found["the evaluator"] = evaluate(artifacts[0], *recorded)
    difference, between = largest_difference(found)
    print(
        f"\nlargest difference of a weight after {len(recorded[1])} steps: {difference:.3g}, "
        f"between {between}"
    )
    train_whole_step()
    return 0


if __name__ == "__main__":
    sys.exit(main())
