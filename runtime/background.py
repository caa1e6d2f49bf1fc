"""One piece of work at a time on another thread, whose error is never lost."""

from __future__ import annotations

import threading
import traceback
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from stepforge.runtime.errors import CheckpointWarning, StepforgeRuntimeError


@dataclass(slots=True)
class _Outcome:
    """What the last work came to, apart from the worker, so that it outlives it."""

    error: BaseException | None = None
    # Whoever takes the error takes it alone.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> BaseException | None:
        with self.lock:
            error, self.error = self.error, None
            return error


@final
class Background:
    """Runs what it is given, one after another, at most one at a time.

    The interpreter does not end before the work has. An error is raised by the next `wait`; one
    that nobody waited for is a CheckpointWarning when this object, or the interpreter, ends. The
    work is to know this object, so that it does not end before.
    """

    def __init__(self) -> None:
        self._outcome = _Outcome()
        self._thread: threading.Thread | None = None
        # It also runs when the interpreter ends, after it has waited for all threads.
        weakref.finalize(self, _tell, self._outcome)

    @property
    def running(self) -> bool:
        """Whether work is under way."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def join(self) -> None:
        """Until there is nothing under way; an error is left for `wait`."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            self._thread = None

    def wait(self) -> None:
        """As `join`, and raise the error of work that has failed, if any, once."""
        self.join()
        error = self._outcome.take()
        if error is not None:
            raise error

    def start(self, work: Callable[[], object]) -> None:
        """Run `work` on a thread, after what is under way. Raises what that has raised."""
        self.wait()
        self._thread = threading.Thread(
            target=_run, args=(work, self._outcome), name="stepforge checkpoint"
        )
        self._thread.start()


def _run(work: Callable[[], object], outcome: _Outcome) -> None:
    try:
        work()
    except BaseException as error:
        _let_go(error)
        outcome.error = error


def _let_go(error: BaseException) -> None:
    """Forget where it came through: what is kept there is the state that was to be written, and the
    worker, which would never end. The lines stay as text, where they say more than the message."""
    if not isinstance(error, StepforgeRuntimeError):
        error.add_note("in the background:\n" + "".join(traceback.format_exception(error)))
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__


def _tell(outcome: _Outcome) -> None:
    error = outcome.take()
    if error is not None:
        warnings.warn(
            f"a checkpoint was not written in the background, and nobody waited for it: {error}",
            CheckpointWarning,
            stacklevel=2,
        )
