"""`train_step`, `evaluate` and `predict` of a step that was compiled with its loss."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime import NanLogger
from stepforge.runtime.step import ACCUMULATE_STEPS, MICRO_STEP, CompiledStep
from support import handmade, training
from support.training import batches, snapshot

pytestmark = pytest.mark.compiler


def exactly(text: str) -> str:
    return f"^{re.escape(text)}$"


def test_metrics(model: CompiledStep) -> None:
    (batch,) = batches(1)
    error = batch["x"] @ model.parameters["w"] - batch["y"]
    metrics = model.train_step(**batch)
    assert list(metrics) == ["loss", "mae", "columns"]
    assert type(metrics["loss"]) is float
    assert type(metrics["mae"]) is float
    assert metrics["loss"] == pytest.approx(float((error * error).mean()), rel=1e-5)
    assert metrics["mae"] == pytest.approx(float(abs(error).mean()), rel=1e-5)
    np.testing.assert_allclose(metrics["columns"], abs(error).mean(axis=0), rtol=1e-5)
    assert model.global_step == 1


def test_metrics_are_the_callers(model: CompiledStep) -> None:
    first, second = batches(2)
    columns = model.train_step(**first)["columns"]
    kept = columns.copy()
    model.train_step(**second)
    np.testing.assert_array_equal(columns, kept)


def test_it_learns(model: CompiledStep) -> None:
    model.learning_rate = 0.05
    losses = [model.train_step(**batch)["loss"] for batch in batches(8) * 25]
    assert losses[-1] < losses[0] / 100


def test_evaluate_and_predict_change_nothing(model: CompiledStep) -> None:
    (batch,) = batches(1)
    before = snapshot(model)
    evaluated = model.evaluate(**batch)
    predicted = model.predict(x=batch["x"])
    assert snapshot(model) == before
    assert list(predicted) == ["p"]
    np.testing.assert_allclose(predicted["p"], batch["x"] @ model.parameters["w"], rtol=1e-5)
    trained = model.train_step(**batch)
    assert trained["loss"] == pytest.approx(evaluated["loss"], rel=1e-6)


def test_any_layout_of_the_right_type(model: CompiledStep) -> None:
    (batch,) = batches(1)
    want = model.evaluate(**batch)["loss"]
    wide = np.zeros((16, 8), np.float32)
    wide[::2, ::2] = batch["x"]
    read_only = batch["y"].copy(order="F")
    read_only.flags.writeable = False
    assert model.evaluate(x=wide[::2, ::2], y=read_only)["loss"] == want


# Wrong inputs.

BATCH = batches(1)[0]
X, Y = BATCH["x"], BATCH["y"]

WRONG: list[Any] = [
    pytest.param(
        {"x": X},
        "train_step: expected the inputs 'x', 'y'; missing: 'y'; not expected: none",
        id="missing",
    ),
    pytest.param(
        {},
        "train_step: expected the inputs 'x', 'y'; missing: 'x', 'y'; not expected: none",
        id="none",
    ),
    pytest.param(
        {"x": X, "y": Y, "z": Y},
        "train_step: expected the inputs 'x', 'y'; missing: none; not expected: 'z'",
        id="extra",
    ),
    pytest.param(
        {"x": X, "yy": Y},
        "train_step: expected the inputs 'x', 'y'; missing: 'y'; not expected: 'yy'; did you mean "
        "'y'?",
        id="misspelt",
    ),
    pytest.param(
        {"x": X, "y": Y, "self": Y},
        "train_step: expected the inputs 'x', 'y'; missing: none; not expected: 'self'",
        id="self",
    ),
]


@pytest.mark.parametrize(("inputs", "text"), WRONG)
def test_wrong_names(model: CompiledStep, inputs: Any, text: str) -> None:
    before = snapshot(model)
    with pytest.raises(runtime.InputError, match=exactly(text)):
        model.train_step(**inputs)
    assert snapshot(model) == before


UNFIT: list[Any] = [
    pytest.param(Y[:7], r"expected shape \(8, 3\), got \(7, 3\)", id="batch"),
    pytest.param(Y.T, r"expected shape \(8, 3\), got \(3, 8\)", id="transposed"),
    pytest.param(Y[None], r"expected shape \(8, 3\), got \(1, 8, 3\)", id="rank"),
    pytest.param(Y.astype(np.float64), r"expected dtype float32, got float64", id="dtype"),
    pytest.param(Y.astype(">f4"), r"expected", id="byte-order"),
    pytest.param(Y.tolist(), r"expected", id="list"),
    pytest.param(None, r"expected", id="nothing"),
]


@pytest.mark.parametrize("function", ["train_step", "evaluate"])
@pytest.mark.parametrize(("value", "text"), UNFIT)
def test_wrong_arrays(model: CompiledStep, function: str, value: Any, text: str) -> None:
    before = snapshot(model)
    want = model.evaluate(x=X, y=Y)
    with pytest.raises(runtime.InputError, match=f"^input 'y' of {function}: {text}"):
        getattr(model, function)(x=X + 1, y=value)
    assert snapshot(model) == before
    assert model.evaluate(x=X, y=Y)["loss"] == want["loss"]


def test_predict_takes_what_it_needs(model: CompiledStep) -> None:
    text = "predict: expected the inputs 'x'; missing: none; not expected: 'y'"
    with pytest.raises(runtime.InputError, match=exactly(text)):
        model.predict(**BATCH)


# The wrong kind of artifact.


def test_no_step_of_gradients(model: CompiledStep) -> None:
    text = "step: the artifact computes its own gradients; call train_step(**inputs)"
    for function in (None, "train_step", "evaluate", "other"):
        with pytest.raises(runtime.InputError, match=exactly(text)):
            model.step({"w": np.ones((4, 3), np.float32)}, function=function)
    assert list(model.gradients) == []


@pytest.mark.parametrize("function", ["train_step", "evaluate", "predict"])
def test_no_loss_in_an_optimizer(step: CompiledStep, function: str) -> None:
    before = handmade.snapshot(step)
    text = (
        f"{function}: the artifact updates from gradients; call step(gradients), or compile the "
        "model's loss into it (compile_train_step, --model)"
    )
    with pytest.raises(runtime.InputError, match=exactly(text)):
        getattr(step, function)(**BATCH)
    assert handmade.snapshot(step) == before


def test_before_there_is_state_and_after(model: CompiledStep) -> None:
    with training.artifact(1).load() as empty:
        for call in (empty.train_step, empty.evaluate):
            with pytest.raises(runtime.NotInitializedError):
                call(**BATCH)
    model.close()
    for call in (model.train_step, model.evaluate, empty.train_step):
        with pytest.raises(runtime.ClosedError):
            call(**BATCH)


# Several micro-batches for a step.


def test_counts(accumulating: CompiledStep) -> None:
    seen: list[tuple[int, int]] = []
    for batch in batches(7):
        accumulating.train_step(**batch)
        micro = int(accumulating.variables[MICRO_STEP])
        seen.append((accumulating.global_step, micro))
    assert seen == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]


def test_parameters_change_with_the_last_only(accumulating: CompiledStep) -> None:
    first = accumulating.parameters["w"]
    changed: list[bool] = []
    for batch in batches(3):
        accumulating.train_step(**batch)
        changed.append(not np.array_equal(accumulating.parameters["w"], first))
    assert changed == [False, False, True]
    assert not accumulating.variables["/trainer/accumulated/w"].any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_the_mean_gradient(accumulating: CompiledStep, count: int) -> None:
    """Each micro-batch is taken at the same parameters, and the step is that of their mean."""
    accumulating.variables[ACCUMULATE_STEPS] = count
    w = accumulating.parameters["w"].astype(np.float64)
    total = np.zeros_like(w)
    for batch in batches(count):
        total += 2 * batch["x"].T @ (batch["x"] @ w - batch["y"]) / 24
        accumulating.train_step(**batch)
    assert accumulating.global_step == 1
    moment = accumulating.variables["/AdamOptimizer/w_1st_moment"]
    np.testing.assert_allclose(moment, 0.1 * total / count, rtol=1e-4, atol=1e-7)


def test_one_at_a_time_is_no_accumulation(accumulating: CompiledStep, model: CompiledStep) -> None:
    accumulating.variables[ACCUMULATE_STEPS] = 1
    for batch in batches(5):
        accumulating.train_step(**batch)
        model.train_step(**batch)
    assert accumulating.global_step == model.global_step == 5
    np.testing.assert_allclose(accumulating.parameters["w"], model.parameters["w"], rtol=1e-5)


def test_fewer_in_the_middle(accumulating: CompiledStep) -> None:
    first, second, third = batches(3)
    accumulating.train_step(**first)
    accumulating.variables[ACCUMULATE_STEPS] = 2
    accumulating.train_step(**second)
    assert accumulating.global_step == 1
    accumulating.variables[ACCUMULATE_STEPS] = 1
    accumulating.train_step(**third)
    assert accumulating.global_step == 2


def test_a_refused_micro_batch_is_none(accumulating: CompiledStep) -> None:
    first, second, third = batches(3)
    accumulating.train_step(**first)
    before = snapshot(accumulating)
    text = "^train_step: expected the inputs 'x', 'y'; missing: 'y'"
    with pytest.raises(runtime.InputError, match=text):
        accumulating.train_step(x=X)
    assert snapshot(accumulating) == before
    accumulating.evaluate(**third)
    accumulating.train_step(**second)
    accumulating.train_step(**third)
    with training.load(3) as straight:
        for batch in (first, second, third):
            straight.train_step(**batch)
        assert snapshot(straight) == snapshot(accumulating)


def test_the_entry_point_of_micro_batches_is_not_called_by_name(
    accumulating: CompiledStep,
) -> None:
    assert accumulating.functions == ("train_step", "accumulate", "evaluate", "predict")
    assert not hasattr(accumulating, "accumulate")


def test_non_finite_gradients_are_reported(accumulating: CompiledStep) -> None:
    logger = NanLogger(lambda _: None)
    logger.attach(accumulating)
    accumulating.variables[ACCUMULATE_STEPS] = 1
    metrics = accumulating.train_step(x=np.full_like(X, np.inf), y=Y)
    assert not np.isfinite(metrics["loss"])
    assert list(metrics) == ["loss", "mae", "columns"]
    assert [(r.variable, r.step, r.count) for r in logger.reports] == [("/w", 1, 12)]


def test_a_seed_draws_other_first_values(model: CompiledStep) -> None:
    compiled = model.parameters["w"]
    model.initialize(seed=1)
    other = model.parameters["w"]
    assert (other != compiled).all()
    model.train_step(**batches(1)[0])
    model.initialize(seed=1)
    assert (model.parameters["w"] == other).all()
    assert model.global_step == 0
    model.initialize()
    assert (model.parameters["w"] == compiled).all()
    with pytest.raises(runtime.InputError, match=r"an integer as seed, got 1\.5"):
        model.initialize(seed=1.5)  # pyright: ignore[reportArgumentType]
    assert (model.parameters["w"] == compiled).all()
