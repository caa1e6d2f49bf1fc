"""`CompiledStep`: the state of one optimizer on one device, and stepping it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import RLock
from types import TracebackType
from typing import Any, NoReturn

from stepforge.runtime.arrays import Array
from stepforge.runtime.bounds import bounds_of
from stepforge.runtime.checkpoint import Contents, Origin, Snapshot, read_checkpoint
from stepforge.runtime.entry import EntryPoint, shared_inputs
from stepforge.runtime.errors import (
    BusyError,
    ClosedError,
    DeviceMemoryError,
    ForkedProcessError,
    HostMemoryError,
    InputError,
    NotInitializedError,
    StateLostError,
    StepforgeRuntimeError,
    UnknownNameError,
)
from stepforge.runtime.executor import Module, Timeline
from stepforge.runtime.hyperparameters import Hyperparameters
from stepforge.runtime.manifest import Manifest, Scalar
from stepforge.runtime.mappings import Gradients, Values, by_path, find_path, plain
from stepforge.runtime.names import listed, nearest
from stepforge.runtime.nan_logger import NONFINITE, NanReport, Tracer, tell
from stepforge.runtime.state import State

GLOBAL_STEP = "/global_step"
LEARNING_RATE = "learning_rate"
ACCUMULATE_STEPS = "/trainer/accumulate_steps"
MICRO_STEP = "/trainer/micro_step"


class CompiledStep:
    """An optimizer loaded on a device; `stepforge.runtime.load` makes one.

    It owns the state. All methods may be called from several threads: each takes effect as a whole.
    After any of the runtime's errors but StateLostError the state is as it was. What something else
    raises (Ctrl-C, a signal handler, a tracer) comes through as it is, before a step or after it;
    where it broke the device's work off, every use from then on raises StateLostError until
    `initialize` or `restore` (and an Exception becomes the cause of one at once).
    """

    def __init__(self, manifest: Manifest, module: Module, sha256: str = "") -> None:
        self._manifest = manifest
        self._sha256 = sha256
        # Its own thread may come again: a mapping or array that it was given may read the step.
        self._lock = RLock()
        self._pid = os.getpid()
        self._module = module
        # A device with threads of its own does not survive a fork.
        self._threaded = module.device.driver != "local-sync"
        self._state = State(manifest.variables, module.memory, bounds_of(manifest.groups))
        functions = tuple(f for f in manifest.functions if f.name != "self_test")
        inputs = shared_inputs(functions, module.memory)
        self._entries = {f.name: EntryPoint(f, module, self._state, inputs) for f in functions}
        self._default = _default(self._entries)
        self._tracers: tuple[Tracer, ...] = ()
        self._closed = False
        self._busy = BusyError(
            "this thread is in the middle of a step, and a signal handler used it; set a flag in "
            "the handler, and save or stop after the step"
        )
        # Why the state cannot be used now; None when it can.
        self._problem: StepforgeRuntimeError | None = NotInitializedError(
            "there is no state yet: call initialize(parameters) or restore(path) first"
        )
        parameters = [v.name for v in manifest.variables if v.role == "parameter"]
        self._parameters = Values(parameters, self, "parameter", plain=True)
        self._variables = Values(list(self._state.variables), self, "variable", plain=False)
        self._gradients = Gradients(
            {path: a for entry in self._entries.values() for path, a in entry.gradients.items()}
        )
        self._hyperparameters = Hyperparameters(manifest.groups, self)

    # What there is.

    @property
    def manifest(self) -> Manifest:
        """What the artifact says of itself."""
        return self._manifest

    @property
    def device(self) -> str:
        """The device's spec, as "local-sync"."""
        return self._module.device.spec

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the entry points."""
        return tuple(f.name for f in self._manifest.functions if f.name != "self_test")

    @property
    def parameters(self) -> Values:
        """Name -> array. Reading copies; assigning leaves slots and counters alone."""
        return self._parameters

    @property
    def variables(self) -> Values:
        """Path -> array, of everything: `/AdamOptimizer/encoder/w_1st_moment`, `/global_step`."""
        return self._variables

    @property
    def gradients(self) -> Gradients:
        """Name -> writable host memory; fill it and call `step()` without argument."""
        return self._gradients

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Name -> value; assigning changes a settable one."""
        return self._hyperparameters

    @property
    def learning_rate(self) -> float:
        """The learning rate; with a schedule, the one that the last step used."""
        return float(self._hyperparameters[LEARNING_RATE])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._hyperparameters[LEARNING_RATE] = value

    @property
    def global_step(self) -> int:
        """How many steps were taken since `initialize`."""
        return int(self.read_variable(find_path(GLOBAL_STEP, self._state.variables, "variable")))

    def view(self, name: str) -> Array:
        """The parameter's own memory, where that is the host's: it changes with every step.

        Raises HostMemoryError on other devices; read `parameters[name]`, a copy, there.
        """
        path = find_path(name, self._parameter_paths(), "parameter")
        with self._lock:
            self._check_usable()
            array = self._state.tensors[path].array
        if array is None:
            raise HostMemoryError(
                f"view: the memory of device {self.device!r} is not the host's; read "
                f"parameters[{name!r}], which copies"
            )
        return array

    # The life of the state.

    def initialize(self, parameters: Mapping[str, Any] | None = None) -> None:
        """Reset everything: parameters to the given arrays or their initializers, the rest to its
        first values. Raises InputError when one is missing or does not fit.
        """
        given = by_path(
            {} if parameters is None else parameters, self._state.variables, "initialize"
        )
        with self._lock:
            self._check_open()
            self._replace(self._state.initial(given))

    def step(
        self, gradients: Mapping[str, Any] | None = None, *, function: str | None = None
    ) -> None:
        """Take one step in place, with the given gradients or those in `self.gradients`.

        gradients: parameter name -> array of the parameter's shape and the gradient's dtype;
        function: the entry point, where the artifact has several.
        Raises GradientError and NotInitializedError before anything has changed, and
        StateLostError when the device fails.
        """
        entry = self._default if function is None else self._entry(function)
        if gradients is not None and gradients.__class__ is not dict:
            # Outside the lock: another step's parameters take the lock of that step.
            gradients = plain(gradients)
        with self._lock:
            if self._problem is not None or (self._threaded and os.getpid() != self._pid):
                self._check_usable()
            if entry is None or not entry.takes_gradients:
                self._refuse_function(function)
            if gradients is not None:
                entry.load(gradients)
            self._run(entry)
            tracers = self._tracers
            if not tracers:
                return
            found = self._nonfinite(entry)
        # Outside the lock: a tracer may use the step.
        tell(tracers, found)

    def train_step(self, /, **inputs: Any) -> dict[str, Any]:
        """Train on one batch, in place: the loss and the metrics by name, numbers where of rank 0.

        inputs: by name, arrays of exactly the shapes and dtypes that were compiled. Where an update
        takes several micro-batches (`/trainer/accumulate_steps`), each call gives one; the last of
        them updates. Raises InputError before anything has changed, StateLostError when the device
        fails.
        """
        return self._call(self._next_training_function(), inputs)

    def evaluate(self, /, **inputs: Any) -> dict[str, Any]:
        """The loss and the metrics of one batch; nothing is changed. As `train_step` otherwise."""
        return self._call("evaluate", inputs)

    def predict(self, /, **inputs: Any) -> dict[str, Any]:
        """The model's predictions by name; of the inputs, only those that they need are given."""
        return self._call("predict", inputs)

    def snapshot(self) -> Snapshot:
        """A copy of the whole state, on the host; its `write(path)` may be called by any thread."""
        with self._lock:
            self._check_usable()
            return Snapshot(self._state.snapshot(), self._origin())

    def save(
        self, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write the whole state to one safetensors file, atomically. The file is written outside
        the lock, from a snapshot. `metadata` are texts to keep with it, by name.
        Raises CheckpointWriteError, and InputError for metadata that is no short text.
        """
        self.snapshot().write(path, metadata)

    def restore(
        self, path: str | os.PathLike[str], *, check: Callable[[Contents], object] | None = None
    ) -> dict[str, str]:
        """Replace the whole state by a saved one; returns the metadata given to `save`.

        check: called with what was read, before anything is replaced; what it raises comes through.
        Raises CheckpointError when it does not fit, and OSError when it cannot be read; then
        nothing changed.
        """
        contents = read_checkpoint(path, self._manifest)
        if check is not None:
            check(contents)
        with self._lock:
            self._check_open()
            self._replace(contents.values)
        return contents.metadata

    def close(self) -> None:
        """Give the device's memory back, also that of `gradients`. Twice is fine.

        Any other use then raises ClosedError, but for what the artifact says: `manifest`, `device`,
        `functions`, names, and hyperparameters that were compiled in. Arrays that the caller still
        holds stay valid.
        """
        with self._lock:
            if self._problem is self._busy:
                self._check_usable()
            self._closed = True
            self._problem = ClosedError("this step was closed; load the artifact again")
            self._default = None
            self._entries.clear()
            self._state.tensors.clear()
            self._gradients.close(str(self._problem))
            self._tracers = ()

    def attach_tracer(self, tracer: Tracer) -> None:
        """Tell `tracer` of non-finite gradients.

        Raises InputError when they are not counted, or `tracer` has no method `trace`.
        """
        if not callable(getattr(tracer, "trace", None)):
            raise InputError(
                f"attach_tracer: expected an object with a method trace(count, *scopes), as "
                f"NanLogger() is one, got {tracer!r}"
            )
        if not self._manifest.nan_tracing:
            raise InputError(
                "the artifact does not count non-finite values; compile it with nanlogger=True "
                "(--set nanlogger=true)"
            )
        with self._lock:
            self._check_open()
            self._tracers = (*self._tracers, tracer)

    def detach_tracer(self, tracer: Tracer) -> None:
        """Stop telling `tracer`; does nothing when it was not attached."""
        with self._lock:
            self._tracers = tuple(t for t in self._tracers if t is not tracer)

    def __enter__(self) -> CompiledStep:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.device
        return (
            f"CompiledStep({self._manifest.formula!r}, {len(self._parameters)} parameters, {state})"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a CompiledStep lives on a device and cannot be pickled or copied; save(path) its "
            "state and load the artifact where it is needed"
        )

    # Guarded access, for the mappings.

    def read_variable(self, path: str) -> Array:
        """A copy of a variable, by its exact path."""
        with self._lock:
            self._check_usable()
            return self._state.read(path)

    def write_variable(self, path: str, value: Any) -> None:
        """Replace one variable, by its exact path. Raises InputError."""
        with self._lock:
            self._check_usable()
            self._write({path: self._state.check(path, value)}, f"writing variable {path!r}")

    def read_number(self, path: str) -> Scalar:
        """A host variable as it will be passed; before `initialize`, its first value."""
        with self._lock:
            self._check_open()
            if isinstance(self._problem, NotInitializedError):
                value = self._state.variables[path].initializer.value
                return self._state.numbers[path] if value is None else value
            return self._state.numbers[path]

    def write_number(self, path: str, value: Scalar) -> None:
        """Set a host variable."""
        with self._lock:
            self._check_usable()
            self._state.numbers[path] = value

    # Inside the lock.

    def _call(self, function: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run an entry point of a training artifact."""
        with self._lock:
            self._check_usable()
            entry = self._entry(function)
            if entry is None or entry.takes_gradients:
                self._refuse_call(function)
            entry.load_inputs(inputs)
            self._run(entry)
            results = entry.results(NONFINITE)
            tracers = self._tracers
            found = self._nonfinite(entry) if tracers else ()
        # Outside the lock: a tracer may use the step.
        tell(tracers, found)
        return results

    def _next_training_function(self) -> str:
        numbers = self._state.numbers
        if numbers.get(MICRO_STEP, 0) + 1 < numbers.get(ACCUMULATE_STEPS, 1):
            return "accumulate"
        return "train_step"

    def _run(self, entry: EntryPoint) -> None:
        state, timeline = self._state, self._module.timeline
        primitives, following = entry.scalars(state.numbers)
        before = timeline.value
        try:
            self._problem = self._busy
            entry.run(primitives)
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

    def _replace(self, values: Mapping[str, Array]) -> None:
        """Write values that were checked; the state counts as lost until all are there."""
        if isinstance(self._problem, StateLostError):
            # A failed semaphore stays failed, so the timeline starts anew.
            try:
                self._module.timeline = Timeline(self._module.device)
                for entry in self._entries.values():
                    entry.bind(self._module)
            except RuntimeError as error:
                raise self._lost(error) from error
        self._write(values, "replacing the state")

    def _write(self, values: Mapping[str, Array], what: str) -> None:
        self._problem = StateLostError(
            f"{what} broke off half-way; restore(path) a checkpoint, or initialize() again"
        )
        try:
            for path, value in values.items():
                self._state.write(path, value)
        except DeviceMemoryError as error:
            self._problem = StateLostError(
                f"{what} failed half-way: {error}; then restore(path) or initialize() again"
            )
            raise self._problem from error
        self._problem = None

    def _check_open(self) -> None:
        if self._closed or self._problem is self._busy:
            self._check_usable()
        if self._threaded and os.getpid() != self._pid:
            raise ForkedProcessError(
                f"device {self.device!r} was opened by the process that forked this one and does "
                "not work here; load the artifact after the fork, or start processes by spawn"
            )

    def _check_usable(self) -> None:
        if self._problem is not None:
            # A new exception each time: a raised one collects tracebacks.
            raise type(self._problem)(*self._problem.args)
        self._check_open()

    def _nonfinite(self, entry: EntryPoint) -> tuple[NanReport, ...]:
        number = int(self._state.numbers.get(GLOBAL_STEP, 0))
        counts = entry.outputs(NONFINITE)
        return tuple(NanReport(path, number, int(c)) for path, c in counts.items() if c)

    def _entry(self, function: object) -> EntryPoint | None:
        return self._entries.get(function) if isinstance(function, str) else None

    def _refuse_call(self, function: str) -> NoReturn:
        if function in self._entries or "train_step" not in self._entries:
            raise InputError(
                f"{function}: the artifact updates from gradients; call step(gradients), or "
                "compile the model's loss into it (compile_train_step, --model)"
            )
        raise InputError(
            f"{function}: the artifact has only {listed(self._entries)}; return "
            "TrainOutputs(predictions=...) from the loss function and compile it again"
        )

    def _refuse_function(self, function: object) -> NoReturn:
        if "train_step" in self._entries:
            raise InputError(
                "step: the artifact computes its own gradients; call train_step(**inputs)"
            )
        if function is None:
            raise InputError(
                f"the artifact has several entry points; name one: step(gradients, function=...), "
                f"of {listed(self._entries)}"
            )
        hint = nearest(str(function), self._entries)
        raise UnknownNameError(f"no entry point {function!r}{hint}")

    def _parameter_paths(self) -> list[str]:
        return [v.name for v in self._manifest.variables if v.role == "parameter"]

    def _origin(self) -> Origin:
        baked = {
            item.name: item.value
            for group in self._manifest.groups
            for item in group.hyperparameters
        }
        return Origin(self._manifest, self._sha256, baked)


def _default(entries: Mapping[str, EntryPoint]) -> EntryPoint | None:
    """The only entry point, or the one named `step`; else the caller has to say."""
    if len(entries) == 1:
        return next(iter(entries.values()))
    return entries.get("step")
