"""Progress of a training run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

BAR_SECONDS = 0.1
"""A bar is drawn no more often than that."""
LINE_SECONDS = 10.0
"""Lines elsewhere come no more often than that."""

_CELLS = 20
_ERASE = "\r\x1b[K"
_FIRST = ("loss", "learning_rate")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the run is."""

    epoch: int
    epochs: int | None
    """How many there will be; None: as many as it takes."""
    step: int
    """The global step."""
    fraction: float | None
    """How much of the run is done, from 0 to 1; None: not known."""
    values: Mapping[str, float]


class Progress:
    """Draws to a stream; failing to write never stops a run.

    stream: a terminal gets a bar, which is drawn over itself; anything else gets lines.
    clock: seconds, from any origin.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = is_terminal(stream)
        self._pause = BAR_SECONDS if self._terminal else LINE_SECONDS
        self._began = clock()
        self._drawn = self._began
        self._first: tuple[int, float | None] = (0, None)
        self._open = False

    def begin(self, step: int, fraction: float | None) -> None:
        """What is done already does not count for the rate."""
        self._began = self._drawn = self._clock()
        self._first = (step, fraction)

    @property
    def due(self) -> bool:
        """Whether `update` would draw."""
        return self._clock() - self._drawn >= self._pause

    def update(self, moment: Moment) -> None:
        """Draw the moment, if the last time was long enough ago."""
        if not self.due:
            return
        self._drawn = self._clock()
        if not self._terminal:
            self._write(self._text(moment) + "\n")
            return
        self._open = True
        width = _width(self._stream)
        self._write(_ERASE + self._text(moment)[: width - 1])

    def finish_epoch(self, moment: Moment) -> None:
        """Print a line that stays, with the numbers of the whole epoch."""
        passed = _duration(self._clock() - self._began)
        text = "  ".join(
            [_counted(moment), f"step {moment.step}", *_numbers(moment.values), passed]
        )
        self._write((_ERASE if self._terminal else "") + text + "\n")
        self._open = False

    def close(self) -> None:
        """Leave what was drawn last, and the cursor below it."""
        if self._open:
            self._write("\n")
            self._open = False

    def _text(self, moment: Moment) -> str:
        elapsed = self._drawn - self._began
        parts = [_counted(moment)]
        if moment.fraction is not None:
            parts.append(f"{_bar(moment.fraction)} {moment.fraction:4.0%}")
        parts.append(f"step {moment.step}")
        if elapsed > 0:
            parts.append(f"{_short((moment.step - self._first[0]) / elapsed)} steps/s")
        parts += _numbers(moment.values)
        left = self._left(moment.fraction, elapsed)
        if left is not None:
            parts.append(f"{_duration(left)} left")
        return "  ".join(parts)

    def _left(self, fraction: float | None, elapsed: float) -> float | None:
        if fraction is None:
            return None
        done = fraction - (self._first[1] or 0.0)
        return elapsed * (1 - fraction) / done if done > 0 else None

    def _write(self, text: str) -> None:
        # A closed pipe or stream, or one that cannot spell a name.
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Whether a line there can be drawn over."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:
        return False


def _width(stream: TextIO) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return columns or shutil.get_terminal_size().columns


def _counted(moment: Moment) -> str:
    return f"epoch {moment.epoch}" + ("" if moment.epochs is None else f"/{moment.epochs}")


def _bar(fraction: float) -> str:
    filled = min(int(fraction * _CELLS), _CELLS)
    return f"[{'#' * filled}{'.' * (_CELLS - filled)}]"


def _numbers(values: Mapping[str, float]) -> list[str]:
    first = [name for name in _FIRST if name in values]
    names = [*first, *(name for name in values if name not in first)]
    return [f"{name.replace('_', ' ')} {_short(values[name])}" for name in names]


def _short(value: float) -> str:
    return f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
