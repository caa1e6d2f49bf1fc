"""The guarded state of a step: one lock, and the reason why it cannot be used now, if any."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import RLock
from typing import Any, final

from stepforge.runtime.arrays import Array
from stepforge.runtime.bounds import bounds_of
from stepforge.runtime.entry import EntryPoint, steps_of
from stepforge.runtime.errors import (
    BusyError,
    ClosedError,
    DeviceMemoryError,
    ForkedProcessError,
    NotInitializedError,
    StateLostError,
    StepforgeRuntimeError,
)
from stepforge.runtime.executor import Module, Timeline
from stepforge.runtime.inputs import Inputs
from stepforge.runtime.manifest import Manifest, Scalar
from stepforge.runtime.state import State


@final
class Session:
    """The state on its device, from opening to `close`.

    Whoever uses `state`, `entries` or a method below the line "Inside the lock" holds `lock`, and
    has asked `check_usable`, or `check_open` before all of the state is replaced.
    """

    def __init__(self, manifest: Manifest, module: Module) -> None:
        # Its own thread may come again: a mapping or array that it was given may read the step.
        self.lock = RLock()
        self.module = module
        self.state = State(
            manifest.variables, manifest.arenas, module.memory, bounds_of(manifest.groups)
        )
        self._functions = steps_of(manifest.functions)
        self._inputs = Inputs(self._functions, manifest, module.memory)
        self.entries: dict[str, EntryPoint] = {}
        self._bind()
        self._pid = os.getpid()
        # A device with threads of its own does not survive a fork.
        self._threaded = module.device.driver != "local-sync"
        self._closed = False
        # Whether the device may still be at work on the last call.
        self._running = False
        self._busy = BusyError(
            "this thread is in the middle of a step, and a signal handler used it; set a flag in "
            "the handler, and save or stop after the step"
        )
        # Why the state cannot be used now; None when it can.
        self._problem: StepforgeRuntimeError | None = NotInitializedError(
            "there is no state yet: call initialize(parameters) or restore(path) first"
        )

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
        self._closed = True
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
        if self._running:
            self._wait()
        if self._problem is None and not self._threaded:
            return
        if self._problem is not None:
            # A new exception each time: a raised one collects tracebacks.
            raise type(self._problem)(*self._problem.args)
        self.check_open()

    def _wait(self) -> None:
        """Until the device is done; a failure becomes the problem."""
        if not self._running:
            return
        self._running = False
        try:
            self.module.timeline.signal.wait()
        except BaseException as error:
            if not self.module.timeline.reached():
                self._problem = self._lost(error)
            if not isinstance(error, Exception):
                raise

    def run(self, entry: EntryPoint, *, wait: bool = True) -> None:
        """Call and wait; the numbers of the host follow once the device is done.

        wait=False: they follow at once, and whatever uses the session next waits for the device.
        """
        state, timeline = self.state, self.module.timeline
        primitives, following = entry.scalars(state.numbers)
        before = timeline.value
        try:
            self._problem = self._busy
            entry.run(primitives, wait=wait)
            self._running = not wait
            state.numbers.update(following)
            self._problem = None
        except BaseException as error:
            # The device's failure, or what a signal handler raised, between any two lines above.
            self._problem = lost = self._lost(error)
            if timeline.value == before and not isinstance(error, Exception):
                self._problem = None
            elif timeline.value != before and timeline.reached():
                state.numbers.update(following)
                self._problem = None
            elif isinstance(error, Exception):
                raise lost from error
            raise

    def _lost(self, error: BaseException) -> StateLostError:
        text = str(error).split(";\n")[0].strip() or type(error).__name__
        return StateLostError(
            f"device {self.device!r} failed or was interrupted during a step, which may have "
            f"changed part of the state: {text}; restore(path) a checkpoint, or initialize() again"
        )

    def adopt(self, arrays: Mapping[str, Array]) -> None:
        """Let arrays that were checked be the memory of parameters, by path."""
        for path, array in arrays.items():
            self.state.storage.adopt(path, array)
        self._bind()

    def replace(self, values: Mapping[str, Array]) -> None:
        """Write values that were checked; the state counts as lost until all are there."""
        if isinstance(self._problem, StateLostError):
            # A failed semaphore stays failed, so the timeline starts anew.
            try:
                self.module.timeline = Timeline(self.module.device)
                for entry in self.entries.values():
                    entry.bind(self.module)
            except RuntimeError as error:
                raise self._lost(error) from error
        self.write(values, "replacing the state")

    def write(self, values: Mapping[str, Array], what: str) -> None:
        """Write some values that were checked; `what` says what is being done, for messages."""
        self._problem = StateLostError(
            f"{what} broke off half-way; restore(path) a checkpoint, or initialize() again"
        )
        try:
            self.state.write(values)
        except DeviceMemoryError as error:
            self._problem = StateLostError(
                f"{what} failed half-way: {error}; then restore(path) or initialize() again"
            )
            raise self._problem from error
        self._problem = None
