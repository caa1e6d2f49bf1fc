"""Every optimizer in every setting, stepped by the evaluator in float64, against a NumPy loop.

The loop is `oracles.formulas`, which shares nothing with the frontend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from oracles import formulas
from oracles.settings import OPTIMIZERS, Cosine, OptimizerName, settings_for
from stepforge.frontend.optimizers import by_name
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from support.programs import SHAPES, context, draw

STEPS = 25
SUFFIXES = {"m": "_1st_moment", "v": "_2nd_moment"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """Context parameters and keywords, and the same in the oracle's words."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])
    oracle: Mapping[str, Any] = field(default_factory=dict[str, Any])
    only: tuple[OptimizerName, ...] = OPTIMIZERS
    storm: bool = False


ADAMS: tuple[OptimizerName, ...] = ("adam", "adamw", "adamax", "rmsprop")
WITH_BETAS: tuple[OptimizerName, ...] = ("adam", "adamw", "adamax")
CASES = (
    Case(name="default"),
    Case(name="rate", params={"learning_rate": 0.01}, oracle={"learning_rate": 0.01}),
    Case(name="explicit_rate", keywords={"learning_rate": 0.3}, oracle={"learning_rate": 0.3}),
    Case(name="no_decay", keywords={"decay": False}, oracle={"decay": False}, only=("sgd",)),
    Case(
        name="weight_decay",
        params={"adam_weight_decay": 0.05},
        oracle={"weight_decay": 0.05},
        only=ADAMS,
    ),
    Case(
        name="no_weight_decay",
        keywords={"weight_decay": 0.0},
        oracle={"weight_decay": 0.0},
        only=ADAMS,
    ),
    Case(name="epsilon", params={"adam_epsilon": 0.1}, oracle={"epsilon": 0.1}, only=ADAMS),
    Case(
        name="betas",
        keywords={"betas": (0.5, 0.75)},
        oracle={"beta1": 0.5, "beta2": 0.75},
        only=WITH_BETAS,
    ),
    Case(
        name="zero_betas",
        params={"adam_beta1": 0.0, "adam_beta2": 0.0},
        oracle={"beta1": 0.0, "beta2": 0.0},
        only=ADAMS,
    ),
    Case(name="beta2", keywords={"beta2": 0.5}, oracle={"beta2": 0.5}, only=("rmsprop",)),
    Case(name="clip", params={"clip_step_by_value": 5e-4}, oracle={"clip_step_by_value": 5e-4}),
    Case(name="clip_nan", params={"clip_nan": True}, oracle={"clip_nan": True}, storm=True),
    Case(name="nan", storm=True),
    Case(name="backoff", params={"adam_backoff": 3}, oracle={"backoff_steps": 3}, only=ADAMS),
    Case(name="no_backoff", params={"adam_backoff": -3}, only=ADAMS),
    Case(
        name="cosine",
        params={
            "cosine_schedule_steps": 7,
            "cosine_schedule_warmup_steps": 4,
            "cosine_schedule_min_learning_rate": 1e-4,
        },
        oracle={"cosine": Cosine(period=7, warm_up=4, minimum=1e-4)},
    ),
    Case(
        name="all",
        params={
            "clip_step_by_value": 0.01,
            "clip_nan": True,
            "adam_backoff": 2,
            "adam_weight_decay": 0.1,
            "cosine_schedule_steps": 10,
        },
        oracle={
            "clip_step_by_value": 0.01,
            "clip_nan": True,
            "backoff_steps": 2,
            "weight_decay": 0.1,
            "cosine": Cosine(period=10),
        },
        storm=True,
    ),
    Case(
        name="settable",
        params={
            "adam_beta1": Settable(0.8),
            "adam_beta2": Settable(0.95),
            "adam_epsilon": Settable(1e-3),
            "adam_weight_decay": Settable(0.02),
            "adam_backoff": Settable(2),
            "clip_step_by_value": Settable(0.004),
        },
        oracle={
            "beta1": 0.8,
            "beta2": 0.95,
            "epsilon": 1e-3,
            "weight_decay": 0.02,
            "backoff_steps": 2,
            "clip_step_by_value": 0.004,
        },
    ),
    Case(
        name="settable_off",
        params={
            "adam_beta1": Settable(0.0),
            "adam_beta2": Settable(0.0),
            "adam_weight_decay": Settable(0.0),
            "adam_backoff": Settable(0),
            "clip_step_by_value": Settable(0.0),
        },
        oracle={"beta1": 0.0, "beta2": 0.0, "weight_decay": 0.0},
    ),
)


def gradients(step: int, storm: bool) -> dict[str, Any]:
    """Normal numbers; every seventh step is zero; in a storm every third has bad elements."""
    drawn = draw(1000 + step)
    if step % 7 == 0:
        return {name: np.zeros(shape) for name, shape in SHAPES.items()}
    if storm and step % 3 == 0:
        bad = (np.nan, np.inf, -np.inf)[step // 3 % 3]
        drawn["encoder/w"][1, 2] = bad
        drawn["b"][0] = bad
        drawn["scale"] = np.array(bad)
    return drawn


@pytest.mark.parametrize(
    ("optimizer", "case"),
    [
        pytest.param(optimizer, case, id=f"{optimizer}-{case.name}")
        for case in CASES
        for optimizer in OPTIMIZERS
        if optimizer in case.only
    ],
)
def test_a_trajectory_in_float64_is_the_loops(optimizer: OptimizerName, case: Case) -> None:
    ctx = context(case.params)
    reference = ReferenceStep(trace(by_name(ctx, optimizer, **case.keywords), ctx), "float64")
    state = {name: {"p": value} for name, value in draw(1).items()}
    reference.initialize({name: values["p"] for name, values in state.items()})
    settings = settings_for(optimizer, **case.oracle)
    for values in state.values():
        values.update({slot: np.zeros_like(values["p"]) for slot in settings.slots})
    for t in range(1, STEPS + 1):
        changed = 0.05 if t > 12 and settings.cosine is None else None
        if changed is not None:
            reference.variables["/optimizers/learning_rate"] = changed
        given = gradients(t, case.storm)
        reference.step(given)
        for name, values in state.items():
            slots = {slot: values[slot] for slot in settings.slots}
            update = formulas.step(
                settings, values["p"], given[name], slots, t, learning_rate=changed
            )
            values.update({"p": update.parameter, **update.slots})
            got = {"p": reference.variables[f"/{name}"]}
            got.update(
                {s: reference.variables[f"/AdamOptimizer/{name}{SUFFIXES[s]}"] for s in slots}
            )
            for key, expected in values.items():
                np.testing.assert_allclose(
                    got[key], expected, rtol=1e-12, atol=1e-15, err_msg=f"{name} {key} step {t}"
                )
    assert reference.variables["/global_step"] == STEPS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_rate_that_a_schedule_sets_can_be_read(optimizer: OptimizerName) -> None:
    ctx = context({"cosine_schedule_steps": 4, "learning_rate": 0.5})
    program = trace(by_name(ctx, optimizer), ctx)
    reference = ReferenceStep(program, "float64")
    reference.initialize(draw(1))
    rates = []
    for _ in range(5):
        reference.step(draw(2))
        rates.append(reference.variables["/optimizers/learning_rate"])
    half = 0.25 * (1.0 + np.cos(np.pi * np.array([0.0, 0.25, 0.5, 0.75, 0.0])))
    np.testing.assert_allclose(rates, half, rtol=1e-14)
    (rate,) = [x for x in program.hyperparameters if x.name == "learning_rate"]
    assert (rate.settable, rate.variable) == (False, "/optimizers/learning_rate")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_half_precision_is_computed_in_float32_and_rounded_once(
    optimizer: OptimizerName, dtype: str
) -> None:
    halves = context(dtype=dtype)
    singles = context()
    half = ReferenceStep(trace(by_name(halves, optimizer), halves))
    single = ReferenceStep(trace(by_name(singles, optimizer), singles))
    numpy = halves.get_variable("b").dtype.numpy
    state = {name: value.astype(numpy) for name, value in draw(1).items()}
    for t in range(1, 6):
        given = {name: value.astype(numpy) for name, value in draw(t).items()}
        if t == 1:
            half.initialize(state)
            single.initialize({name: value.astype("float32") for name, value in state.items()})
        for name in SHAPES:
            single.variables[f"/{name}"] = half.variables[f"/{name}"].astype("float32")
        half.step(given)
        single.step({name: value.astype("float32") for name, value in given.items()})
        for name in SHAPES:
            got, exact = half.variables[f"/{name}"], single.variables[f"/{name}"]
            assert got.dtype == numpy
            np.testing.assert_array_equal(got, exact.astype(numpy))
    for spec in half.program.variables:
        if spec.role == "slot":
            assert spec.dtype.name == "float32"


def test_a_float64_parameter_keeps_its_precision_under_float32_arithmetic() -> None:
    ctx = context(dtype="float64")
    reference = ReferenceStep(trace(by_name(ctx, "sgd", learning_rate=1e-12), ctx))
    start = draw(1)
    reference.initialize(start)
    reference.step(draw(2))
    moved = start["b"] - reference.variables["/b"]
    np.testing.assert_allclose(moved, 1e-12 * draw(2)["b"], rtol=1e-3)


@pytest.mark.parametrize("optimizer", ADAMS)
def test_adam_dtype_float64_computes_in_float64(optimizer: OptimizerName) -> None:
    ctx = context({"adam_dtype": "float64"}, dtype="float64")
    reference = ReferenceStep(trace(by_name(ctx, optimizer), ctx))
    start, given = draw(1), draw(2)
    reference.initialize(start)
    reference.step(given)
    settings = settings_for(optimizer)
    slots = {slot: np.zeros(5) for slot in settings.slots}
    expected = formulas.step(settings, start["b"], given["b"], slots, 1)
    np.testing.assert_allclose(reference.variables["/b"], expected.parameter, rtol=1e-14)


def test_zero_gradients_never_make_a_nan() -> None:
    for optimizer in OPTIMIZERS:
        for dtype in ("float16", "bfloat16", "float32"):
            ctx = context({"adam_epsilon": 0.0} if dtype == "float32" else {}, dtype=dtype)
            ctx.set_param("adam_epsilon", 1e-7)
            reference = ReferenceStep(trace(by_name(ctx, optimizer), ctx))
            numpy = ctx.get_variable("b").dtype.numpy
            reference.initialize({name: np.ones(shape, numpy) for name, shape in SHAPES.items()})
            for _ in range(3):
                reference.step({name: np.zeros(shape, numpy) for name, shape in SHAPES.items()})
            assert np.isfinite(reference.variables["/b"].astype("float64")).all()
