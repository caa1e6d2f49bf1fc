"""`Checkpoints`: a folder of checkpoints named by global step, of which the newest are kept."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from stepforge.runtime.background import Background
from stepforge.runtime.checkpoint import Contents, Snapshot, check_texts, verify_checkpoint
from stepforge.runtime.errors import (
    CheckpointError,
    CheckpointWarning,
    CheckpointWriteError,
    InputError,
)
from stepforge.runtime.files import make_folder, remove_stale
from stepforge.runtime.step import GLOBAL_STEP, CompiledStep

_NAME = re.compile(r"step-([0-9]{8,19})\.safetensors")

Signature = tuple[int, int, int]
"""What changes when another file takes a name: inode, size, time."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a state came from."""

    path: Path
    step: int
    """The global step of its name."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """The texts that it was saved with."""


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

        checkpoints = Checkpoints("runs/7", keep=3)
        if checkpoints.restore(optimizer) is None:
            optimizer.initialize(parameters)
        ...
        checkpoints.save(optimizer)             # runs/7/step-00001200.safetensors

    Each file is written whole or not at all, and old ones are removed only after the new one is
    safely there: whatever happens, the newest whole checkpoint can be restored. Files with other
    names are left alone. A folder belongs to one run and one process at a time, and this object to
    one thread.

    With `save(step, wait=False)` the file is written in the background while the run goes on. Its
    error is raised by the next `save` or `wait`, or at the end of a `with` block:

        with Checkpoints("runs/7") as checkpoints:
            for batch in batches:
                step.train_step(**batch)
                if step.global_step % 500 == 0:
                    checkpoints.save(step, wait=False)
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        keep: int = 3,
        *,
        verify_after_write: bool | None = None,
    ) -> None:
        """directory: made with the first checkpoint. keep: how many whole checkpoints stay, at
        least 2, so that a damaged one is no loss. verify_after_write: as `Snapshot.write` takes it.
        Raises InputError.
        """
        given: Any = keep
        if type(given) is not int or given < 2:
            raise InputError(
                f"Checkpoints: expected keep to be an integer of at least 2, got {given!r}; with "
                "one checkpoint alone, damage to it would lose the run"
            )
        self._directory = Path(directory)
        self._keep = keep
        self._verify = verify_after_write
        self._background = Background()
        # Files that were found whole, as long as they are the same files.
        self._whole: dict[Path, Signature] = {}

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def keep(self) -> int:
        return self._keep

    def names(self) -> tuple[str, ...]:
        """The names of the files, oldest first. Raises CheckpointError for an unreadable folder."""
        return tuple(path.name for path in self._paths().values())

    def latest(self) -> Path | None:
        """The newest file, as its name says; it is not read. None: there is none."""
        paths = self._paths()
        return paths[max(paths)] if paths else None

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written in the background."""
        return self._background.running

    def save(
        self, step: CompiledStep, *, metadata: Mapping[str, str] | None = None, wait: bool = True
    ) -> Path:
        """Write a checkpoint named by the global step, then remove the oldest.

        metadata: as `CompiledStep.save` takes it. wait: False copies the state and returns, and a
        thread writes it; the path returned is where it will be. The thread before is waited for
        first, so that there is one copy at most, and files appear in the order of the calls.
        Raises CheckpointWriteError when it cannot be written or is behind the newest (`check`);
        then nothing has changed. One that was to be written in the background may have failed: that
        is raised first, and this one is not written. Failing to remove an old one is a
        CheckpointWarning.
        """
        self._background.wait()
        texts = {} if metadata is None else dict(metadata)
        check_texts(texts)
        snapshot = step.snapshot()
        number = int(snapshot.values.get(GLOBAL_STEP, -1))
        if number < 0:
            raise InputError(
                "Checkpoints: they are named by the count of steps, and this artifact has none or "
                "it is negative; save with step.save(path)"
            )
        self.check(number)
        path = self._directory / _name(number)
        if wait:
            self._write(snapshot, path, texts)
        else:
            self._background.start(lambda: self._write(snapshot, path, texts))
        return path

    def wait(self) -> None:
        """Until what was saved with `wait=False` is written. Raises its CheckpointWriteError."""
        self._background.wait()

    def close(self) -> None:
        """As `wait`; the object can still be used."""
        self._background.wait()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait; where the block has raised already, an error of writing is a note to that."""
        try:
            self._background.wait()
        except Exception as failed:
            if error is None:
                raise
            error.add_note(f"a checkpoint was not written in the background: {failed}")

    def check(self, global_step: int) -> None:
        """Raise CheckpointWriteError when there is a whole checkpoint of a later step.

        It is the next one to be restored, and of another run, or of a part that is to be taken
        anew: it would hide what is saved now.
        """
        for number, path in reversed(self._paths().items()):
            if number > global_step and self._is_whole(path):
                raise CheckpointWriteError(
                    f"{self._directory} holds {path.name}, which is ahead of step {global_step}: "
                    "restore it, remove what is newer, or choose another folder"
                )

    def restore(
        self,
        step: CompiledStep,
        *,
        strict: bool = False,
        check: Callable[[Contents], object] | None = None,
    ) -> Restored | None:
        """Restore the newest checkpoint; None when there is none.

        One that is damaged, unreadable, of another model or refused by `check` (which is called
        with its contents, and raises CheckpointError) is passed over with a CheckpointWarning, or
        raises CheckpointError when `strict`. Hyperparameters that were compiled in and differ are a
        warning, or an error when `strict`. Raises CheckpointError when none can be restored. After
        an error nothing has changed. What is being written is waited for.
        """
        self._background.join()
        paths = self._paths()
        for number, path in reversed(paths.items()):
            try:
                return Restored(path, number, step.restore(path, strict=strict, check=check))
            except CheckpointError as error:
                if strict:
                    raise
                problem = str(error)
            except OSError as error:
                problem = f"checkpoint {path} cannot be read: {error}"
                if strict:
                    raise CheckpointError(problem) from error
            warnings.warn(f"passed over: {problem}", CheckpointWarning, stacklevel=2)
        if not paths:
            return None
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints in {self._directory} can be restored into this "
            "step; the warnings say why. Load the artifact that wrote them, or choose another "
            "folder"
        )

    def __repr__(self) -> str:
        return f"Checkpoints({str(self._directory)!r}, keep={self._keep})"

    def _write(self, snapshot: Snapshot, path: Path, texts: Mapping[str, str]) -> None:
        try:
            make_folder(self._directory)
        except OSError as error:
            raise CheckpointWriteError(
                f"cannot make the folder {self._directory} for checkpoints: {error}"
            ) from error
        remove_stale(self._directory, _NAME.fullmatch)
        snapshot.write(path, texts, verify_after_write=self._verify)
        try:
            self._whole[path] = _signature(path)
            self._rotate()
        except (CheckpointError, OSError) as error:
            # The new one is there.
            warnings.warn(f"old checkpoints stay: {error}", CheckpointWarning, stacklevel=3)

    def _paths(self) -> dict[int, Path]:
        """By global step, oldest first."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CheckpointError(
                f"cannot list the checkpoints in {self._directory}: {error}"
            ) from error
        found = {int(m[1]): m[0] for m in map(_NAME.fullmatch, names) if m and _is_ours(m)}
        return {number: self._directory / found[number] for number in sorted(found)}

    def _is_whole(self, path: Path) -> bool:
        try:
            signature = _signature(path)
            if self._whole.get(path) != signature:
                verify_checkpoint(path)
                self._whole[path] = signature
        except (CheckpointError, OSError):
            return False
        return True

    def _rotate(self) -> None:
        whole = 0
        for path in reversed(self._paths().values()):
            if whole < self._keep:
                whole += self._is_whole(path)
                continue
            self._whole.pop(path, None)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(
                    f"the old checkpoint {path} stays, it cannot be removed: {error}",
                    CheckpointWarning,
                    stacklevel=3,
                )


def _name(global_step: int) -> str:
    return f"step-{global_step:08d}.safetensors"


def _is_ours(match: re.Match[str]) -> bool:
    # Not, say, nine digits with a zero in front.
    return match[0] == _name(int(match[1]))


def _signature(path: Path) -> Signature:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
