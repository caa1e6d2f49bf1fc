"""`CompiledStep`: the state of one optimizer on one device, and stepping it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn

from stepforge.runtime.adoption import Adoption
from stepforge.runtime.any_length import define
from stepforge.runtime.arrays import Array
from stepforge.runtime.batch_sizes import plain_names, sized_functions
from stepforge.runtime.checkpoint import Contents, Origin, Snapshot, read_checkpoint
from stepforge.runtime.definition import manifest_for, of_arrays, same_variables
from stepforge.runtime.entry import EntryPoint, default_entry, gradients_of, steps_of
from stepforge.runtime.errors import (
    CheckpointError,
    HostMemoryError,
    InputError,
    UnknownNameError,
)
from stepforge.runtime.executor import Module
from stepforge.runtime.hyperparameters import Hyperparameters
from stepforge.runtime.manifest import Manifest, Scalar
from stepforge.runtime.mappings import Gradients, Slots, Values, by_path, find_path, plain
from stepforge.runtime.names import listed
from stepforge.runtime.nan_logger import NONFINITE, NanReport, Tracer, check_tracer, tell
from stepforge.runtime.phases import Phase, find_phase, is_phase
from stepforge.runtime.refusals import refuse_call, refuse_step
from stepforge.runtime.session import Session

GLOBAL_STEP = "/global_step"
LEARNING_RATE = "learning_rate"
TRAIN_STEP = "train_step"
ACCUMULATE_STEPS = "/trainer/accumulate_steps"
MICRO_STEP = "/trainer/micro_step"


class CompiledStep:
    """An optimizer loaded on a device; `stepforge.runtime.load` makes one.

    It owns the state. All methods may be called from several threads: each takes effect as a whole.
    After any of the runtime's errors but StateLostError the state is as it was. What something else
    raises (Ctrl-C, a signal handler, a tracer) comes through as it is, before a step or after it;
    where it broke the device's work off, every use from then on raises StateLostError until
    `initialize` or `restore` (and an Exception becomes the cause of one at once). An artifact
    compiled with update="ping-pong" raises StepFailedError instead, and its state is as it was.
    """

    def __init__(
        self,
        manifest: Manifest,
        module: Module,
        sha256: str = "",
        *,
        adopt: bool = False,
        reopen: Callable[[Manifest], Module] | None = None,
    ) -> None:
        self._adoption = Adoption(module.device, manifest) if adopt else None
        # Of any length: what each definition of the variables is made of.
        self._pattern = None if manifest.length is None else manifest
        self._reopen = reopen
        manifest = manifest if self._pattern is None else define(manifest, {})
        self._manifest = manifest
        self._sha256 = sha256
        self._session = session = Session(manifest, module)
        self._entries = session.entries
        self._default = default_entry(session.entries)
        self._sized = sized_functions(manifest.functions)
        self._tracers: tuple[Tracer, ...] = ()
        self._parameters = Values(self._parameter_paths(), session, "parameter", plain=True)
        self._variables = Values(list(session.state.variables), session, "variable", plain=False)
        self._gradients = Gradients(gradients_of(self._entries))
        self._hyperparameters = Hyperparameters(manifest.groups, session)

    # What there is.

    @property
    def manifest(self) -> Manifest:
        """What the artifact says of itself; of any length, with the variables that it has now."""
        return self._manifest

    @property
    def any_length(self) -> bool:
        """Whether `initialize` and `restore` say which variables there are."""
        return self._pattern is not None

    @property
    def device(self) -> str:
        """The device's spec, as "local-sync"."""
        return self._session.device

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the entry points."""
        return tuple(f.name for f in steps_of(self._manifest.functions))

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """How many rows a batch may have, where the artifact serves several sizes; else empty."""
        sized = self._sized.get(TRAIN_STEP)
        return () if sized is None else tuple(sorted(sized.functions))

    @property
    def parameters(self) -> Values:
        """Name -> array. Reading copies; assigning leaves slots and counters alone."""
        return self._parameters

    @property
    def variables(self) -> Values:
        """Path -> array, of everything: `/AdamOptimizer/encoder/w_1st_moment`, `/global_step`."""
        return self._variables

    def slots(self, kind: str) -> Slots:
        """Parameter name -> array, of one kind of slot, such as "ema" or "1st_moment".

        Reading copies; assign through `variables`. Raises UnknownNameError for a kind that no
        optimizer of the artifact keeps, and InputError for one that several keep.
        """
        slots = [v for v in self._manifest.variables if v.slot is not None]
        found = [v for v in slots if v.slot == kind]
        if not found:
            kinds = list(dict.fromkeys(v.slot or "" for v in slots))
            raise UnknownNameError(f"no slots {kind!r}; there are {listed(kinds) or 'none'}")
        paths = {v.of or "": v.name for v in found}
        if len(paths) < len(found):
            raise InputError(
                f"slots: several optimizers keep {kind!r}; read variables[path], of "
                f"{listed([v.name for v in found])}"
            )
        return Slots(paths, self._session)

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
        """How many steps were taken since `initialize`; skipped ones do not count."""
        return int(self._variables[GLOBAL_STEP])

    def view(self, name: str) -> Array:
        """The parameter's own memory, where that is the host's: it changes with every step.

        Raises HostMemoryError on other devices; read `parameters[name]`, a copy, there.
        """
        path = find_path(name, self._parameter_paths(), "parameter")
        with self._session.lock:
            self._session.check_usable()
            storage = self._session.state.storage
            if storage.doubled:
                raise HostMemoryError(
                    "view: the artifact updates by ping-pong, so each step puts the parameters "
                    f"elsewhere; read parameters[{name!r}], which copies"
                )
            array = storage.tensor(path).array
        if array is None:
            raise HostMemoryError(
                f"view: the memory of device {self.device!r} is not the host's; read "
                f"parameters[{name!r}], which copies"
            )
        return array

    # The life of the state.

    def initialize(self, parameters: Mapping[str, Any] | None = None, *, seed: int = 0) -> None:
        """Reset everything: parameters to the given arrays or their initializers, the rest to its
        first values. Raises InputError when one is missing or does not fit.

        An artifact of any length has the variables of these arrays from now on, whatever their
        names and shapes; `gradients` that were looked up before are no longer read.
        With `storage="adopt"` the given arrays become the parameters' own memory, which every step
        writes: they are not copied, and must be given for every parameter the first time.
        seed: draws other random values, modulo 2^64. They are computed on the host, so equal seeds
        give equal bits on every device; the artifact's own function `initialize`, for hosts
        without Python, rounds as its device does (docs/abi.md).
        """
        if type(seed) is not int:
            raise InputError(f"initialize: expected an integer as seed, got {seed!r}")
        defined = None if self._pattern is None else of_arrays(self._pattern, parameters)
        manifest, given = defined or (
            self._manifest,
            by_path(
                {} if parameters is None else parameters,
                self._session.state.variables,
                "initialize",
            ),
        )
        with self._session.lock:
            self._session.check_open()
            self._define(manifest)
            values = self._session.state.initial(given, seed)
            if self._adoption is not None:
                self._session.adopt(self._adoption.take(given))
                self._default = default_entry(self._entries)
            self._session.replace(values)

    def step(
        self,
        gradients: Mapping[str, Any] | None = None,
        *,
        function: str | None = None,
        wait: bool = True,
    ) -> None:
        """Take one step in place, with the given gradients or those in `self.gradients`.

        gradients: parameter name -> array of the parameter's shape and the gradient's dtype;
        function: the entry point, where the artifact has several.
        wait: False returns when the step is under way on the device. Whatever uses this object next
        waits for it, and raises the StateLostError of a device that failed; the arrays of
        `self.gradients` and of `view` may be touched again after `synchronize()`. With a tracer
        attached every step waits.
        Raises GradientError and NotInitializedError before anything has changed, and
        StateLostError when the device fails.
        """
        entry = self._default if function is None else self._entry(function)
        if gradients is not None and gradients.__class__ is not dict:
            # Outside the lock: another step's parameters take the lock of that step.
            gradients = plain(gradients)
        with self._session.lock:
            self._session.check_usable()
            if entry is None or not entry.is_step:
                refuse_step(function, self._entries)
            if gradients is not None:
                entry.load(gradients)
            tracers = self._tracers
            self._session.run(entry, wait=wait or bool(tracers))
            if not tracers:
                return
            found = self._nonfinite(entry)
        # Outside the lock: a tracer may use the step.
        tell(tracers, found)

    def reduce(
        self, gradients: Mapping[str, Any] | None = None, *, function: str | None = None
    ) -> Array:
        """The first phase of a step: what it sums over all gradients. The state is only read.

        For steps that some share between them: the partials of all, added up, are what each gives
        to `apply`. gradients, function: as `step` takes them; also what it raises, and InputError
        for an artifact that was compiled without phases.
        """
        given = plain(gradients)  # outside the lock, as for a step
        with self._session.lock:
            self._session.check_usable()
            entry = self._phase(function, "reduce")
            if given is not None:
                entry.load(given)
            self._session.run(entry)
            return entry.partials()

    def apply(
        self,
        gradients: Mapping[str, Any] | None,
        partials: Any,
        *,
        function: str | None = None,
        wait: bool = True,
    ) -> None:
        """The second phase: one step in place, with sums over all gradients from outside.

        gradients: None takes those in `self.gradients`, which `reduce` was given. partials: an
        array as `reduce` returns it, the sum of all shards'. The rest is as in `step`.
        """
        given = plain(gradients)  # outside the lock, as for a step
        with self._session.lock:
            self._session.check_usable()
            entry = self._phase(function, "apply")
            sums = entry.check_partials(partials)
            if given is not None:
                entry.load(given)
            entry.load_partials(sums)
            tracers = self._tracers
            self._session.run(entry, wait=wait or bool(tracers))
            found = self._nonfinite(entry) if tracers else ()
        # Outside the lock: a tracer may use the step.
        tell(tracers, found)

    def synchronize(self) -> None:
        """Wait for a step that was taken with `wait=False`. Raises StateLostError if it failed."""
        with self._session.lock:
            self._session.check_usable()

    def train_step(self, /, **inputs: Any) -> dict[str, Any]:
        """Train on one batch, in place: the loss and the metrics by name, numbers where of rank 0.

        inputs: by name, arrays of exactly the shapes and dtypes that were compiled; where there are
        several `batch_sizes`, of one of them. Where an update takes several micro-batches
        (`/trainer/accumulate_steps`), each call gives one; the last of them updates. Raises
        InputError before anything has changed, StateLostError when the device fails.
        """
        return self._call(TRAIN_STEP, inputs)

    def evaluate(self, /, **inputs: Any) -> dict[str, Any]:
        """The loss and the metrics of one batch; nothing is changed. As `train_step` otherwise."""
        return self._call("evaluate", inputs)

    def predict(self, /, **inputs: Any) -> dict[str, Any]:
        """The model's predictions by name; of the inputs, only those that they need are given."""
        return self._call("predict", inputs)

    def snapshot(self) -> Snapshot:
        """A copy of the whole state, on the host; its `write(path)` may be called by any thread."""
        with self._session.lock:
            self._session.check_usable()
            return Snapshot(self._session.state.snapshot(), Origin(self._manifest, self._sha256))

    def save(
        self, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write the whole state to one safetensors file, atomically. The file is written outside
        the lock, from a snapshot. `metadata` are texts to keep with it, by name.
        Raises CheckpointWriteError, and InputError for metadata that is no short text.
        """
        self.snapshot().write(path, metadata)

    def restore(
        self,
        path: str | os.PathLike[str],
        *,
        strict: bool = False,
        check: Callable[[Contents], object] | None = None,
    ) -> dict[str, str]:
        """Replace the whole state by a saved one; returns the metadata given to `save`.

        An artifact of any length has the variables of the file from now on.
        strict: other compiled hyperparameters are an error, and not only a CheckpointWarning.
        check: called with what was read, before anything is replaced; what it raises comes through.
        Raises CheckpointError when it does not fit, and OSError when it cannot be read; then
        nothing changed.
        """
        manifest = manifest_for(self._pattern or self._manifest, path)
        contents = read_checkpoint(path, manifest, strict=strict)
        if check is not None:
            check(contents)
        with self._session.lock:
            self._session.check_open()
            self._check_adopted("restore")
            self._define(manifest)
            self._session.replace(contents.values)
        return contents.metadata

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the whole state by one that `snapshot()` of the same artifact returned.

        Raises CheckpointError for that of another; then nothing changed.
        """
        origin = snapshot.origin
        of_same = self._pattern is not None and origin.sha256 == self._sha256
        if not of_same and origin.manifest != self._manifest:
            raise CheckpointError("restore_snapshot: the snapshot is of another artifact's step")
        with self._session.lock:
            self._session.check_open()
            self._check_adopted("restore_snapshot")
            self._define(origin.manifest)
            self._session.replace(snapshot.values)

    def close(self) -> None:
        """Give the device's memory back, also that of `gradients`. Twice is fine.

        Any other use then raises ClosedError, but for what the artifact says: `manifest`, `device`,
        `functions`, names, and hyperparameters that were compiled in. Arrays that the caller still
        holds stay valid.
        """
        with self._session.lock:
            told = self._session.close()
            self._default = None
            self._gradients.close(told)
            self._tracers = ()

    def attach_tracer(self, tracer: Tracer) -> None:
        """Tell `tracer` of non-finite gradients.

        Raises InputError when they are not counted, or `tracer` has no method `trace`.
        """
        check_tracer(tracer, counted=self._manifest.nan_tracing)
        with self._session.lock:
            self._session.check_open()
            self._tracers = (*self._tracers, tracer)

    def detach_tracer(self, tracer: Tracer) -> None:
        """Stop telling `tracer`; does nothing when it was not attached."""
        with self._session.lock:
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
        state = "closed" if self._session.closed else self.device
        return (
            f"CompiledStep({self._manifest.formula!r}, {len(self._parameters)} parameters, {state})"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a CompiledStep lives on a device and cannot be pickled or copied; save(path) its "
            "state and load the artifact where it is needed"
        )

    # Host variables, by their exact path.

    def read_number(self, path: str) -> Scalar:
        """A variable of rank 0; before `initialize`, its first value."""
        return self._session.read_number(path)

    def write_number(self, path: str, value: Scalar) -> None:
        """Set it, unchecked."""
        self._session.write_number(path, value)

    def _call(self, called: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run an entry point of a training artifact."""
        with self._session.lock:
            self._session.check_usable()
            function = self._training_function() if called == TRAIN_STEP else called
            entry = self._entry(function)
            if entry is None or entry.is_step:
                refuse_call(called, plain_names(steps_of(self._manifest.functions)))
            if function in self._sized:
                function, inputs = self._sized[function].choose(inputs, called)
                entry = self._entries[function]
            entry.load_inputs(inputs, called)
            self._session.run(entry)
            results = entry.results(NONFINITE)
            tracers = self._tracers
            found = self._nonfinite(entry) if tracers else ()
        # Outside the lock: a tracer may use the step.
        tell(tracers, found)
        return results

    def _define(self, manifest: Manifest) -> None:
        """Of any length: have the variables of a definition; those that are there already stay."""
        if same_variables(manifest, self._manifest):
            return
        module = self._session.module if self._reopen is None else self._reopen(manifest)
        self._session.define(manifest, module)
        self._manifest = manifest
        self._parameters.define(self._parameter_paths())
        self._variables.define(self._session.state.variables)
        self._gradients.define(gradients_of(self._entries))
        self._default = default_entry(self._entries)

    def _check_adopted(self, what: str) -> None:
        if self._adoption is not None:
            self._adoption.check(what)

    def _training_function(self) -> str:
        """What the next batch goes into: that of an update, or another."""
        numbers = self._session.state.numbers
        if numbers.get(MICRO_STEP, 0) + 1 < numbers.get(ACCUMULATE_STEPS, 1):
            return "accumulate"
        return TRAIN_STEP

    def _nonfinite(self, entry: EntryPoint) -> tuple[NanReport, ...]:
        found = {path: int(c) for path, c in entry.outputs(NONFINITE).items() if c}
        if not found:
            return ()
        known = GLOBAL_STEP in self._session.state.variables
        number = int(self._session.read_number(GLOBAL_STEP)) if known else 0
        return tuple(NanReport(path, number, count) for path, count in found.items())

    def _phase(self, function: str | None, phase: Phase) -> EntryPoint:
        name = function
        if name is None and self._default is not None:
            name = self._default.function.name
        functions = {name: is_phase(entry.function) for name, entry in self._entries.items()}
        return self._entries[find_phase(functions, name, phase)]

    def _entry(self, function: object) -> EntryPoint | None:
        return self._entries.get(function) if isinstance(function, str) else None

    def _parameter_paths(self) -> list[str]:
        return [v.name for v in self._manifest.variables if v.role == "parameter"]
