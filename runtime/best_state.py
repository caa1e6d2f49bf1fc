"""The state after the best epoch of a run, for the end of it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from stepforge.runtime.checkpoint import Contents, Origin, Snapshot, read_checkpoint
from stepforge.runtime.early_stop import EarlyStop
from stepforge.runtime.errors import (
    ArtifactFormatError,
    CheckpointError,
    CheckpointWarning,
    CheckpointWriteError,
)
from stepforge.runtime.files import make_folder
from stepforge.runtime.json_reader import json_number, parse
from stepforge.runtime.position import Position
from stepforge.runtime.step import CompiledStep

FILE = "best.safetensors"
_METADATA = "best"
"""The name of its text that holds the value which was the best."""


class BestState:
    """A copy of the best state on the host and, where there is a folder of checkpoints, a file of
    it there, so that a resumed run ends in the same state."""

    def __init__(self, step: CompiledStep, folder: Path | None) -> None:
        self._step = step
        self._path = None if folder is None else folder / FILE
        self._snapshot: Snapshot | None = None

    def keep(self, value: float) -> None:
        """The state as it is now is the best, by a metric's value. Raises CheckpointWriteError."""
        self._snapshot = snapshot = self._step.snapshot()
        if self._path is None:
            return
        try:
            make_folder(self._path.parent)
        except OSError as error:
            raise CheckpointWriteError(
                f"cannot make the folder {self._path.parent} for the best state: {error}"
            ) from error
        snapshot.write(self._path, {_METADATA: json.dumps(json_number(value))})

    def resume(self, stop: EarlyStop, position: Position) -> None:
        """Find the best state of a run that goes on from a position; the step is there already.

        Where it is lost the run goes on without one, with a CheckpointWarning.
        """
        if position.best is None:
            return
        if not position.waited and not position.batch:  # an epoch has just ended, the best one
            self._snapshot = self._step.snapshot()
            return
        assert self._path is not None, "what is resumed has checkpoints"
        try:
            contents = read_checkpoint(self._path, self._step.manifest)
            value = _value_of(contents)
        except (CheckpointError, OSError) as error:
            self._warn(str(error))
            return
        # A better one is of an epoch that is about to be taken anew.
        if value != position.best and not stop.is_better(value, position.best):
            self._warn(f"{self._path} has {stop.metric} {value}, the best was {position.best}")
            return
        self._snapshot = Snapshot(contents.values, Origin(self._step.manifest, ""))

    def restore(self) -> None:
        """Make the step's state the best one, where there is one."""
        if self._snapshot is not None:
            self._step.restore_snapshot(self._snapshot)

    def _warn(self, problem: str) -> None:
        warnings.warn(
            f"the best state of the run is lost, and will not be restored unless an epoch is "
            f"better: {problem}",
            CheckpointWarning,
            stacklevel=4,
        )


def _value_of(contents: Contents) -> float:
    text = contents.metadata.get(_METADATA, "")
    try:
        return float(parse(text.encode(), contents.where).number())
    except ArtifactFormatError as error:
        raise CheckpointError(f"it does not say what it was best by: {error}") from error
