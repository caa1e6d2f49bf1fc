"""A contender as a process that is asked for one sample at a time, and stopped in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

SCRIPTS = Path(__file__).with_name("contenders")
WORKER = SCRIPTS / "worker.py"

# What a whole process measures of itself; the rest of its answer does not vary.
MEASURES = ("seconds", "resident", "artifact_bytes")

Answer = Mapping[str, Any]


class UnavailableError(Exception):
    """A contender cannot run here; the text says why."""


class Contending(Protocol):
    """What taking turns needs to know of a contender; each method raises UnavailableError."""

    def start(self) -> Answer:
        """Make it ready; returns what is known of it before it runs."""
        ...

    def warm(self, warm: float, sample: float) -> None: ...

    def sample(self) -> Mapping[str, float]: ...

    def close(self) -> None: ...


class Resident:
    """A process that stays: it keeps its arrays, and runs only while it is asked."""

    def __init__(self, python: str, script: str, work: Mapping[str, Any]) -> None:
        self._work = work
        self._loops = 0
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = _spawn(python, script, self._errors)
        except UnavailableError:
            self._errors.close()
            raise

    def start(self) -> Answer:
        return _ready(self._ask(self._work))

    def warm(self, warm: float, sample: float) -> None:
        self._loops = self._ask({"warm": warm, "sample": sample})["loops"]

    def sample(self) -> Mapping[str, float]:
        return self._ask({"loops": self._loops})

    def close(self) -> None:
        _end(self._process)
        self._errors.close()

    def _ask(self, order: Mapping[str, Any]) -> Answer:
        """One answer. The process is stopped before and after: its threads disturb nobody."""
        self._process.send_signal(signal.SIGCONT)
        try:
            return _exchange(self._process, order, self._errors)
        finally:
            self._stop()

    def _stop(self) -> None:
        """Returns when all its threads have stopped, or when it has ended."""
        self._process.send_signal(signal.SIGSTOP)
        if self._process.returncode is None:
            # Nothing is reaped here: the process's end is for Popen to see.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


class Whole:
    """A contender whose every sample is a process of its own, from its start to its end."""

    def __init__(self, python: str, script: str, work: Mapping[str, Any]) -> None:
        self._python, self._script, self._work = python, script, work

    def start(self) -> Answer:
        answer, _ = self._run()
        return {key: value for key, value in answer.items() if key not in MEASURES}

    def warm(self, warm: float, sample: float) -> None:
        """`start` has read every file."""

    def sample(self) -> Mapping[str, float]:
        """The process's own numbers; if it has no time of its own, that of the whole process."""
        answer, seconds = self._run()
        return {"seconds": seconds, **{key: answer[key] for key in MEASURES if key in answer}}

    def close(self) -> None:
        pass

    def _run(self) -> tuple[Answer, float]:
        start = time.perf_counter()
        answer = run_once(self._python, self._script, self._work)
        return answer, time.perf_counter() - start


def run_once(python: str, script: str, work: Mapping[str, Any]) -> Answer:
    """A script that is a whole process, to its end. Raises UnavailableError."""
    with tempfile.TemporaryFile() as errors:
        process = _spawn(python, script, errors)
        try:
            answer = _exchange(process, work, errors)
            process.wait()
        finally:
            _end(process)
    return _ready(answer)


def _spawn(python: str, script: str, errors: IO[bytes]) -> subprocess.Popen[str]:
    command = [python, str(WORKER), str(SCRIPTS / script)]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise UnavailableError(f"{python} does not run: {error.strerror}") from error


def _exchange(
    process: subprocess.Popen[str], order: Mapping[str, Any], errors: IO[bytes]
) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # what it left behind says why
    line = process.stdout.readline()
    if line:
        return json.loads(line)
    code = process.wait()
    errors.seek(0)
    said = [text for text in errors.read().decode("utf-8", "replace").splitlines() if text.strip()]
    raise UnavailableError(f"ended with code {code}: {said[-1] if said else 'it said nothing'}")


def _ready(answer: Answer) -> Answer:
    if "unavailable" in answer:
        raise UnavailableError(answer["unavailable"])
    return answer["ready"]


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
