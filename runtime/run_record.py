"""The history of a run, and a file of it that lies beside the checkpoints, for a resumed run."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stepforge.runtime.errors import (
    ArtifactFormatError,
    CheckpointWarning,
    CheckpointWriteError,
    InputError,
)
from stepforge.runtime.files import make_folder
from stepforge.runtime.history import History
from stepforge.runtime.json_reader import Reader, json_number, parse

FILE = "history.jsonl"
METADATA = "history"
"""The name of a checkpoint's text that says how much of the file belongs to it."""


class RunRecord:
    """What `History.add` was told, a line `[step, epoch, {"loss": 0.5}]` for each time.

    The file only grows, so that a run of many steps need not write its history anew with each
    checkpoint. A checkpoint has the count of bytes before it and their SHA-256: lines of a later
    part, which is to be taken anew, are cut off, and a file of another run is told apart.
    """

    def __init__(self, folder: Path | None) -> None:
        """folder: that of the checkpoints; None: nothing is written."""
        self.history = History()
        self._path = None if folder is None else folder / FILE
        self._lines: list[bytes] = []
        self._size = 0
        self._digest = hashlib.sha256()

    @property
    def is_saved(self) -> bool:
        """Whether all of it is in the file."""
        return not self._lines

    def add(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """As `History.add`."""
        self.history.add(step, epoch, values)
        if self._path is not None:
            row = [step, epoch, {name: json_number(value) for name, value in values.items()}]
            text = json.dumps(row, separators=(",", ":"))
            self._lines.append(text.encode() + b"\n")

    def save(self) -> dict[str, str]:
        """Write what is not written yet; returns a checkpoint's texts. Raises CheckpointWriteError,
        after which it can be tried again."""
        if self._path is None:
            return {}
        new = b"".join(self._lines)
        try:
            make_folder(self._path.parent)
            with self._path.open("ab") as stream:
                stream.truncate(self._size)
                stream.write(new)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise CheckpointWriteError(
                f"cannot write the history of the run to {self._path}: {error}"
            ) from error
        self._lines.clear()
        self._size += len(new)
        self._digest.update(new)
        mark = {"bytes": self._size, "sha256": self._digest.hexdigest()}
        return {METADATA: json.dumps(mark, separators=(",", ":"))}

    @staticmethod
    def resumed(folder: Path, texts: Mapping[str, str]) -> RunRecord:
        """That of the run that wrote a checkpoint with these texts.

        Where it cannot be read the run goes on all the same: it is empty, with a CheckpointWarning.
        """
        found = RunRecord(folder)
        if METADATA not in texts:
            return found
        path = folder / FILE
        try:
            found._read(path, texts[METADATA])
        except (ArtifactFormatError, InputError, OSError) as error:
            warnings.warn(
                f"the history of the run until here is lost, it begins anew: {error}",
                CheckpointWarning,
                stacklevel=3,
            )
            return RunRecord(folder)
        return found

    def _read(self, path: Path, text: str) -> None:
        mark = parse(text.encode(), "the checkpoint's mark in the history").fields(
            "bytes", "sha256"
        )
        with path.open("rb") as stream:
            data = stream.read(mark["bytes"].integer())
        self._digest = hashlib.sha256(data)
        self._size = len(data)
        if self._digest.hexdigest() != mark["sha256"].value:
            raise ArtifactFormatError(f"{path} was changed or damaged, or is of another run")
        for number, line in enumerate(data.splitlines(), 1):
            row = parse(line, f"{path}: line {number}")
            if len(row.items(3)) != 3:
                row.fail("[step, epoch, values]")
            step, epoch, values = row.items(3)
            self.history.add(step.integer(), epoch.integer(1), _numbers(values))


def _numbers(values: Reader) -> dict[str, float]:
    found = values.value
    if not isinstance(found, dict):
        values.fail("an object")
    items = cast("dict[str, Any]", found).items()
    return {name: float(Reader(x, values.where).number()) for name, x in items}
