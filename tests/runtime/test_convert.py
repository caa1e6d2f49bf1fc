"""State of other libraries: taken over from real files, gone on with, and given back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import (
    KNOWN_OPTIMIZERS,
    Adam,
    Adamax,
    AdamW,
    Context,
    Optimizer,
    RMSProp,
    StochasticGradientDescent,
    compile_optimizer,
)
from stepforge.runtime import ConversionError, InputError, export_state, import_state
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.peers import LIBRARIES

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]
FOLDER = Path(__file__).resolve().parents[1] / "oracles" / "peer_states"
SHAPES = {"encoder/w": (5, 3), "encoder/b": (3,)}
RATE, DECAY, EPSILON = 0.01, 0.1, 1e-8
ULP = 2.0**-23


@dataclass(frozen=True, slots=True)
class Case:
    """A file of `peer_states`, and the optimizer that goes on with it."""

    name: str
    optimizer: Optimizer
    of_epsilon: float = 0.0
    """How far the two places of epsilon are apart, as a part of a step."""

    @property
    def library(self) -> str:
        return self.name.split("_")[0]


ADAM = Adam(learning_rate=RATE, epsilon=EPSILON)
ADAMW = AdamW(learning_rate=RATE, epsilon=EPSILON, weight_decay=DECAY)
ADAMAX = Adamax(learning_rate=RATE, epsilon=EPSILON)
CASES = [
    Case("torch_adam", ADAM),
    Case("torch_adamw", ADAMW),
    Case("optax_adamw", ADAMW),
    # epsilon / sqrt(1 - beta2^13) is 8.8 epsilon, under a root of at least 0.03.
    Case("keras_adamw", ADAMW, of_epsilon=8 * EPSILON / 0.03),
    Case("keras_adamax", ADAMAX),
]
IDS = [case.name for case in CASES]


@cache
def artifact_of(optimizer: Optimizer, *settings: tuple[str, Any]) -> Artifact:
    context = Context()
    context.set_params(dict(settings))
    shapes = {name: (shape, "float32") for name, shape in SHAPES.items()}
    return read_artifact(compile_optimizer(optimizer, shapes, context=context).data)


def stored(name: str, part: str) -> Arrays:
    """The arrays of one part of a file."""
    with np.load(FOLDER / f"{name}.npz") as archive:
        return {k.removeprefix(part): archive[k] for k in archive.files if k.startswith(part)}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_goes_on_from_the_state_of_a_real_run(case: Case, tmp_path: Path) -> None:
    artifact = artifact_of(case.optimizer)
    imported = import_state(case.library, stored(case.name, "state:"), artifact)
    assert imported.left_out == ()
    imported.snapshot.write(tmp_path / "run.safetensors")
    gradients = stored(case.name, "gradient:")
    steps = 1 + max(int(key.split(":")[0]) for key in gradients)
    with artifact.load(device="local-sync") as step:
        step.restore(tmp_path / "run.safetensors")
        assert step.global_step == 12
        first = {name: step.parameters[name] for name in SHAPES}
        for t in range(steps):
            step.step({name: gradients[f"{t}:{name}"] for name in SHAPES})
        for name, exact in stored(case.name, "after:").items():
            # A step is at most 10 rates long here; 6 ULP of it, and half an ULP of the parameter.
            largest = np.maximum(np.abs(first[name]), np.abs(exact)) + 10 * RATE
            bound = steps * (
                0.5 * ULP * largest + (6 * ULP + case.of_epsilon) * 10 * RATE + ULP * RATE * DECAY
            )
            assert np.all(np.abs(step.parameters[name] - exact) <= bound)
            assert np.all(np.abs(first[name] - exact) > 100 * bound), "it moved"


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gives_back_what_it_took(case: Case) -> None:
    given = stored(case.name, "state:")
    imported = import_state(case.library, given, artifact_of(case.optimizer))
    back = export_state(case.library, imported.snapshot)
    assert set(back) == set(given)
    for name, value in given.items():
        assert back[name].dtype == value.dtype
        assert back[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_says_what_to_know_where_rules_differ(case: Case) -> None:
    imported = import_state(case.library, stored(case.name, "state:"), artifact_of(case.optimizer))
    note = LIBRARIES[case.library].rules[case.optimizer.formula].note
    assert imported.notes == ((note,) if note else ())


@pytest.mark.parametrize("optimizer", [ADAM, ADAMW, ADAMAX, RMSProp(), StochasticGradientDescent()])
def test_gomlx_has_the_names_of_the_context(optimizer: Optimizer) -> None:
    artifact = artifact_of(optimizer)
    generator = np.random.default_rng(3)
    state: Arrays = {
        v.name: np.abs(generator.standard_normal(v.shape)).astype(np.float32)
        for v in artifact.manifest.variables
        if v.storage == "device"
    }
    state["/global_step"] = np.asarray(70, np.int64)
    state["/optimizers/learning_rate"] = np.asarray(0.25, np.float32)
    if optimizer.counts_steps:
        state["/AdamOptimizer/step"] = np.asarray(7, np.float32)
    values = import_state("gomlx", state, artifact).snapshot.values
    assert values["/global_step"] == 70
    assert values["/optimizers/learning_rate"] == 0.25
    assert values.get("/AdamOptimizer/step", 7) == 7
    back = export_state("gomlx", import_state("gomlx", state, artifact).snapshot)
    assert {k: v.tobytes() for k, v in back.items()} == {k: v.tobytes() for k, v in state.items()}


def test_every_library_says_something_of_every_optimizer() -> None:
    formulas = {KNOWN_OPTIMIZERS[name](Context()).formula for name in KNOWN_OPTIMIZERS}
    formulas.add(StochasticGradientDescent(decay=False).formula)
    for library in LIBRARIES.values():
        assert set(library.rules) == formulas
        for formula, rule in library.rules.items():
            assert bool(rule.refused) or bool(rule.slots) or formula.startswith("sgd")


@pytest.mark.parametrize("library", ["torch", "optax", "keras"])
def test_sgd_without_a_root_takes_parameters_and_a_given_count(library: str) -> None:
    pattern = LIBRARIES[library].parameter
    state: Arrays = {pattern.format(name=n): np.ones(s, np.float32) for n, s in SHAPES.items()}
    artifact = artifact_of(StochasticGradientDescent(decay=False))
    with pytest.raises(InputError, match="does not say how many steps were taken"):
        import_state(library, state, artifact)
    assert import_state(library, state, artifact, steps=9).snapshot.values["/global_step"] == 9


def test_sixteen_bit_floats_are_widened_and_other_tensors_left_out() -> None:
    state = stored("torch_adamw", "state:")
    state["encoder/w.exp_avg"] = state["encoder/w.exp_avg"].astype(ml_dtypes.bfloat16)
    state["position_ids"] = np.arange(4)
    imported = import_state("torch", state, artifact_of(ADAMW))
    assert imported.left_out == ("position_ids",)
    moment = imported.snapshot.values["/AdamOptimizer/encoder/w_1st_moment"]
    assert moment.dtype == np.float32
    assert np.array_equal(moment, state["encoder/w.exp_avg"].astype(np.float32))


Change = Callable[[Arrays], Arrays]


def changed(**values: Any) -> Change:
    """The state with some tensors replaced; None takes one away."""

    def change(state: Arrays) -> Arrays:
        merged: Mapping[str, Any] = {**state, **values}
        return {name: value for name, value in merged.items() if value is not None}

    return change


STEP, MOMENT = "encoder/w.step", "encoder/w.exp_avg"


@dataclass(frozen=True, slots=True)
class Refused:
    """What is refused, and the text that says so."""

    name: str
    error: type[InputError]
    text: str
    optimizer: Optimizer = ADAMW
    file: str = "torch_adamw"
    change: Change = dict
    settings: tuple[tuple[str, Any], ...] = ()


REFUSED = [
    Refused(
        "amsgrad",
        ConversionError,
        "torch state: 'encoder/w.max_exp_avg_sq' (the maximum that AMSGrad keeps) has no place in "
        "this artifact; without it the steps would be others. Leave it out of the file if that is "
        "meant",
        file="torch_amsgrad",
    ),
    Refused(
        "adamax",
        ConversionError,
        "torch and an artifact of 'adamax: epsilon outside the maximum, decoupled decay' do not "
        "mean the same: its slot is max(beta2 u, |g| + epsilon), with epsilon inside",
        ADAMAX,
    ),
    Refused("rmsprop", ConversionError, "its RMSProp does not correct the bias", RMSProp()),
    Refused(
        "sgd",
        ConversionError,
        "compile StochasticGradientDescent(decay=False)",
        StochasticGradientDescent(),
    ),
    Refused(
        "momentum",
        ConversionError,
        "'encoder/w.momentum_buffer' (a momentum, which the SGD of this package does not have)",
        StochasticGradientDescent(decay=False),
        change=lambda state: {
            **{name: state[name] for name in SHAPES},
            "encoder/w.momentum_buffer": state[MOMENT],
        },
    ),
    Refused(
        "uneven counts",
        ConversionError,
        "one count for all: 'encoder/w.step' is 11, 'encoder/b.step' is 12; give steps",
        change=changed(**{STEP: np.float32(11)}),
    ),
    Refused(
        "stopped count",
        ConversionError,
        "float32, which stands still at 2^24; the count is 16777216: give steps",
        change=changed(**{STEP: np.float32(2**24), "encoder/b.step": np.float32(2**24)}),
    ),
    Refused(
        "no count",
        InputError,
        "it does not say how many steps were taken (expected 'encoder/b.step', 'encoder/w.step')",
        change=changed(**{STEP: None, "encoder/b.step": None}),
    ),
    Refused(
        "half a step",
        InputError,
        "'encoder/w.step' counts steps: expected one whole number",
        change=changed(**{STEP: np.float32(0.5)}),
    ),
    Refused(
        "a missing slot",
        InputError,
        "torch state: expected 'encoder/w.exp_avg' for '/AdamOptimizer/encoder/w_1st_moment', and "
        "it is not there; did you mean 'encoder/b.exp_avg' or 'encoder/w.exp_avg_sq'",
        change=changed(**{MOMENT: None}),
    ),
    Refused(
        "another shape",
        InputError,
        "torch state: 'encoder/w.exp_avg': expected shape (5, 3), got (3, 5)",
        change=changed(**{MOMENT: np.zeros((3, 5), np.float32)}),
    ),
    Refused(
        "a wider dtype",
        InputError,
        "torch state: 'encoder/w.exp_avg': expected dtype float32, got float64",
        change=changed(**{MOMENT: np.zeros((5, 3))}),
    ),
    Refused(
        "averages",
        ConversionError,
        "torch has no place for '/AdamOptimizer/encoder/w_ema' (ema, float32)",
        settings=(("ema_decay", 0.9),),
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_refuses_what_would_mean_something_else(case: Refused) -> None:
    state = case.change(stored(case.file, "state:"))
    with pytest.raises(case.error, match=re.escape(case.text)):
        import_state("torch", state, artifact_of(case.optimizer, *case.settings))


def test_a_library_that_is_unknown_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no library is named 'pytorch'; did you mean 'torch'"):
        import_state("pytorch", {}, artifact_of(ADAMW))


def test_counts_that_a_library_cannot_hold_are_not_given() -> None:
    snapshot = import_state(
        "torch", stored("torch_adamw", "state:"), artifact_of(ADAMW), steps=2**24
    ).snapshot
    with pytest.raises(ConversionError, match="counts steps in float32, which ends before"):
        export_state("torch", snapshot)
    assert export_state("optax", snapshot)["count"] == 2**24


def test_names_that_would_fall_together_are_refused() -> None:
    shapes = {"a/b": ((2,), "float32"), "a_b": ((2,), "float32")}
    artifact = compile_optimizer(ADAMW, shapes)
    values: Arrays = {
        v.name: np.zeros(v.shape, np.float32 if v.storage == "device" else np.int64)
        for v in artifact.manifest.variables
    }
    snapshot = import_state("torch", stored("torch_adamw", "state:"), artifact_of(ADAMW)).snapshot
    origin = dataclasses.replace(snapshot.origin, manifest=artifact.manifest)
    with pytest.raises(ConversionError, match="two variables of the artifact would both be"):
        export_state("keras", dataclasses.replace(snapshot, values=values, origin=origin))
