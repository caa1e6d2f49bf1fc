"""An artifact for ARM, stepped by the ARM build of IREE's own runner, agrees with x86."""

import math
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles import formulas, inputs, judge
from oracles.inputs import State
from oracles.settings import OPTIMIZERS, SLOT_SUFFIXES, OptimizerName, settings_for
from stepforge import runtime
from stepforge.frontend import KNOWN_OPTIMIZERS, Artifact, Context, compile_optimizer
from stepforge.runtime.manifest import Function

pytestmark = [pytest.mark.compiler, pytest.mark.aarch64]

Array = NDArray[Any]

SHAPE = (127, 129)
TURNS = (1, 2, 1_000, 2**24 + 1)


def compiled(target: str) -> Artifact:
    """Every optimizer, each an entry point of its name with its state in a scope of that name."""
    entries = {name: KNOWN_OPTIMIZERS[name](Context(), scope=name) for name in OPTIMIZERS}
    return compile_optimizer(entries, {"w": SHAPE}, target=target)


@pytest.fixture(scope="module")
def arm() -> Artifact:
    return compiled("cpu:aarch64")


@pytest.fixture(scope="module")
def host() -> Iterator[runtime.CompiledStep]:
    with compiled("cpu").load() as step:
        step.initialize({"w": np.zeros(SHAPE, np.float32)})
        yield step


def paths_of(name: OptimizerName) -> dict[str, str]:
    """The oracles' names of the state -> the artifact's."""
    slots = settings_for(name).slots
    return {"parameter": "/w"} | {slot: f"/{name}/w{SLOT_SUFFIXES[slot]}" for slot in slots}


def host_step(
    step: runtime.CompiledStep, name: OptimizerName, drawn: State, t: int
) -> dict[str, Array]:
    """Step `t` by this package's runtime, on this machine."""
    paths = paths_of(name)
    for key, path in paths.items():
        step.variables[path] = drawn.state[key].reshape(SHAPE)
    for counter in ("/global_step", f"/{name}/step"):
        if counter in step.variables:
            step.variables[counter] = t - 1
    step.step({"w": drawn.gradient.reshape(SHAPE)}, function=name)
    return {key: step.variables[path].reshape(-1) for key, path in paths.items()}


def arm_step(
    command: tuple[str, ...],
    module: Path,
    function: Function,
    name: OptimizerName,
    drawn: State,
    t: int,
) -> dict[str, Array]:
    """Step `t` by `iree-run-module`: arrays in files, new counters on its output."""
    folder = module.parent
    tensors = {path: drawn.state[key] for key, path in paths_of(name).items()}
    numbers = {"hyperparameter": repr(settings_for(name).learning_rate), "counter": str(t - 1)}
    options: list[str] = []
    for index, argument in enumerate(function.arguments):
        if argument.role in numbers:
            options.append(f"--input={numbers[argument.role]}")
            continue
        values = drawn.gradient if argument.role == "gradient" else tensors[argument.name]
        np.save(folder / f"in{index}.npy", values.reshape(argument.shape))
        options.append(f"--input=@{folder}/in{index}.npy")
    files = {result.name: folder / f"out{i}.npy" for i, result in enumerate(function.results)}
    options += [f"--output=@{file}" for file in files.values()]
    counters = [] if function.scalars is None else function.scalars.results
    options += ["--output=-"] * len(counters)
    done = subprocess.run(
        [*command, f"--module={module}", "--device=local-sync", f"--function={name}", *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count(f"i64={t}") == len(counters)
    return {key: np.load(files[path]).reshape(-1) for key, path in paths_of(name).items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_arm_agrees_with_x86(
    name: OptimizerName,
    arm: Artifact,
    host: runtime.CompiledStep,
    aarch64_run_module: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """Both within the bars of a CPU, and no further apart than one of them may be off."""
    settings = settings_for(name)
    module = arm.save(tmp_path / "arm.vmfb")
    (function,) = (f for f in arm.manifest.functions if f.name == name)
    for t in TURNS:
        drawn = inputs.random_state(settings, math.prod(SHAPE), seed=t % 1009)
        x86 = host_step(host, name, drawn, t)
        got = arm_step(aarch64_run_module, module, function, name, drawn, t)
        for after in (x86, got):
            measures = judge.judge(settings, drawn.state, drawn.gradient, after, t, "cpu")
            assert not [f"t={t}: {m}" for m in measures if not m.used <= 1.0]
        assert_near(got, x86, drawn, name, t)


def assert_near(
    a: Mapping[str, Array], b: Mapping[str, Array], drawn: State, name: OptimizerName, t: int
) -> None:
    settings, parameter = settings_for(name), drawn.state["parameter"]
    exact = formulas.step(settings, parameter, drawn.gradient, drawn.state, t)
    inside = judge.in_range(settings, parameter, exact)
    allowed = judge.allow(settings, parameter, exact, t, "cpu")
    for key, values in a.items():
        apart = np.abs(values.astype(np.float64) - b[key])[inside]
        assert (apart <= allowed[key].total[inside]).all(), (key, t)
