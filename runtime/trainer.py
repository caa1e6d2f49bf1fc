"""`Trainer`: training a whole-step artifact over batches, with what goes around it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from stepforge.runtime.batches import Batches, check_batches
from stepforge.runtime.best_state import BestState
from stepforge.runtime.checkpoint import Contents
from stepforge.runtime.checkpoints import Checkpoints, Restored
from stepforge.runtime.early_stop import EarlyStop
from stepforge.runtime.errors import BusyError, CheckpointError, InputError, StepforgeRuntimeError
from stepforge.runtime.events import Event
from stepforge.runtime.history import VALIDATION, History
from stepforge.runtime.position import Counters, Position
from stepforge.runtime.progress import Progress, is_terminal
from stepforge.runtime.run_record import RunRecord
from stepforge.runtime.step import GLOBAL_STEP, MICRO_STEP, CompiledStep
from stepforge.runtime.training_run import METADATA, Plan, Run, counter_reader

Callback: TypeAlias = "Callable[[Trainer, Event], object]"
"""Called as `callback(trainer, event)` with a StepEnd, EpochEnd or Saved. What it raises ends the
run and comes out of `train`; `trainer.stop()` ends it in order.
"""


class Trainer:
    """Trains a step that was compiled with its loss, by `compile_train_step`.

        with runtime.load("train.vmfb") as step:
            trainer = Trainer(step, checkpoints=Checkpoints("runs/7"), save_every=500)
            if trainer.resume() is None:
                step.initialize()
            history = trainer.train(batches, epochs=10, validation=held_out)

    Global steps and epochs count from 1. A step is an update; where it takes several micro-batches
    (`/trainer/accumulate_steps`), each batch gives one, and they go on across epochs. Losses that
    are not finite do not end a run: attach a `NanLogger` to the step before, and let its handler
    raise or call `stop`.

    A run that was interrupted and resumed ends in the same state, bit for bit, as one that was not,
    on the same device and given the same batches: what it had used of an epoch is saved with each
    checkpoint, and skipped. Its history is that of the whole run, which `history.jsonl` in the
    folder of the checkpoints keeps. A Trainer is for one thread.
    """

    def __init__(
        self,
        step: CompiledStep,
        *,
        checkpoints: Checkpoints | None = None,
        save_every: int | None = None,
        save_in_background: bool = False,
        log_every: int = 1,
        callbacks: Iterable[Callback] = (),
        early_stop: EarlyStop | None = None,
        progress: bool | None = None,
    ) -> None:
        """checkpoints: where the state is saved, at the end and in between.

        save_every: save when the global step is a multiple; None: at the end of each epoch.
        save_in_background: go on training while a checkpoint is written; its error ends the run at
            the next one, or at the end.
        log_every: steps for each row of the history, which has their means.
        progress: None: a bar if stderr is a terminal; True: else lines there; False: nothing.
        Raises InputError, also for an artifact without `train_step`.
        """
        if "train_step" not in step.functions:
            raise InputError(
                "Trainer: the artifact updates from gradients; compile the model's loss into it "
                "(compile_train_step, --model)"
            )
        _check_count("Trainer: log_every", log_every)
        if save_every is not None:
            _check_count("Trainer: save_every", save_every)
            if checkpoints is None:
                raise InputError("Trainer: save_every needs checkpoints=Checkpoints(folder)")
        if save_in_background and checkpoints is None:
            raise InputError("Trainer: save_in_background needs checkpoints=Checkpoints(folder)")
        self._step = step
        self._checkpoints = checkpoints
        self._save_every = save_every
        self._save_in_background = bool(save_in_background)
        self._log_every = log_every
        self._callbacks = tuple(callbacks)
        self._early_stop = early_stop
        self._progress = progress
        self._resumed: tuple[Position, RunRecord] | None = None
        self._run: Run | None = None
        self._stopped_early = False

    @property
    def step(self) -> CompiledStep:
        return self._step

    @property
    def checkpoints(self) -> Checkpoints | None:
        return self._checkpoints

    @property
    def stopped_early(self) -> bool:
        """Whether early stop ended the last run."""
        return self._stopped_early

    def resume(self, *, strict: bool = False) -> Restored | None:
        """Restore the newest checkpoint, so that the next `train` goes on from there.

        Give `train` the same batches, epochs and steps as before: it does what is left. None: there
        is no checkpoint, and nothing was done. One that no Trainer wrote is passed over as a
        damaged one is, which `Checkpoints.restore` tells of, and of what it raises. Raises
        InputError without checkpoints.
        """
        self._check_idle()
        if self._checkpoints is None:
            raise InputError("resume: the Trainer was given no checkpoints")
        restored = self._checkpoints.restore(self._step, strict=strict, check=_position_of)
        if restored is not None:
            where = f"checkpoint {restored.path}"
            position = Position.decode(restored.metadata[METADATA], where)
            record = RunRecord.resumed(self._checkpoints.directory, restored.metadata)
            self._resumed = position, record
        return restored

    def train(
        self,
        batches: Batches,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        validation: Batches | None = None,
    ) -> History:
        """Train until the epochs or the steps of the run are done, whichever is first.

        batches: mappings from input to array, in something that can be gone through once an epoch,
            such as a list; or a function from the epoch's number to that epoch's. Each has one of
            the sizes that the artifact serves (`step.batch_sizes`), the last one too.
        epochs: one, if no steps are given either. steps: the run is over at once after so many.
        validation: batches to `evaluate` after each epoch, and at the end; the means of their
            metrics are `validation/loss` and so on in the history.

        The history has a row for every `log_every` steps, with the means over their batches and the
        learning rate; after a resume it has those of before too. Ctrl-C saves a checkpoint, if
        there is where to, and comes through; without, what it raised: the state is that after the
        last batch.
        Raises InputError, BatchError for what is no batch, NotInitializedError, and
        CheckpointWriteError, at once for a folder that is ahead of the state.
        """
        self._check_idle()
        plan = self._plan(batches, epochs, steps, validation)
        counters = counter_reader(self._step)()
        position, record = self._resumed or (Position(counters=counters), RunRecord(self._folder()))
        if counters != position.counters:
            raise InputError("train: the state was changed since resume(); call it again, or not")
        if self._checkpoints is not None:
            self._checkpoints.check(position.counters.step)
        progress = self._new_progress()
        run = Run(
            self._step,
            plan,
            position,
            record,
            best=self._best_state(position),
            checkpoints=self._checkpoints,
            progress=progress,
            tell=self._tell,
        )
        self._run, self._resumed, self._stopped_early = run, None, False
        try:
            run.go()
        except KeyboardInterrupt as interrupt:
            try:
                run.save_interrupted()
            except StepforgeRuntimeError as error:
                interrupt.add_note(f"no checkpoint was saved: {error}")
            raise
        finally:
            self._run = None
            if progress is not None:
                progress.close()
        self._stopped_early = run.ended_early
        return run.history

    def stop(self) -> None:
        """End the run after the step it is at, in order. For callbacks; else it does nothing."""
        if self._run is not None:
            self._run.stopping = True

    def _plan(self, batches: Any, epochs: Any, steps: Any, validation: Any) -> Plan:
        if epochs is not None:
            _check_count("train: epochs", epochs)
        if steps is not None:
            _check_count("train: steps", steps)
        elif epochs is None:
            epochs = 1
        stop = self._early_stop
        if stop is not None and validation is None and stop.metric.startswith(VALIDATION):
            raise InputError(f"train: early stop on {stop.metric!r} needs validation=batches")
        check_batches(batches, "batches", once=epochs in (None, 1))
        check_batches(validation, "validation", once=epochs == 1)
        return Plan(
            batches=batches,
            epochs=epochs,
            steps=steps,
            validation=validation,
            save_every=self._save_every,
            save_in_background=self._save_in_background,
            log_every=self._log_every,
            early_stop=stop,
        )

    def _folder(self) -> Path | None:
        return None if self._checkpoints is None else self._checkpoints.directory

    def _best_state(self, position: Position) -> BestState | None:
        if self._early_stop is None or not self._early_stop.restore_best:
            return None
        found = BestState(self._step, self._folder())
        found.resume(self._early_stop, position)
        return found

    def _new_progress(self) -> Progress | None:
        stream: Any = sys.stderr
        if self._progress is False or stream is None:
            return None
        if self._progress is None and not is_terminal(stream):
            return None
        return Progress(stream)

    def _tell(self, event: Event) -> None:
        for callback in self._callbacks:
            callback(self, event)

    def _check_idle(self) -> None:
        if self._run is not None:
            raise BusyError("the Trainer is in the middle of a run; call this after it")


def _position_of(contents: Contents) -> Position:
    where = contents.where
    text = contents.metadata.get(METADATA)
    if text is None:
        raise CheckpointError(
            f"{where} was not saved by a Trainer, so that the place in the run is not known; to "
            "begin a new run from it, restore it with checkpoints.restore(step)"
        )
    position = Position.decode(text, where)
    values = contents.values
    counters = Counters(int(values[GLOBAL_STEP]), int(values.get(MICRO_STEP, 0)))
    if counters != position.counters:
        raise CheckpointError(
            f"{where}: its place in the run is of {position.counters}, its state of {counters}"
        )
    return position


def _check_count(what: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise InputError(f"{what}: expected an integer from 1 on, got {value!r}")
