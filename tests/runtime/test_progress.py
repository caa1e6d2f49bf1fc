"""Progress of a run: a bar on a terminal, lines elsewhere, nothing where none is wanted."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from stepforge.runtime import Trainer
from stepforge.runtime.progress import Moment, Progress
from support import training
from support.training import batches

ERASE = "\r\x1b[K"


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal:
    """Both ends of a pseudo-terminal."""

    def __init__(self, columns: int) -> None:
        self.reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        settings = termios.tcgetattr(writer)
        settings[1] &= ~termios.OPOST  # no carriage return before a line feed
        termios.tcsetattr(writer, termios.TCSANOW, settings)
        self.stream: TextIO = os.fdopen(writer, "w")

    def text(self) -> str:
        """What was written since the last time."""
        os.set_blocking(self.reader, False)
        found = b""
        while True:
            try:
                found += os.read(self.reader, 4096)
            except BlockingIOError:
                return found.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self.reader)


@pytest.fixture(autouse=True)
def _kind_of_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(120)
    yield made
    made.close()


def moment(step: int, fraction: float | None = None, **values: float) -> Moment:
    return Moment(2, 5, step, fraction, values)


# The bar.


def test_bar(terminal: Terminal) -> None:
    clock = Clock()
    progress = Progress(terminal.stream, clock)
    progress.begin(100, 0.0)
    clock.now += 10
    progress.update(moment(350, 0.25, mae=0.5, learning_rate=1e-3, loss=0.123456))
    assert terminal.text() == (
        f"{ERASE}epoch 2/5  [#####...............]  25%  step 350  25 steps/s  loss 0.1235  "
        "learning rate 0.001  mae 0.5  0:30 left"
    )
    clock.now += 0.05
    progress.update(moment(351, 0.26))
    assert terminal.text() == ""
    clock.now += 3600
    progress.update(moment(352, 0.5))
    assert terminal.text().endswith("1:00:10 left")
    progress.finish_epoch(moment(360, 0.5, loss=2.0))
    assert terminal.text() == f"{ERASE}epoch 2/5  step 360  loss 2  1:00:10\n"
    progress.close()
    assert terminal.text() == ""


def test_what_was_done_before_does_not_count(terminal: Terminal) -> None:
    clock = Clock()
    progress = Progress(terminal.stream, clock)
    progress.begin(1000, 0.5)
    clock.now += 10
    progress.update(moment(1100, 0.6))
    text = terminal.text()
    assert "10 steps/s" in text
    assert text.endswith("0:40 left")


def test_an_end_that_is_not_known(terminal: Terminal) -> None:
    clock = Clock()
    progress = Progress(terminal.stream, clock)
    progress.begin(0, None)
    clock.now += 1
    progress.update(Moment(1, None, 3, None, {"loss": float("nan")}))
    assert terminal.text() == f"{ERASE}epoch 1  step 3  3 steps/s  loss nan"
    progress.close()
    assert terminal.text() == "\n"


@pytest.mark.parametrize("columns", [1, 20, 60])
def test_never_wider_than_the_terminal(columns: int) -> None:
    terminal = Terminal(columns)
    clock = Clock()
    progress = Progress(terminal.stream, clock)
    clock.now += 1
    progress.update(moment(1, 0.5, loss=1.0))
    text = terminal.text().removeprefix(ERASE)
    assert len(text) == columns - 1
    assert "epoch 2/5  [##########"[: columns - 1] == text[:22]
    terminal.close()


# Elsewhere.


def test_lines() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock)
    progress.begin(0, 0.0)
    clock.now += 9
    progress.update(moment(9, 0.1))
    assert stream.getvalue() == ""
    clock.now += 1
    progress.update(moment(10, 0.1, loss=1.5))
    progress.finish_epoch(moment(12, 0.2, loss=1.25))
    progress.close()
    assert stream.getvalue().splitlines() == [
        "epoch 2/5  [##..................]  10%  step 10  1 steps/s  loss 1.5  1:30 left",
        "epoch 2/5  step 12  loss 1.25  0:10",
    ]


def test_a_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    Progress(terminal.stream, Clock()).finish_epoch(moment(1))
    assert terminal.text() == "epoch 2/5  step 1  0:00\n"


class Broken(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str, /) -> int:
        raise BrokenPipeError


def test_writing_never_fails(tmp_path: Path) -> None:
    closed = io.StringIO()
    closed.close()
    with (tmp_path / "ascii").open("w", encoding="ascii") as narrow:
        for stream in (Broken(), closed, narrow):
            progress = Progress(stream, Clock())
            progress.finish_epoch(moment(1, **{"ü": 1.0}))
            progress.close()


# In a run.


def run(progress: bool | None) -> None:
    with training.load(1) as step:
        trainer = Trainer(step, progress=progress)
        trainer.train(batches(3), epochs=2, validation=batches(1, seed=1))


@pytest.mark.compiler
@pytest.mark.parametrize("progress", [None, True])
def test_a_run_on_a_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, progress: bool | None
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    run(progress)
    lines = terminal.text().splitlines()
    ends = [line for line in lines if "validation/loss" in line]
    assert [line.split("  ")[:2] for line in ends] == [
        ["\x1b[Kepoch 1/2", "step 3"],
        ["\x1b[Kepoch 2/2", "step 6"],
    ]
    assert "learning rate 0.001" in ends[0]


@pytest.mark.compiler
@pytest.mark.parametrize("progress", [None, True, False])
def test_a_run_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    run(progress)
    written = capsys.readouterr()
    assert written.out == ""
    lines = written.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == (
        ["epoch 1/2", "epoch 2/2"] if progress else []
    )
    monkeypatch.setattr(sys, "stderr", None)
    run(progress)


@pytest.mark.compiler
def test_no_progress_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    run(False)
    assert terminal.text() == ""


def test_needs_no_terminal_to_import() -> None:
    code = "import stepforge.runtime.trainer as t; print(t.Trainer.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=-3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Trainer\n", "")
