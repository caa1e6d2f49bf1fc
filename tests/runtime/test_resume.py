"""A run that is saved, interrupted and resumed goes on bit for bit."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime import (
    Checkpoints,
    CheckpointWarning,
    EarlyStop,
    Event,
    NanLogger,
    Saved,
    StepEnd,
    Trainer,
)
from stepforge.runtime.step import ACCUMULATE_STEPS, CompiledStep
from support import training
from support.training import DATA, HELD_OUT, PER_EPOCH, Batch, Events, shuffled, snapshot

pytestmark = pytest.mark.compiler


def test_saves_at_the_end_of_each_epoch(model: CompiledStep, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    events = Events()
    Trainer(model, checkpoints=checkpoints, callbacks=[events]).train(DATA, epochs=2)
    assert [event.step for event in events.of(Saved)] == [5, 10]


def test_saves_by_the_global_step(model: CompiledStep, tmp_path: Path) -> None:
    events = Events()
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path), save_every=4, callbacks=[events])
    trainer.train(DATA)
    trainer.train(DATA)
    assert [event.step for event in events.of(Saved)] == [4, 5, 8, 10]


def test_saves_in_the_background(model: CompiledStep, tmp_path: Path) -> None:
    """Each is told of when it is there, and the run ends after the last."""
    found: list[tuple[int, bool]] = []

    def look(trainer: Trainer, event: Event) -> None:
        if isinstance(event, Saved):
            found.append((event.step, event.path.exists()))

    options: Any = {"save_every": 4, "save_in_background": True, "callbacks": [look]}
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path), **options)
    trainer.train(DATA, epochs=2)
    assert found == [(4, True), (8, True), (10, True)]
    want = snapshot(model)
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path), **options)
    trainer.resume()
    assert snapshot(model) == want
    with pytest.raises(runtime.InputError, match="save_in_background needs checkpoints"):
        Trainer(model, save_in_background=True)


@pytest.mark.parametrize(("fails_at", "seen"), [(4, 6), (10, 10)])
def test_an_error_in_the_background_ends_the_run(
    model: CompiledStep, tmp_path: Path, fails_at: int, seen: int
) -> None:
    (tmp_path / f"step-{fails_at:08d}.safetensors").mkdir()
    trainer = Trainer(
        model, checkpoints=Checkpoints(tmp_path), save_every=2, save_in_background=True
    )
    text = rf"cannot write the checkpoint .*{fails_at:08d}.safetensors"
    with pytest.raises(runtime.CheckpointWriteError, match=text):
        trainer.train(DATA, epochs=2)
    assert fails_at <= model.global_step <= seen


def test_an_interrupt_while_one_is_written(model: CompiledStep, tmp_path: Path) -> None:
    """The one of the interrupt is written, though the one before could not be."""
    blocked = tmp_path / "step-00000004.safetensors"

    def interrupt(trainer: Trainer, event: Event) -> None:
        if isinstance(event, StepEnd) and event.step == 4:
            blocked.mkdir()
        if isinstance(event, StepEnd) and event.step == 5:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path)
    trainer = Trainer(
        model,
        checkpoints=checkpoints,
        save_every=4,
        save_in_background=True,
        callbacks=[interrupt],
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.train(DATA)
    assert not hasattr(caught.value, "__notes__")
    assert checkpoints.names()[-1] == "step-00000005.safetensors"
    restored = trainer.resume(strict=True)
    assert restored is not None
    assert restored.step == 5


def interrupt_at(batch: int, of: Callable[[int], list[Batch]]) -> Callable[[int], Iterator[Batch]]:
    """Ctrl-C before the batch of that number, counted from 1 over the epochs."""

    def made(epoch: int) -> Iterator[Batch]:
        for number, item in enumerate(of(epoch), 1 + (epoch - 1) * PER_EPOCH):
            if number == batch:
                signal.raise_signal(signal.SIGINT)
            yield item

    return made


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("batch", [1, 2, 5, 6, 8, 15])
def test_interrupted_and_resumed(tmp_path: Path, accumulate: int, batch: int) -> None:
    """In the middle of an epoch and of an accumulation; state, rows and early stop agree."""
    options: Any = {"log_every": 2, "early_stop": EarlyStop("loss", 9)}
    arguments: Any = {"epochs": 3, "validation": HELD_OUT}
    with training.load(accumulate) as step:
        whole = Trainer(step, **options).train(shuffled, **arguments)
        want = snapshot(step)
    checkpoints = Checkpoints(tmp_path)
    with training.load(accumulate) as step:
        trainer = Trainer(step, checkpoints=checkpoints, save_every=100, **options)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(interrupt_at(batch, shuffled), **arguments)
        assert step.global_step == (batch - 1) // accumulate
    with training.load(accumulate) as step:
        trainer = Trainer(step, checkpoints=checkpoints, **options)
        restored = trainer.resume()
        assert restored is not None
        assert restored.step == (batch - 1) // accumulate
        rest = trainer.train(shuffled, **arguments)
        assert snapshot(step) == want
    assert list(rest) == list(whole)


def test_killed_after_a_checkpoint_and_resumed(tmp_path: Path) -> None:
    with training.load(3) as step:
        whole = Trainer(step).train(shuffled, epochs=4)
        want = snapshot(step)

    def fail(trainer: Trainer, event: Event) -> None:
        if isinstance(event, StepEnd) and event.step == 5:
            raise SystemExit

    with training.load(3) as step:
        trainer = Trainer(step, checkpoints=Checkpoints(tmp_path), save_every=2, callbacks=[fail])
        with pytest.raises(SystemExit):
            trainer.train(shuffled, epochs=4)
    with training.load(3) as step:
        trainer = Trainer(step, checkpoints=Checkpoints(tmp_path), save_every=2)
        restored = trainer.resume()
        assert restored is not None
        assert restored.step == 4
        rest = trainer.train(shuffled, epochs=4)
        assert snapshot(step) == want
    assert list(rest) == list(whole)


def test_a_callback_that_interrupts(model: CompiledStep, tmp_path: Path) -> None:
    def interrupt(trainer: Trainer, event: Event) -> None:
        if event.step == 3:
            raise KeyboardInterrupt

    trainer = Trainer(model, callbacks=[interrupt], checkpoints=Checkpoints(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        trainer.train(DATA)
    after = snapshot(model)
    model.initialize()
    trainer.resume()
    assert snapshot(model) == after
    history = Trainer(model).train(DATA[3:])
    assert [row.step for row in history] == [4, 5]


def test_an_interrupt_after_the_device_is_done(tmp_path: Path) -> None:
    """The batch was used, though train_step raised: a tracer runs after the step."""
    bad = {"x": np.full((8, 4), np.nan, np.float32), "y": DATA[0]["y"]}

    def interrupt(_: runtime.NanReport) -> None:
        raise KeyboardInterrupt

    with training.load(3) as step:
        step.variables[ACCUMULATE_STEPS] = 1
        logger = NanLogger(interrupt)
        logger.attach(step)
        trainer = Trainer(step, checkpoints=Checkpoints(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            trainer.train([DATA[0], bad, DATA[2]])
        assert step.global_step == 2
        logger.detach()
        trainer.resume()
        history = trainer.train([DATA[0], bad, DATA[2]])
    assert [row.step for row in history] == [1, 3], "the metrics of step 2 went with the interrupt"


def test_an_interrupt_without_checkpoints(model: CompiledStep) -> None:
    with pytest.raises(KeyboardInterrupt):
        Trainer(model).train(interrupt_at(4, shuffled))
    assert model.global_step == 3
    model.train_step(**DATA[0])


def test_an_interrupt_that_cannot_be_saved(model: CompiledStep, tmp_path: Path) -> None:
    def block(trainer: Trainer, event: Event) -> None:
        (tmp_path / "runs").write_text("")
        raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt) as caught:
        Trainer(model, checkpoints=checkpoints, callbacks=[block]).train(DATA)
    assert caught.value.__notes__[0].startswith("no checkpoint was saved: cannot write the hist")


def test_a_run_that_is_done_stays_done(model: CompiledStep, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    Trainer(model, checkpoints=checkpoints).train(DATA, epochs=2)
    before, names = snapshot(model), checkpoints.names()
    trainer = Trainer(model, checkpoints=checkpoints)
    trainer.resume()
    assert len(trainer.train(DATA, epochs=2)) == 2 * PER_EPOCH
    assert (snapshot(model), checkpoints.names()) == (before, names)
    trainer.resume()
    assert len(trainer.train(DATA, epochs=3)) == 3 * PER_EPOCH


# The history of the whole run.


def test_the_history_of_many_resumes(tmp_path: Path) -> None:
    """Rows that validation adds to after they were saved, NaN, and steps that are taken twice."""
    data = [DATA[0], {**DATA[1], "x": np.full((8, 4), np.nan, np.float32)}, *DATA[2:]]
    options: Any = {"epochs": 4, "validation": HELD_OUT}
    with training.load() as step:
        whole = Trainer(step).train(data, **options)
    for last in (5, 6, 9, 12):

        def fail(trainer: Trainer, event: Event, last: int = last) -> None:
            if isinstance(event, StepEnd) and event.step == last:
                raise SystemExit

        with training.load() as step:
            checkpoints = Checkpoints(tmp_path)
            trainer = Trainer(step, checkpoints=checkpoints, save_every=5, callbacks=[fail])
            trainer.resume()
            with pytest.raises(SystemExit):
                trainer.train(data, **options)
    with training.load() as step:
        trainer = Trainer(step, checkpoints=Checkpoints(tmp_path))
        restored = trainer.resume()
        assert restored is not None
        assert restored.step == 10
        rows = trainer.train(data, **options).rows
    assert repr(rows) == repr(whole.rows)  # NaN is not equal to itself
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 4 * PER_EPOCH + 4


def test_the_last_validation_is_saved_too(model: CompiledStep, tmp_path: Path) -> None:
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path), save_every=3)
    want = trainer.train(DATA, steps=3, validation=HELD_OUT)
    assert want.series("validation/loss")[0] == [3]
    trainer.resume()
    assert list(trainer.train(DATA, steps=3, validation=HELD_OUT)) == list(want)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))


@pytest.mark.parametrize(
    ("harm", "text"), [(damage, "changed or damaged"), (Path.unlink, "No such file")]
)
def test_a_lost_history(
    model: CompiledStep, tmp_path: Path, harm: Callable[[Path], None], text: str
) -> None:
    """The state is what counts: the run goes on, and says so."""
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path))
    trainer.train(DATA, epochs=1)
    harm(tmp_path / "history.jsonl")
    with pytest.warns(CheckpointWarning, match=f"history of the run until here is lost.*{text}"):
        trainer.resume()
    history = trainer.train(DATA, epochs=2)
    assert [row.step for row in history] == [6, 7, 8, 9, 10]
    trainer.resume()
    assert list(trainer.train(DATA, epochs=2)) == list(history)


def test_a_history_that_cannot_be_written(model: CompiledStep, tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(
        runtime.CheckpointWriteError, match=r"history of the run to .*history.jsonl"
    ):
        Trainer(model, checkpoints=Checkpoints(tmp_path)).train(DATA)
    assert model.global_step == PER_EPOCH


def test_a_checkpoint_from_before_histories_were_kept(model: CompiledStep, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    Trainer(model, checkpoints=checkpoints).train(DATA)
    path = checkpoints.latest()
    assert path is not None
    texts = model.restore(path)
    checkpoints.save(model, metadata={"trainer": texts["trainer"]})
    trainer = Trainer(model, checkpoints=checkpoints)
    trainer.resume()
    assert [row.step for row in trainer.train(DATA, steps=6)] == [6]


def test_early_stop_goes_on_waiting(model: CompiledStep, tmp_path: Path) -> None:
    options: Any = {
        "checkpoints": Checkpoints(tmp_path),
        "early_stop": EarlyStop("loss", 3, mode="max", min_delta=1e9),
    }
    trainer = Trainer(model, **options)
    trainer.train(DATA, epochs=2)
    trainer = Trainer(model, **options)
    trainer.resume()
    trainer.train(DATA, epochs=9)
    assert model.global_step == 4 * PER_EPOCH
    assert trainer.stopped_early


# The best state.


def worse(step: CompiledStep) -> Callable[[int], list[Batch]]:
    """Batches of epochs of which the second is the best."""

    def of(epoch: int) -> list[Batch]:
        step.learning_rate = 0.01 if epoch < 3 else 10.0
        return DATA

    return of


@pytest.mark.parametrize(
    ("save_every", "fails_at"),
    [(None, 6), (None, 11), (None, 18), (4, 6), (4, 10), (4, 11), (4, 14), (4, 18)],
)
def test_the_best_state_after_a_resume(
    tmp_path: Path, save_every: int | None, fails_at: int
) -> None:
    """Killed while the best epoch is taken, right after it, or later."""
    options: Any = {"early_stop": EarlyStop("validation/loss", 9, restore_best=True)}
    arguments: Any = {"epochs": 4, "validation": HELD_OUT}
    with training.load() as step:
        Trainer(step, **options).train(worse(step), **arguments)
        want = snapshot(step)
        assert step.global_step == 10

    def fail(trainer: Trainer, event: Event) -> None:
        if isinstance(event, StepEnd) and event.step == fails_at:
            raise SystemExit

    options.update(checkpoints=Checkpoints(tmp_path), save_every=save_every)
    with training.load() as step, pytest.raises(SystemExit):
        Trainer(step, callbacks=[fail], **options).train(worse(step), **arguments)
    for _ in range(2):  # the second time there is nothing left to do
        with training.load() as step:
            trainer = Trainer(step, **options)
            trainer.resume()
            trainer.train(worse(step), **arguments)
            assert snapshot(step) == want
    assert Checkpoints(tmp_path).names()[-1] == "step-00000020.safetensors"


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (Path.unlink, "No such file"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes((path.parent / "of_1").read_bytes()), "loss .*, the best"),
        (lambda path: training_checkpoint(path), "does not say what it was best by"),
    ],
)
def test_a_lost_best_state(
    model: CompiledStep, tmp_path: Path, harm: Callable[[Path], None], text: str
) -> None:
    def keep(trainer: Trainer, event: Event) -> None:
        if isinstance(event, StepEnd) and event.step == 6:
            (tmp_path / "of_1").write_bytes((tmp_path / "best.safetensors").read_bytes())

    options: Any = {
        "checkpoints": Checkpoints(tmp_path),
        "early_stop": EarlyStop("loss", 9, restore_best=True),
    }
    Trainer(model, callbacks=[keep], **options).train(worse(model), epochs=3)
    harm(tmp_path / "best.safetensors")
    trainer = Trainer(model, **options)
    trainer.resume()
    with pytest.warns(CheckpointWarning, match=f"best state of the run is lost.*{text}"):
        trainer.train(worse(model), epochs=4)
    assert model.global_step == 20


def training_checkpoint(path: Path) -> None:
    path.write_bytes((path.parent / "step-00000015.safetensors").read_bytes())


def test_nothing_to_resume(model: CompiledStep, tmp_path: Path) -> None:
    before = snapshot(model)
    assert Trainer(model, checkpoints=Checkpoints(tmp_path)).resume() is None
    assert snapshot(model) == before
    with pytest.raises(runtime.InputError, match=r"the Trainer was given no checkpoints"):
        Trainer(model).resume()


def test_a_checkpoint_that_no_trainer_wrote(model: CompiledStep, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    trainer = Trainer(model, checkpoints=checkpoints)
    trainer.train(DATA)
    model.train_step(**DATA[0])
    checkpoints.save(model)
    before = snapshot(model)
    with pytest.raises(runtime.CheckpointError, match=r"00006.safetensors was not saved by a Tr"):
        trainer.resume(strict=True)
    assert snapshot(model) == before
    with pytest.warns(CheckpointWarning, match=r"00006.safetensors was not saved by a Trainer"):
        restored = trainer.resume()
    assert restored is not None
    assert restored.step == 5


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "cannot be read"),
        ("[]", "expected an object of format 1"),
        ('{"format":2}', "expected an object of format 1"),
        ('{"format":1}', "expected the keys"),
    ],
)
def test_a_place_that_cannot_be_read(
    model: CompiledStep, tmp_path: Path, text: str, match: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, metadata={"trainer": text})
    with pytest.raises(runtime.CheckpointError, match=match):
        Trainer(model, checkpoints=checkpoints).resume(strict=True)


def test_a_place_of_another_state(model: CompiledStep, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    Trainer(model, checkpoints=checkpoints).train(DATA)
    path = checkpoints.latest()
    assert path is not None
    texts = model.restore(path)
    model.train_step(**DATA[0])
    checkpoints.save(model, metadata=texts)
    with pytest.raises(runtime.CheckpointError, match=r"its place in the run is of .*step=5"):
        Trainer(model, checkpoints=checkpoints).resume(strict=True)


def test_the_state_was_changed_after_resume(model: CompiledStep, tmp_path: Path) -> None:
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path))
    trainer.train(DATA)
    trainer.resume()
    model.train_step(**DATA[0])
    with pytest.raises(runtime.InputError, match=r"the state was changed since resume"):
        trainer.train(DATA, epochs=2)
    trainer.resume()
    trainer.train(DATA, epochs=2)
    assert model.global_step == 10


def test_a_folder_ahead_of_the_state(model: CompiledStep, tmp_path: Path) -> None:
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path))
    trainer.train(DATA)
    model.initialize()
    before = snapshot(model)
    with pytest.raises(runtime.CheckpointWriteError, match=r"ahead of step 0"):
        trainer.train(DATA)
    assert snapshot(model) == before


def test_fewer_batches_than_were_used(model: CompiledStep, tmp_path: Path) -> None:
    trainer = Trainer(model, checkpoints=Checkpoints(tmp_path))
    trainer.train(DATA, steps=4)
    trainer.resume()
    text = r"batches: epoch 1 has 3 batches; the run had used 4 of it when it was saved"
    with pytest.raises(runtime.BatchError, match=text):
        trainer.train(DATA[:3])
