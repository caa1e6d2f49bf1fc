"""One call of `Trainer.train`: the loop over epochs and batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepforge.runtime.batches import Batches, batches_of, length
from stepforge.runtime.best_state import BestState
from stepforge.runtime.checkpoints import Checkpoints
from stepforge.runtime.early_stop import EarlyStop
from stepforge.runtime.errors import (
    BatchError,
    CheckpointWriteError,
    HyperparameterError,
    InputError,
)
from stepforge.runtime.events import EpochEnd, Event, Saved, StepEnd
from stepforge.runtime.history import VALIDATION, History
from stepforge.runtime.position import Counters, Means, Position
from stepforge.runtime.progress import Moment, Progress
from stepforge.runtime.run_record import RunRecord
from stepforge.runtime.step import GLOBAL_STEP, MICRO_STEP, CompiledStep

METADATA = "trainer"
"""The name of a checkpoint's text that holds the run's Position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do; checked before."""

    batches: Batches
    epochs: int | None
    steps: int | None
    validation: Batches | None
    save_every: int | None
    save_in_background: bool
    log_every: int
    early_stop: EarlyStop | None


class Run:
    """From a position to the end of the plan.

    The position is replaced whole after each batch. The state counts for itself, so that an
    interrupt at any line can be told apart from one a line later.
    """

    def __init__(
        self,
        step: CompiledStep,
        plan: Plan,
        position: Position,
        record: RunRecord,
        *,
        best: BestState | None,
        checkpoints: Checkpoints | None,
        progress: Progress | None,
        tell: Callable[[Event], None],
    ) -> None:
        self.stopping = False
        self._step = step
        self._counters = counter_reader(step)
        self._plan = plan
        self._position = self._began = position
        self._record = record
        self._best = best
        self._checkpoints = checkpoints
        self._progress = progress
        self._tell = tell
        self._per_epoch = length(plan.batches)
        self._saved: Position | None = None
        # What to tell once the file is there.
        self._saving: Saved | None = None
        self._is_done = False
        self._validated: Counters | None = None

    @property
    def history(self) -> History:
        return self._record.history

    @property
    def ended_early(self) -> bool:
        """Whether early stop has waited long enough."""
        stop = self._plan.early_stop
        return stop is not None and self._position.waited >= stop.patience

    def go(self) -> None:
        """Train until an end is reached; then the best state is restored, if it is to be."""
        if self._progress is not None:
            self._progress.begin(self._position.counters.step, self._fraction())
        while not self._is_over():
            self._epoch()
        if self._position != self._began:
            self._finish()
        if self._best is not None:
            self._is_done = True
            self._best.restore()

    def save_interrupted(self) -> None:
        """Save where the run is, in the middle of whatever it was."""
        if self._is_done:
            return  # it is saved, and the state may be that of the best epoch
        counters = self._counters()
        if counters != self._position.counters:
            # The batch was used; its metrics went with the interrupt.
            self._position = self._position.after_unseen(counters)
        if self._checkpoints is not None:
            try:
                self._checkpoints.wait()
            except CheckpointWriteError:
                self._saved = None  # it was not, and is now
        self._write()

    def _is_over(self) -> bool:
        plan, position = self._plan, self._position
        return (
            self.stopping
            or self.ended_early
            or (plan.steps is not None and position.steps >= plan.steps)
            or (plan.epochs is not None and position.epoch > plan.epochs)
        )

    def _epoch(self) -> None:
        epoch, used = self._position.epoch, self._position.batch
        for batch in batches_of(self._plan.batches, epoch, "batches", used):
            self._batch(batch)
            if self._is_over():
                return
        if not self._position.batch:
            raise BatchError(
                f"batches: epoch {epoch} has none; what can be gone through only once lasts for "
                "one epoch: give a list, or a function that is called with each epoch's number"
            )
        self._end_epoch()

    def _batch(self, batch: Mapping[str, Any]) -> None:
        before = self._position
        metrics = _called(self._step.train_step, batch, before.epoch, before.batch + 1)
        numbers = _numbers(metrics)
        position = before.after_batch(self._counters(), numbers)
        stepped = position.steps != before.steps
        logged = stepped and position.steps % self._plan.log_every == 0
        self._position = replace(position, window=Means()) if logged else position
        if logged:
            self._log(position)
        if stepped:
            step = position.counters.step
            self._tell(StepEnd(step, position.epoch, metrics))
            if self._plan.save_every is not None and step % self._plan.save_every == 0:
                self._save()
        if self._saving is not None and self._checkpoints is not None:
            if not self._checkpoints.is_saving:
                self._settle()
        if self._progress is not None and self._progress.due:
            self._progress.update(self._moment(before.epoch, {**numbers, **self._rate()}))

    def _end_epoch(self) -> None:
        position = self._position
        step, epoch = position.counters.step, position.epoch
        self._per_epoch = position.batch
        metrics = {**position.whole.values(), **self._validate(epoch)}
        best, waited = position.best, position.waited
        if self._plan.early_stop is not None:
            best, waited = self._plan.early_stop.after_epoch(best, waited, metrics)
            if self._best is not None and best is not None and not waited:
                self._best.keep(best)
        self._position = position.after_epoch(best, waited)
        if self._progress is not None:
            self._progress.finish_epoch(self._moment(epoch, {**metrics, **self._rate()}))
        self._tell(EpochEnd(step, epoch, metrics))
        if self._plan.save_every is None:
            self._save()

    def _finish(self) -> None:
        position = self._position
        # An epoch that has just ended is the one that the last rows belong to.
        epoch = position.epoch if position.batch else position.epoch - 1
        if position.steps % self._plan.log_every and position.window.count:
            self._log(position, epoch)
            self._position = replace(position, window=Means())
        if self._validated != position.counters:
            self._validate(epoch)
        self._save()
        self._settle()

    def _validate(self, epoch: int) -> dict[str, float]:
        if self._plan.validation is None:
            return {}
        means = Means()
        batches = batches_of(self._plan.validation, epoch, "validation")
        for number, batch in enumerate(batches, 1):
            found = _called(self._step.evaluate, batch, epoch, number)
            means = means.plus(_numbers(found))
        if not means.count:
            raise BatchError(f"validation: epoch {epoch} has no batches")
        values = {f"{VALIDATION}{name}": value for name, value in means.values().items()}
        self._validated = self._position.counters
        self._record.add(self._position.counters.step, epoch, values)
        return values

    def _log(self, position: Position, epoch: int | None = None) -> None:
        values = {**self._rate(), **position.window.values()}
        self._record.add(position.counters.step, epoch or position.epoch, values)

    def _save(self) -> None:
        self._settle()
        path = self._write(wait=not self._plan.save_in_background)
        if path is not None:
            self._saving = Saved(self._position.counters.step, path)
        if not self._plan.save_in_background:
            self._settle()

    def _settle(self) -> None:
        """Wait for what is written in the background, and tell."""
        saved, self._saving = self._saving, None
        if saved is None or self._checkpoints is None:
            return
        self._checkpoints.wait()
        self._tell(saved)

    def _write(self, *, wait: bool = True) -> Path | None:
        position = self._position
        if self._checkpoints is None or (self._saved == position and self._record.is_saved):
            return None
        texts = {METADATA: position.encode(), **self._record.save()}
        path = self._checkpoints.save(self._step, metadata=texts, wait=wait)
        self._saved = position
        return path

    def _rate(self) -> dict[str, float]:
        try:
            return {"learning_rate": self._step.learning_rate}
        except HyperparameterError:
            # None, or one for each group.
            return {}

    def _moment(self, epoch: int, values: Mapping[str, float]) -> Moment:
        step = self._position.counters.step
        return Moment(epoch, self._plan.epochs, step, self._fraction(), values)

    def _fraction(self) -> float | None:
        plan, position = self._plan, self._position
        known: list[float] = []
        if plan.steps is not None:
            known.append(position.steps / plan.steps)
        if plan.epochs is not None and self._per_epoch:
            known.append((position.epoch - 1 + position.batch / self._per_epoch) / plan.epochs)
        return min(max(known), 1.0) if known else None


def counter_reader(step: CompiledStep) -> Callable[[], Counters]:
    """What reads off the state what was done to it. It raises NotInitializedError."""
    counts_micro = any(v.name == MICRO_STEP for v in step.manifest.variables)

    def read() -> Counters:
        micro = int(step.variables[MICRO_STEP]) if counts_micro else 0
        return Counters(int(step.variables[GLOBAL_STEP]), micro)

    return read


def _called(
    function: Callable[..., dict[str, Any]], batch: Mapping[str, Any], epoch: int, number: int
) -> dict[str, Any]:
    try:
        return function(**batch)
    except InputError as error:
        error.add_note(f"in batch {number} of epoch {epoch}")
        raise


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(v) for name, v in metrics.items() if isinstance(v, (int, float))}
