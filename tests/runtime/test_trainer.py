"""Training over batches: epochs, rows, checkpoints, and going on bit for bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime import (
    Checkpoints,
    EarlyStop,
    EpochEnd,
    Event,
    NanLogger,
    Saved,
    StepEnd,
    Trainer,
)
from stepforge.runtime.step import ACCUMULATE_STEPS, CompiledStep
from support import handmade, training
from support.training import DATA, HELD_OUT, PER_EPOCH, Batch, Events, snapshot

pytestmark = pytest.mark.compiler


# The loop.


def test_as_a_loop_by_hand(model: CompiledStep) -> None:
    history = Trainer(model).train(DATA, epochs=2)
    with training.load() as other:
        losses = [other.train_step(**batch)["loss"] for batch in DATA * 2]
        assert snapshot(other) == snapshot(model)
    assert history["loss"] == losses
    assert [(row.step, row.epoch) for row in history] == [
        (i + 1, i // PER_EPOCH + 1) for i in range(10)
    ]
    assert history.names == ("learning_rate", "loss", "mae")
    assert {type(v) for row in history for v in row.values.values()} == {float}
    assert history["learning_rate"] == [0.001] * 10


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ({}, 5),
        ({"epochs": 3}, 15),
        ({"steps": 7}, 7),
        ({"epochs": 1, "steps": 7}, 5),
        ({"epochs": 9, "steps": 7}, 7),
    ],
)
def test_how_long(model: CompiledStep, arguments: Any, want: int) -> None:
    Trainer(model).train(DATA, **arguments)
    assert model.global_step == want


def test_a_function_is_given_the_epoch(model: CompiledStep) -> None:
    seen: list[int] = []

    def of(epoch: int) -> Iterator[Batch]:
        seen.append(epoch)
        return iter(DATA[:2])

    Trainer(model).train(of, epochs=3)
    assert seen == [1, 2, 3]
    assert model.global_step == 6


def test_an_endless_generator(model: CompiledStep) -> None:
    Trainer(model).train(cycle(DATA), steps=12)
    assert model.global_step == 12


def test_each_call_is_a_run(model: CompiledStep) -> None:
    trainer = Trainer(model)
    first = trainer.train(DATA)
    second = trainer.train(DATA)
    assert [row.step for row in first] == [1, 2, 3, 4, 5]
    assert [(row.step, row.epoch) for row in second] == [(n, 1) for n in range(6, 11)]


def test_rows_are_means(model: CompiledStep) -> None:
    history = Trainer(model, log_every=3).train(DATA, epochs=2)
    with training.load() as other:
        losses = [other.train_step(**batch)["loss"] for batch in DATA * 2]
    assert history.series("loss") == (
        [3, 6, 9, 10],
        [sum(losses[:3]) / 3, sum(losses[3:6]) / 3, sum(losses[6:9]) / 3, losses[9]],
    )
    assert [row.epoch for row in history] == [1, 2, 2, 2]


def test_micro_batches_go_on_across_epochs(accumulating: CompiledStep) -> None:
    events = Events()
    history = Trainer(accumulating, callbacks=[events]).train(DATA, epochs=2)
    with training.load(3) as other:
        losses = [other.train_step(**batch)["loss"] for batch in DATA * 2]
        assert snapshot(other) == snapshot(accumulating)
    means = [sum(losses[i : i + 3]) / 3 for i in (0, 3, 6)]
    assert history.series("loss") == ([1, 2, 3], means)
    assert [event.step for event in events.of(StepEnd)] == [1, 2, 3]
    assert [(event.step, event.epoch) for event in events.of(EpochEnd)] == [(1, 1), (3, 2)]


# Validation.


def test_validation(model: CompiledStep) -> None:
    events = Events()
    trainer = Trainer(model, callbacks=[events])
    history = trainer.train(DATA, epochs=2, validation=HELD_OUT)
    steps, values = history.series("validation/loss")
    assert steps == [5, 10]
    last = [model.evaluate(**batch) for batch in HELD_OUT]
    assert values[1] == sum(x["loss"] for x in last) / 2
    assert history["validation/mae"][1] == sum(x["mae"] for x in last) / 2
    assert len(history) == 10, "they share the rows of their steps"
    ends = events.of(EpochEnd)
    assert [sorted(end.metrics) for end in ends] == [
        ["loss", "mae", "validation/loss", "validation/mae"]
    ] * 2
    assert ends[0].metrics["loss"] == sum(history["loss"][:5]) / 5
    assert ends[1].metrics["validation/loss"] == values[1]


def test_validation_at_the_end_of_the_steps(model: CompiledStep) -> None:
    events = Events()
    history = Trainer(model, callbacks=[events]).train(
        cycle(DATA), steps=7, validation=lambda _: iter(HELD_OUT)
    )
    assert history.series("validation/loss")[0] == [7]
    assert events.of(EpochEnd) == []


# Events and stopping.


def test_events(model: CompiledStep, tmp_path: Path) -> None:
    events = Events()
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path), callbacks=[events], save_every=3)
    trainer.train(DATA)
    assert trainer.checkpoints is not None
    kinds = [(type(event), event.step) for event in events.all]
    assert kinds == [
        (StepEnd, 1),
        (StepEnd, 2),
        (StepEnd, 3),
        (Saved, 3),
        (StepEnd, 4),
        (StepEnd, 5),
        (EpochEnd, 5),
        (Saved, 5),
    ]
    metrics = events.of(StepEnd)[0].metrics
    assert metrics["columns"].shape == (3,)
    assert [event.path.name for event in events.of(Saved)] == list(trainer.checkpoints.names())


@pytest.mark.parametrize("kind", [StepEnd, EpochEnd])
def test_stop(model: CompiledStep, tmp_path: Path, kind: type) -> None:
    def stop(trainer: Trainer, event: Event) -> None:
        if isinstance(event, kind) and event.step >= 4:
            trainer.stop()

    trainer = Trainer(model, callbacks=[stop], checkpoints=Checkpoints(tmp_path))
    trainer.stop()
    history = trainer.train(DATA, epochs=9, validation=HELD_OUT)
    want = 4 if kind is StepEnd else 5
    assert model.global_step == want
    assert history.series("validation/loss")[0] == [want]
    assert Checkpoints(tmp_path).names() == (f"step-{want:08d}.safetensors",)
    assert not trainer.stopped_early


def test_a_callback_may_raise(model: CompiledStep) -> None:
    def fail(trainer: Trainer, event: Event) -> None:
        raise ZeroDivisionError(f"at {event.step}")

    trainer = Trainer(model, callbacks=[fail])
    with pytest.raises(ZeroDivisionError, match="at 1"):
        trainer.train(DATA)
    assert model.global_step == 1
    with pytest.raises(ZeroDivisionError, match="at 2"):
        trainer.train(DATA)


def test_not_within_itself(model: CompiledStep) -> None:
    for call in (lambda t: t.train(DATA), lambda t: t.resume()):
        trainer = Trainer(model, callbacks=[lambda t, _, call=call: call(t)])
        with pytest.raises(runtime.BusyError, match=r"in the middle of a run; call this after"):
            trainer.train(DATA)


def test_non_finite_gradients_are_seen_and_may_end_it(accumulating: CompiledStep) -> None:
    def refuse(report: runtime.NanReport) -> None:
        raise FloatingPointError(str(report))

    accumulating.variables[ACCUMULATE_STEPS] = 1
    bad = [*DATA[:2], {**DATA[2], "x": np.full((8, 4), np.nan, np.float32)}, *DATA[3:]]
    logger = NanLogger(lambda _: None)
    logger.attach(accumulating)
    history = Trainer(accumulating).train(bad)
    assert [report.step for report in logger.reports] == [3, 4, 5]
    assert [math.isnan(loss) for loss in history["loss"]] == [False, False, True, True, True]
    logger.detach()
    accumulating.initialize()
    accumulating.variables[ACCUMULATE_STEPS] = 1
    NanLogger(refuse).attach(accumulating)
    with pytest.raises(FloatingPointError, match=r"step 3: 12 non-finite"):
        Trainer(accumulating).train(bad)
    assert accumulating.global_step == 3


# Early stop.


def stopped_after(model: CompiledStep, stop: EarlyStop, rates: list[float]) -> int:
    """How many epochs a run takes whose learning rate is set for each."""

    def of(epoch: int) -> list[Batch]:
        model.learning_rate = rates[epoch - 1]
        return DATA

    trainer = Trainer(model, early_stop=stop)
    trainer.train(of, epochs=len(rates), validation=HELD_OUT)
    assert trainer.stopped_early == (model.global_step < PER_EPOCH * len(rates))
    return model.global_step // PER_EPOCH


@pytest.mark.parametrize(
    ("stop", "epochs"),
    [
        (EarlyStop("validation/loss", 2), 5),
        (EarlyStop("validation/loss", 3), 8),
        (EarlyStop("validation/loss", 1, min_delta=1e9), 2),
        (EarlyStop("validation/loss", 1, mode="max"), 2),
        (EarlyStop("validation/mae", 2), 5),
    ],
)
def test_early_stop(model: CompiledStep, stop: EarlyStop, epochs: int) -> None:
    """No rate, no change: epochs 4 and 5 are no better than 3."""
    assert stopped_after(model, stop, [0.01, 0.01, 0.01, 0.0, 0.0, 0.01, 0.01, 0.01]) == epochs


WORSE = [0.01, 0.01, 10.0, 10.0, 10.0]
"""Learning rates of epochs, of which the second is the best."""


@pytest.mark.parametrize("patience", [2, 9])
def test_the_best_state_is_restored(model: CompiledStep, patience: int) -> None:
    """However the run ends in order: early, or with its epochs; what was set is restored too."""
    states: dict[int, dict[str, Any]] = {}

    def keep(trainer: Trainer, event: Event) -> None:
        if isinstance(event, EpochEnd):
            states[event.epoch] = snapshot(model)

    def of(epoch: int) -> list[Batch]:
        model.learning_rate = WORSE[epoch - 1]
        return DATA

    stop = EarlyStop("validation/loss", patience, restore_best=True)
    trainer = Trainer(model, early_stop=stop, callbacks=[keep])
    history = trainer.train(of, epochs=5, validation=HELD_OUT)
    assert len(states) == min(5, 2 + patience)
    assert len(history) == PER_EPOCH * len(states)
    assert np.argmin(history["validation/loss"]) == 1
    assert snapshot(model) == states[2]
    assert (model.global_step, model.learning_rate) == (2 * PER_EPOCH, np.float32(0.01))
    model.train_step(**DATA[0])


def test_no_epoch_was_the_best(model: CompiledStep) -> None:
    bad = [{**batch, "x": np.full((8, 4), np.nan, np.float32)} for batch in DATA]
    Trainer(model, early_stop=EarlyStop("loss", 1, restore_best=True)).train(bad, epochs=3)
    assert model.global_step == PER_EPOCH


def test_an_interrupt_while_the_best_state_is_restored(
    model: CompiledStep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: CompiledStep, _: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CompiledStep, "restore_snapshot", interrupt)
    checkpoints = Checkpoints(tmp_path)
    trainer = Trainer(
        model, checkpoints=checkpoints, early_stop=EarlyStop("loss", 1, restore_best=True)
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train(DATA)
    assert checkpoints.names() == ("step-00000005.safetensors",)


def test_a_snapshot_of_another_artifact(model: CompiledStep, accumulating: CompiledStep) -> None:
    before = snapshot(model)
    with pytest.raises(runtime.CheckpointError, match="snapshot is of another artifact"):
        model.restore_snapshot(accumulating.snapshot())
    assert snapshot(model) == before


def test_values_that_are_no_better() -> None:
    stop = EarlyStop("a", 3, min_delta=0.5)
    seen: list[tuple[float | None, int]] = [(None, 0)]
    for value in (math.nan, 4.0, 3.6, math.nan, 3.4, math.inf):
        seen.append(stop.after_epoch(*seen[-1], {"a": value}))
    assert seen[1:] == [(None, 1), (4.0, 0), (4.0, 1), (4.0, 2), (3.4, 0), (3.4, 1)]


def test_a_metric_that_is_not_there(model: CompiledStep) -> None:
    trainer = Trainer(model, early_stop=EarlyStop("los", 2))
    with pytest.raises(runtime.InputError, match=r"no metric 'los'; did you mean 'loss'"):
        trainer.train(DATA)
    trainer = Trainer(model, early_stop=EarlyStop("validation/loss", 2))
    before = snapshot(model)
    with pytest.raises(runtime.InputError, match=r"'validation/loss' needs validation=batches"):
        trainer.train(DATA)
    assert snapshot(model) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"patience": 0},
        {"patience": 1.5},
        {"patience": 1, "mode": "least"},
        {"patience": 1, "min_delta": -1},
        {"patience": 1, "min_delta": math.nan},
        {"patience": 1, "min_delta": "1"},
    ],
)
def test_early_stop_arguments(arguments: Any) -> None:
    with pytest.raises(runtime.InputError, match="EarlyStop: expected"):
        EarlyStop("loss", **arguments)


# What is no batch.


@pytest.mark.parametrize(
    ("given", "arguments", "text"),
    [
        ([], {}, r"batches: epoch 1 has none; what can be gone through only once"),
        (iter(DATA), {"epochs": 2}, r"a list_iterator can be gone through only once"),
        (islice(cycle(DATA), 3), {"steps": 4}, r"batches: epoch 2 has none"),
        (3, {}, r"expected an iterable of mappings .* got int"),
        (None, {}, r"expected an iterable of mappings .* got NoneType"),
        (DATA[0], {}, r"expected an iterable of mappings .* got dict"),
        ("ab", {}, r"expected an iterable of mappings .* got str"),
        (lambda epoch: None, {}, r"expected an iterable of mappings .* got NoneType"),
        ([DATA[0], (1, 2)], {}, r"epoch 1, batch 2: expected a mapping .* got tuple"),
        ([{1: 2}], {}, r"epoch 1, batch 1: expected a mapping .* a dict with the keys \[1\]"),
        (DATA, {"validation": []}, r"validation: epoch 1 has no batches"),
        (DATA, {"validation": iter(DATA), "epochs": 2}, r"validation: a list_iterator can be"),
        (DATA, {"validation": [1]}, r"validation: epoch 1, batch 1: expected a mapping"),
    ],
)
def test_no_batches(model: CompiledStep, given: Any, arguments: Any, text: str) -> None:
    with pytest.raises(runtime.BatchError, match=text):
        Trainer(model).train(given, **arguments)


def test_a_wrong_batch_says_where(model: CompiledStep) -> None:
    wrong = {"x": DATA[0]["x"]}
    with pytest.raises(runtime.InputError, match="missing: 'y'") as caught:
        Trainer(model).train([DATA[0], wrong])
    assert caught.value.__notes__ == ["in batch 2 of epoch 1"]
    assert model.global_step == 1


def test_without_state() -> None:
    with training.artifact(1).load() as empty, pytest.raises(runtime.NotInitializedError):
        Trainer(empty).train(DATA)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"log_every": 0}, r"log_every: expected an integer from 1 on, got 0"),
        ({"log_every": True}, r"log_every: expected an integer from 1 on, got True"),
        ({"save_every": 5}, r"save_every needs checkpoints="),
        ({"save_every": 1.5}, r"save_every: expected an integer from 1 on, got 1.5"),
    ],
)
def test_trainer_arguments(model: CompiledStep, arguments: Any, text: str) -> None:
    with pytest.raises(runtime.InputError, match=text):
        Trainer(model, **arguments)


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"steps": -1}, {"epochs": 2.0}])
def test_train_arguments(model: CompiledStep, arguments: Any) -> None:
    with pytest.raises(runtime.InputError, match=r"expected an integer from 1 on"):
        Trainer(model).train(DATA, **arguments)


def test_an_optimizer_alone(step: CompiledStep) -> None:
    with pytest.raises(runtime.InputError, match=r"updates from gradients; compile the model's"):
        Trainer(step)
    assert handmade.snapshot(step)
