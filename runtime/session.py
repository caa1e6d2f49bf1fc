"""The guarded state of a step: one lock, and the reason why it cannot be used now, if any."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from threading import RLock
from typing import Any, final
from weakref import WeakSet

from stepforge.runtime.arrays import Array
from stepforge.runtime.devices import suspect
from stepforge.runtime.entry import EntryPoint, steps_of
from stepforge.runtime.errors import (
    BusyError,
    ClosedError,
    DeviceMemoryError,
    ForkedProcessError,
    NotInitializedError,
    StateLostError,
    StepFailedError,
    StepforgeRuntimeError,
)
from stepforge.runtime.executor import Module, Timeline
from stepforge.runtime.inputs import Inputs
from stepforge.runtime.manifest import Manifest, Scalar
from stepforge.runtime.state import After, State

PATIENCE = 60.0
"""Seconds that the end of the interpreter waits for a step of another thread."""


@final
class Session:
    """The state on its device, from opening to `close`.

    Whoever uses `state`, `entries` or a method below the line "Inside the lock" holds `lock`, and
    has asked `check_usable`, or `check_open` before all of the state is replaced.
    """

    def __init__(self, manifest: Manifest, module: Module) -> None:
        # Its own thread may come again: a mapping or array that it was given may read the step.
        self.lock = RLock()
        self.entries: dict[str, EntryPoint] = {}
        self._pid = os.getpid()
        self._set_up(manifest, module)
        self._closed = False
        # What is the state once the device is done with the last call, where nobody waited for it.
        self._pending: After | None = None
        # The failure of such a call that is still to be told, where it left the state as it was.
        self._untold: StepFailedError | None = None
        # A failed semaphore stays failed, so the next call needs a new timeline.
        self._spent = False
        self._busy = BusyError(
            "this thread is in the middle of a step, and a signal handler used it; set a flag in "
            "the handler, and save or stop after the step"
        )
        # Why the state cannot be used now; None when it can.
        self._problem: StepforgeRuntimeError | None = NotInitializedError(
            "there is no state yet: call initialize(parameters) or restore(path) first"
        )
        _LIVE.add(self)

    def _set_up(self, manifest: Manifest, module: Module) -> None:
        """Memory for the variables of a manifest; where the device refuses, nothing changed."""
        state = State(manifest, module.memory)
        functions = steps_of(manifest.functions)
        inputs = Inputs(functions, manifest, module.memory)
        self.module, self.state = module, state
        self._functions, self._inputs = functions, inputs
        # A device with threads of its own does not survive a fork.
        self._threaded = module.device.driver != "local-sync"
        self._bind()

    @property
    def device(self) -> str:
        """The device's spec, as "local-sync"."""
        return self.module.device.spec

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> str:
        """Give the state's memory back; returns what any use from now on is told."""
        if self._problem is self._busy:
            self.check_usable()
        self._wait()
        self._closed, self._untold = True, None
        self._problem = ClosedError("this step was closed; load the artifact again")
        self.entries.clear()
        self._inputs.clear()
        self.state.storage.clear()
        return str(self._problem)

    def _bind(self) -> None:
        """Look everything up that the calls are given."""
        for f in self._functions:
            self.entries[f.name] = EntryPoint(f, self.module, self.state, self._inputs)

    # Guarded access, for the mappings.

    def read_variable(self, path: str) -> Array:
        """A copy of a variable, by its exact path."""
        with self.lock:
            self.check_usable()
            return self.state.read(path)

    def write_variable(self, path: str, value: Any) -> None:
        """Replace one variable, by its exact path. Raises InputError."""
        with self.lock:
            self.check_usable()
            self.write({path: self.state.check(path, value)}, f"writing variable {path!r}")

    def read_number(self, path: str) -> Scalar:
        """A variable of rank 0, one of the host as it will be passed; before `initialize`, its
        first value."""
        with self.lock:
            self.check_open()
            self._tell()
            numbers = self.state.numbers
            if isinstance(self._problem, NotInitializedError):
                value = self.state.variables[path].initializer.value
                return numbers.get(path, 0) if value is None else value
            return numbers[path] if path in numbers else self.read_variable(path).item()

    def write_number(self, path: str, value: Scalar) -> None:
        """Set a host variable."""
        with self.lock:
            self.check_usable()
            self.state.numbers[path] = value

    # Inside the lock.

    def check_open(self) -> None:
        """Raise why not even a new state can be put in, if so."""
        self._wait()
        if self._closed or self._problem is self._busy:
            self.check_usable()
        if self._threaded and os.getpid() != self._pid:
            raise ForkedProcessError(
                f"device {self.device!r} was opened by the process that forked this one and does "
                "not work here; load the artifact after the fork, or start processes by spawn"
            )

    def check_usable(self) -> None:
        """Wait for the last call; raise why the state cannot be used, if so."""
        if self._pending is not None:
            self._wait()
        if self._untold is not None:
            self._tell()
        if self._problem is None and not self._threaded:
            return
        if self._problem is not None:
            # A new exception each time: a raised one collects tracebacks.
            raise type(self._problem)(*self._problem.args)
        self.check_open()

    def _wait(self) -> None:
        """Until the device is done; a failure becomes the problem, or is left to tell."""
        after = self._pending
        if after is None:
            return
        try:
            self.module.timeline.signal.wait()
            self.state.follow(after)
            self._pending = None
        except Exception as error:
            if self.module.timeline.reached():
                self.state.follow(after)
            else:
                failure = self._failed(error)
                self._untold = failure if isinstance(failure, StepFailedError) else None
            self._pending = None

    def _tell(self) -> None:
        """Raise the failure of a call that nobody waited for, once."""
        error, self._untold = self._untold, None
        if error is not None:
            raise error

    def run(self, entry: EntryPoint, *, wait: bool = True) -> None:
        """Call and wait; numbers of the host, and which buffers are the state, follow after that.

        wait=False: they follow when something uses the session next, which waits for the device.
        """
        if self._spent:
            self._renew()
        state, timeline = self.state, self.module.timeline
        primitives, following = entry.scalars(state.numbers)
        after = following, state.storage.parity ^ entry.flips
        before = timeline.value
        try:
            self._problem = self._busy
            entry.run(primitives, wait=wait)
            if wait:
                state.follow(after)
            else:
                self._pending = after
            self._problem = None
        except BaseException as error:
            # The device's failure, or what a signal handler raised, between any two lines above.
            moved = timeline.value - before
            self._broken_off(error, after, submitted=moved != 0, complete=moved == entry.calls)
            raise

    def _broken_off(
        self, error: BaseException, after: After, *, submitted: bool, complete: bool
    ) -> None:
        """Settle what the state is after a call that raised; returns if `error` tells all."""
        if not submitted:
            self._problem = None
            return
        # Until it is known better, also where a signal handler raises in between.
        self._spent = True
        self._problem = None if self.state.storage.doubled else self._lost(error)
        if complete and self.module.timeline.reached():
            self.state.follow(after)
            self._spent, self._pending, self._problem = False, None, None
            return
        failure = self._failed(error)
        if isinstance(error, Exception):
            raise failure from error

    def _failed(self, error: BaseException) -> StateLostError | StepFailedError:
        """What a call that did not end well is to whoever uses the session; it is so from now."""
        self._spent, self._pending = True, None
        suspect(self.module.device)
        if not self.state.storage.doubled:
            self._problem = lost = self._lost(error)
            return lost
        self._problem = None
        return StepFailedError(
            f"device {self.device!r} failed or was interrupted during a step: "
            f"{_first_line(error)}; the state is as it was before (update='ping-pong'): step "
            "again, or save it and load the artifact on another device"
        )

    def _lost(self, error: BaseException) -> StateLostError:
        return StateLostError(
            f"device {self.device!r} failed or was interrupted during a step, which may have "
            f"changed part of the state: {_first_line(error)}; restore(path) a checkpoint, or "
            "initialize() again"
        )

    def _renew(self) -> None:
        """Start a new timeline after a failure."""
        try:
            self.module.timeline = Timeline(self.module.device)
            for entry in self.entries.values():
                entry.bind(self.module)
        except RuntimeError as error:
            raise self._failed(error) from error
        self._spent = False

    def define(self, manifest: Manifest, module: Module) -> None:
        """Have other variables, which have no values yet; those of before are gone."""
        if self._spent:
            self._renew()
        self._set_up(manifest, module)
        self._untold = None
        self._problem = NotInitializedError(
            "the variables were defined anew, and writing them broke off: call initialize again"
        )

    def adopt(self, arrays: Mapping[str, Array]) -> None:
        """Let arrays that were checked be the memory of parameters, by path."""
        for path, array in arrays.items():
            self.state.storage.adopt(path, array)
        self._bind()

    def replace(self, values: Mapping[str, Array]) -> None:
        """Write values that were checked; in place, the state counts as lost until all are in."""
        if self._spent:
            self._renew()
        self._untold = None
        if not self.state.storage.all_doubled:
            self.write(values, "replacing the state")
            return
        try:
            after = self.state.write_beside(values)
        except DeviceMemoryError as error:
            raise StepFailedError(
                f"replacing the state failed: {error}; the state is as it was before"
            ) from error
        try:
            self.state.follow(after)
            self._problem = None
        except BaseException:
            # A signal handler's. What has begun is finished.
            self.state.follow(after)
            self._problem = None
            raise

    def write(self, values: Mapping[str, Array], what: str) -> None:
        """Write some values that were checked; `what` says what is being done, for messages."""
        self._problem = _half_way(what)
        try:
            self.state.write(values)
        except DeviceMemoryError as error:
            self._problem = StateLostError(
                f"{what} failed half-way: {error}; then restore(path) or initialize() again"
            )
            raise self._problem from error
        self._problem = None


_LIVE: WeakSet[Session] = WeakSet()


@atexit.register
def _hold() -> None:
    """Let no other thread be inside of IREE when the interpreter ends: it would crash there.

    The main thread comes through: a lock of its own lets it in again.
    """
    for session in list(_LIVE):
        session.lock.acquire(timeout=PATIENCE)


def _half_way(what: str) -> StateLostError:
    return StateLostError(
        f"{what} broke off half-way; restore(path) a checkpoint, or initialize() again"
    )


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0].rstrip("; ").strip() or type(error).__name__
