"""`History`: the numbers of a training run, to a table or a picture."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stepforge.runtime.errors import (
    HistoryWriteError,
    InputError,
    MissingExtraError,
    UnknownNameError,
)
from stepforge.runtime.files import UnsyncedError, write_atomically
from stepforge.runtime.names import nearest

VALIDATION = "validation/"
"""What the names of metrics of validation batches start with."""

_PANEL = (8.0, 3.0)


@dataclass(frozen=True, slots=True)
class Row:
    """What was known after a step."""

    step: int
    """The global step."""
    epoch: int
    """From 1."""
    values: Mapping[str, float]


class History:
    """Rows in the order of steps; `Trainer.train` returns one.

        history = trainer.train(batches, epochs=3, validation=held_out)
        history["loss"]                     # [2.31, 2.29, ...]
        history.series("validation/loss")   # ([375, 750, 1125], [0.41, 0.27, 0.22])
        history.to_csv("run.csv")

    All numbers are Python's; NaN and infinities are kept. The files replace what was there, whole
    or not at all.
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(self._rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers, in the order in which they came up."""
        return tuple(dict.fromkeys(name for row in self._rows for name in row.values))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, name: str) -> list[float]:
        """All values of one name. Raises UnknownNameError."""
        return self.series(name)[1]

    def __repr__(self) -> str:
        return f"History({len(self._rows)} rows of {', '.join(self.names) or 'nothing'})"

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """The steps that have a value of that name, and the values. Raises UnknownNameError."""
        found = [(row.step, row.values[name]) for row in self._rows if name in row.values]
        if not found:
            hint = nearest(name, self.names) or "; it is empty"
            raise UnknownNameError(f"the history has no {name!r}{hint}")
        return [step for step, _ in found], [value for _, value in found]

    def add(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Note numbers of a step; a second time for the same step and epoch adds to its row.

        Raises InputError for a step before the last, and for what is no number.
        """
        last = self._rows[-1] if self._rows else None
        if last is not None and step < last.step:
            raise InputError(
                f"History.add: steps go up; expected one from {last.step} on, got {step}"
            )
        numbers = {name: _number(name, value) for name, value in values.items()}
        if last is not None and (last.step, last.epoch) == (step, epoch):
            self._rows[-1] = Row(step, epoch, {**last.values, **numbers})
        else:
            self._rows.append(Row(step, epoch, numbers))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write columns `step`, `epoch` and one for each name; what is not known stays empty.

        Each number is the shortest decimal that is exactly it. Raises HistoryWriteError.
        """
        names = self.names
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", "epoch", *names])
        for row in self._rows:
            cells = (repr(row.values[name]) if name in row.values else "" for name in names)
            writer.writerow([row.step, row.epoch, *cells])
        _write(path, text.getvalue().encode())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `{"rows": [{"step": 1, "epoch": 1, "values": {"loss": 0.5}}, ...]}`.

        JSON has no NaN or infinities: they are the strings "NaN", "Infinity" and "-Infinity".
        Raises HistoryWriteError.
        """
        rows = [
            {
                "step": row.step,
                "epoch": row.epoch,
                "values": {name: _json_number(value) for name, value in row.values.items()},
            }
            for row in self._rows
        ]
        _write(path, (json.dumps({"rows": rows}, ensure_ascii=False) + "\n").encode())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw all numbers over the steps into a `.png` or `.svg`.

        A metric and its `validation/` share a panel. Raises InputError for another suffix or an
        empty history, MissingExtraError without matplotlib, and HistoryWriteError.
        """
        kind = Path(path).suffix
        if kind not in (".png", ".svg"):
            raise InputError(f"plot: expected a path that ends in .png or .svg, got {path!r}")
        if not self._rows:
            raise InputError("plot: the history is empty; train first")
        _write(path, self._picture(kind[1:]))

    def _picture(self, kind: str) -> bytes:
        panels: dict[str, list[str]] = {}
        for name in self.names:
            panels.setdefault(name.removeprefix(VALIDATION), []).append(name)
        width, height = _PANEL
        # Not through pyplot, which keeps figures and picks a window system.
        figure = _matplotlib("figure").Figure((width, height * len(panels)), layout="constrained")
        columns = figure.subplots(len(panels), squeeze=False, sharex=True)
        for axes, (title, names) in zip(columns[:, 0], panels.items(), strict=True):
            for name in names:
                steps, values = self.series(name)
                # A single point, or one between two NaN, has no line.
                marker = "." if len(steps) < 100 else None
                axes.plot(steps, values, marker=marker, label=name)
            axes.set_ylabel(title)
            axes.grid(alpha=0.3)
            if len(names) > 1:
                axes.legend()
        columns[-1, 0].set_xlabel("step")
        stream = io.BytesIO()
        # Without the date, the same numbers give the same picture.
        metadata = {"Date": None} if kind == "svg" else {}
        with _matplotlib("").rc_context({"svg.hashsalt": "history"}):
            figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
        return stream.getvalue()


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"History.add: {name!r}: expected a number, got {value!r}") from error


def _json_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _matplotlib(module: str) -> Any:
    try:
        return import_module(f"matplotlib.{module}".rstrip("."))
    except ImportError as error:
        raise MissingExtraError(
            "plot needs matplotlib, which is not installed: pip install 'stepforge[plot]'; "
            "to_csv and to_json need nothing"
        ) from error


def _write(path: str | os.PathLike[str], data: bytes) -> None:
    try:
        write_atomically(Path(path), [data], force=True)
    except UnsyncedError as error:
        raise HistoryWriteError(f"the history {path}: {error.strerror}") from error
    except OSError as error:
        raise HistoryWriteError(
            f"cannot write the history to {os.fspath(path)}: {error}; what was there before is "
            "untouched"
        ) from error
