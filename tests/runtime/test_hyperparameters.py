"""Reading every hyperparameter, setting the settable, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime.manifest import Group, Hyperparameter, Row, ScalarProgram
from stepforge.runtime.step import CompiledStep
from support import handmade, variants

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
Arrays = dict[str, Array]


def test_hyperparameters_read_all(step: CompiledStep) -> None:
    assert dict(step.hyperparameters) == {
        "learning_rate": 0.001,
        "adam_epsilon": 1e-7,
        "adam_weight_decay": 0.004,
        "clip_nan": False,
    }
    assert len(step.hyperparameters) == 4
    assert step.hyperparameters["weight_decay"] == 0.004


def test_asking_for_one_that_may_not_be_there(step: CompiledStep) -> None:
    assert step.hyperparameters.get("adam_beta9", 0.5) == 0.5
    assert "adam_beta9" not in step.hyperparameters


def test_setting_one_by_name(step: CompiledStep) -> None:
    step.hyperparameters["learning_rate"] = np.float32(0.25)
    assert step.learning_rate == 0.25
    assert step.variables["/optimizers/learning_rate"] == np.float32(0.25)


def test_a_setting_is_kept_exactly(step: CompiledStep) -> None:
    """0.1 is not a float32; betas need their float64 for 1 - beta and log(beta)."""
    step.learning_rate = 0.1
    assert step.learning_rate == 0.1


HYPERPARAMETER_ERRORS = [
    ("adam_epsilon", 1e-8, r"compiled into the artifact as 1e-07.*--settable adam_epsilon"),
    ("weight_decay", 0.1, r"compiled into the artifact as 0\.004.*--settable adam_weight_decay"),
    ("epsilon", 1e-8, r"no hyperparameter 'epsilon'; did you mean 'adam_epsilon'"),
    ("lerning_rate", 1e-8, r"did you mean 'learning_rate'"),
    ("learning_rate", "fast", r"expected a number, got 'fast'"),
    ("learning_rate", True, r"expected a number, got True"),
    ("learning_rate", float("nan"), r"expected a finite float32, got nan"),
    ("learning_rate", 1e39, r"expected a finite float32, got 1e\+39"),
    ("learning_rate", None, r"expected a number, got None"),
]


@pytest.mark.parametrize(("name", "value", "message"), HYPERPARAMETER_ERRORS)
def test_hyperparameter_errors(step: CompiledStep, name: str, value: Any, message: str) -> None:
    before = handmade.snapshot(step)
    with pytest.raises(runtime.HyperparameterError, match=message):
        step.hyperparameters[name] = value
    assert handmade.snapshot(step) == before


def test_scheduled_rate_is_read_and_not_set(parameters: Arrays) -> None:
    """The scalar program stores the rate; here it is 0.5 / (global step + 1)."""
    artifact = handmade.sgd()
    rows: tuple[Row, ...] = (
        ("input", handmade.GLOBAL_STEP),
        ("constant", 1),
        ("add", 0, 1),
        ("cast", 2, "float64"),
        ("constant", 0.5),
        ("div", 4, 3),
    )
    results = ((handmade.GLOBAL_STEP, 2), (handmade.LEARNING_RATE, 5))
    program = ScalarProgram("float32", rows, (), results)
    function = dataclasses.replace(artifact.manifest.functions[0], scalars=program)
    scheduled = Hyperparameter("learning_rate", 0.5, variable=handmade.LEARNING_RATE)
    with variants.with_manifest(
        artifact, functions=(function,), groups=(Group((scheduled,)),)
    ).load() as step:
        step.initialize(parameters)
        for t in range(1, 4):
            step.step({name: np.zeros_like(a) for name, a in parameters.items()})
            assert step.learning_rate == np.float32(0.5 / t)
        with pytest.raises(runtime.HyperparameterError, match="follows a schedule"):
            step.learning_rate = 0.1


def test_groups_that_differ(parameters: Arrays) -> None:
    artifact = handmade.sgd()
    decay = [Hyperparameter("adam_weight_decay", x) for x in (0.01, 0.0)]
    rate = Hyperparameter("learning_rate", 0.001, True, handmade.LEARNING_RATE)
    groups = (Group((decay[0], rate), ("/w",)), Group((decay[1], rate), ("/b",)))
    with variants.with_manifest(artifact, groups=groups).load() as step:
        assert step.learning_rate == 0.001
        with pytest.raises(runtime.HyperparameterError, match=r"differs between groups \(0: 0.01"):
            step.hyperparameters["adam_weight_decay"]
        values = [group["adam_weight_decay"] for group in step.hyperparameters.groups]
        assert values == [0.01, 0.0]
        step.initialize(parameters)
        step.hyperparameters.groups[1]["learning_rate"] = 0.5
        assert step.learning_rate == 0.5


BOUNDS: list[tuple[dict[str, float], tuple[float, ...], tuple[float, ...], str]] = [
    ({"minimum": 0.0, "below": 1.0}, (0, 0.5), (-0.5, 1.0, 2), "of at least 0 and below 1, got"),
    ({"minimum": 0.0}, (0.0, 1e30), (-1e-30,), "of at least 0, got"),
    ({"below": 1.0}, (-1e30, 0.5), (1,), "a number below 1, got"),
]


@pytest.mark.parametrize(("bounds", "good", "bad", "message"), BOUNDS)
def test_bounds(
    parameters: Arrays,
    bounds: dict[str, float],
    good: tuple[float, ...],
    bad: tuple[float, ...],
    message: str,
) -> None:
    rate = Hyperparameter("learning_rate", 0.001, True, handmade.LEARNING_RATE)
    rate = dataclasses.replace(rate, **bounds)
    with variants.with_manifest(handmade.sgd(), groups=(Group((rate,)),)).load() as step:
        step.initialize(parameters)
        for value in good:
            step.learning_rate = value
            assert step.learning_rate == value
        for value in bad:
            with pytest.raises(runtime.HyperparameterError, match=message):
                step.learning_rate = value
        assert step.learning_rate == good[-1]


@pytest.mark.parametrize("value", [-0.5, 1.0, float("nan"), float("inf"), np.float32(2)])
def test_bounds_hold_whichever_way_a_value_comes(
    parameters: Arrays, tmp_path: Path, value: Any
) -> None:
    rate = Hyperparameter("learning_rate", 0.001, True, handmade.LEARNING_RATE)
    free = variants.with_manifest(handmade.sgd(), groups=())
    bounded = dataclasses.replace(rate, minimum=0.0, below=1.0)
    path = tmp_path / "run.safetensors"
    with free.load() as step:
        step.initialize(parameters)
        step.variables[handmade.LEARNING_RATE] = value
        step.save(path)
    with variants.with_manifest(handmade.sgd(), groups=(Group((bounded,)),)).load() as step:
        step.initialize(parameters)
        step.learning_rate = 0.25
        before = handmade.snapshot(step)
        with pytest.raises(runtime.HyperparameterError, match=r"'/optimizers/learning_rate': exp"):
            step.variables[handmade.LEARNING_RATE] = value
        with pytest.raises(runtime.CheckpointError) as caught:
            step.restore(path)
        assert f"{path}: state/optimizers/learning_rate (hyperparameter" in str(caught.value)
        assert "of at least 0 and below 1" in str(caught.value) or not np.isfinite(value)
        assert handmade.snapshot(step) == before


def test_a_first_value_out_of_bounds_is_not_taken(parameters: Arrays) -> None:
    rate = Hyperparameter("learning_rate", 0.5, True, handmade.LEARNING_RATE, minimum=0.25)
    with variants.with_manifest(handmade.sgd(), groups=(Group((rate,)),)).load() as step:
        with pytest.raises(runtime.HyperparameterError, match=r"of at least 0\.25, got 0\.001"):
            step.initialize(parameters)
        with pytest.raises(runtime.NotInitializedError):
            step.step(parameters)
