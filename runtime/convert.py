"""Other libraries' optimizer state as a checkpoint of an artifact, and back.

What is exchanged is a flat mapping of tensors, as a `.safetensors` or `.npz` file holds; the names
are those of `peers.LIBRARIES`. Numbers are never changed: 16-bit floats are widened where the
artifact keeps wider ones, anything else must have the dtype of the artifact. Refused is what would
mean something else on the other side.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepforge.runtime.arrays import Array, checked, numpy_dtype
from stepforge.runtime.checkpoint import Origin, Snapshot
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.errors import ConversionError, InputError
from stepforge.runtime.manifest import Manifest, Variable
from stepforge.runtime.names import listed, nearest
from stepforge.runtime.peers import LIBRARIES, Library, Rule, owned_by, spelled
from stepforge.runtime.state import host_dtype

_MASTER = "master"  # zero until the first step, which takes the parameter instead
_GLOBAL_STEP = "/global_step"
_WHOLE_FLOAT32 = 2**24
_HALVES = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file: `snapshot.write(path)` makes a checkpoint that `restore` takes."""

    snapshot: Snapshot
    left_out: tuple[str, ...]
    """Tensors of the file that are no part of the artifact's state."""
    notes: tuple[str, ...]
    """What to know before going on from it."""


def import_state(
    library: str,
    tensors: Mapping[str, Any],
    artifact: Artifact | bytes | str | os.PathLike[str],
    *,
    steps: int | None = None,
) -> Imported:
    """The state of another library's optimizer as one of the artifact's.

    library: "torch", "optax", "keras" or "gomlx". tensors: its parameters and slots, by the names
    that docs/convert.md gives. artifact: read, its bytes, or its path. steps: how many were taken,
    where the tensors do not say.
    Settings keep the artifact's values, but for a learning rate among the tensors. Raises
    ConversionError where a number would mean something else here, and InputError for tensors that
    are missing or do not fit.
    """
    row = _library(library)
    artifact = artifact if isinstance(artifact, Artifact) else read_artifact(artifact)
    manifest = artifact.manifest
    if manifest.length is not None:
        raise ConversionError(
            "the artifact is of any length and says no parameters: convert for one that is "
            "compiled for this model with the same settings; any length restores its checkpoint"
        )
    rule = _rule(row, manifest)
    reading = _Reading(row, rule, _owner(row, rule, tensors), tensors)
    values = {v.name: reading.value(v, numpy_dtype(v.dtype)) for v in _tensors(manifest)}
    rate, total = reading.rate(), reading.total()
    counts = _count_names(row, reading.owner, manifest)
    left_out = reading.left_out([v.name for v in manifest.variables], counts)
    numbers = _Numbers(reading.count(counts, steps), total, rate, _rate_variable(manifest))
    for variable in manifest.variables:
        if variable.name not in values:
            values[variable.name] = numbers.value(variable)
    snapshot = Snapshot(values, Origin(manifest, artifact.sha256))
    return Imported(snapshot, left_out, (rule.note,) if rule.note else ())


def export_state(library: str, snapshot: Snapshot) -> dict[str, Array]:
    """The state of an artifact as tensors with another library's names.

    snapshot: of `CompiledStep.snapshot()`, or `Imported.snapshot`. Raises ConversionError where the
    library has no place for a part of it, or a number would mean something else there.
    """
    row = _library(library)
    manifest = snapshot.origin.manifest
    rule = _rule(row, manifest)
    found: dict[str, Array] = {}

    def put(name: str, value: Array) -> None:
        if name in found:
            raise ConversionError(
                f"two variables of the artifact would both be {name!r} for {row.name}; rename one"
            )
        found[name] = value

    count = _taken(snapshot)
    for variable in _tensors(manifest):
        put(_spelled(row, rule, rule.owner, variable), snapshot.values[variable.name])
    for name in _count_names(row, rule.owner, manifest):
        if name != row.global_count:
            put(name, _counted(count, row))
    if row.global_count is not None:
        put(row.global_count, np.asarray(snapshot.values[_GLOBAL_STEP], np.int64))
    rate = _rate_variable(manifest)
    if row.rate is not None and rate is not None:
        value = snapshot.values[rate.name]
        put(spelled(row.rate, path="/", owner=rule.owner), value.astype(numpy_dtype(rate.dtype)))
    return found


@dataclass(slots=True)
class _Reading:
    """Takes tensors of a library one by one, and knows which were never asked for."""

    library: Library
    rule: Rule
    owner: str
    tensors: Mapping[str, Any]
    asked: set[str] = field(default_factory=set[str])

    def value(self, variable: Variable, dtype: np.dtype[Any]) -> Array:
        if variable.slot == _MASTER:
            return np.zeros(variable.shape, dtype)
        name = _spelled(self.library, self.rule, self.owner, variable)
        value: Any = self._take(name)
        if value is None:
            raise InputError(
                f"{self.library.name} state: expected {name!r} for {variable.name!r}, and it is "
                f"not there{nearest(name, self.tensors)}"
            )
        value = np.asarray(value)
        if value.dtype.name in _HALVES and dtype.name in ("float32", "float64"):
            value = value.astype(dtype)
        return checked(value, f"{self.library.name} state: {name!r}", dtype, variable.shape)

    def count(self, names: list[str], steps: int | None) -> int:
        """How many steps were taken: `steps` if given, else what all the tensors of `names` say."""
        values = {name: self._take(name) for name in names if name in self.tensors}
        if steps is not None:
            return _whole("steps", steps)
        if not values:
            raise InputError(
                f"{self.library.name} state: it does not say how many steps were taken (expected "
                f"{listed(names) or 'a count'}); give steps"
            )
        counts = {name: _whole(name, value) for name, value in values.items()}
        if len(set(counts.values())) > 1:
            low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            raise ConversionError(
                f"{self.library.name} counts steps for each parameter, and an artifact has one "
                f"count for all: {low!r} is {counts[low]}, {high!r} is {counts[high]}; give steps, "
                "if one of them is meant"
            )
        count = next(iter(counts.values()))
        if self.library.count_dtype == "float32" and count >= _WHOLE_FLOAT32:
            raise ConversionError(
                f"{self.library.name} counts steps in float32, which stands still at 2^24; the "
                f"count is {count}: give steps"
            )
        return count

    def total(self) -> int | None:
        """The steps of all optimizers, where the library counts them apart."""
        name = self.library.global_count
        value = None if name is None else self._take(name)
        return None if name is None or value is None else _whole(name, value)

    def rate(self) -> float | None:
        if self.library.rate is None:
            return None
        value = self._take(spelled(self.library.rate, path="/", owner=self.owner))
        return None if value is None else float(np.asarray(value).item())

    def left_out(self, paths: list[str], counts: list[str]) -> tuple[str, ...]:
        """Raises ConversionError for state of these variables that has no place here."""
        left = [name for name in self.tensors if name not in {*self.asked, *counts}]
        pattern, names = owned_by(self.library, self.owner), {path[1:] for path in paths}
        for name in left:
            match = pattern.fullmatch(name)
            if match is None or match.groupdict().get("name", None) not in {None, *names}:
                continue
            known = {end: what for end, what in self.library.unknown.items() if end in name}
            meaning = f" ({next(iter(known.values()))})" if known else ""
            raise ConversionError(
                f"{self.library.name} state: {name!r}{meaning} has no place in this artifact; "
                "without it the steps would be others. Leave it out of the file if that is meant"
            )
        return tuple(left)

    def _take(self, name: str) -> Any:
        self.asked.add(name)
        return self.tensors.get(name)


def _library(name: str) -> Library:
    if name not in LIBRARIES:
        raise InputError(f"no library is named {name!r}{nearest(name, LIBRARIES)}")
    return LIBRARIES[name]


def _rule(library: Library, manifest: Manifest) -> Rule:
    rule = library.rules.get(manifest.formula)
    if rule is None:
        raise ConversionError(
            f"the artifact's formula is {manifest.formula!r}, for which no conversion to or from "
            f"{library.name} is known; there are {listed(library.rules)}"
        )
    if rule.refused:
        raise ConversionError(
            f"{library.name} and an artifact of {manifest.formula!r} do not mean the same: "
            f"{rule.refused}"
        )
    return rule


def _owner(library: Library, rule: Rule, tensors: Mapping[str, Any]) -> str:
    """What the library calls the optimizer in this file: Keras numbers the second of a name."""
    before, _, after = library.count.partition("{owner}")
    found = [
        name[len(before) : len(name) - len(after)]
        for name in tensors
        if after and name.startswith(before) and name.endswith(after)
    ]
    return found[0] if len(found) == 1 else rule.owner


def _spelled(library: Library, rule: Rule, owner: str, variable: Variable) -> str:
    if variable.role != "slot":
        return spelled(library.parameter, path=variable.name)
    kind = variable.slot or ""
    if kind not in rule.slots or variable.dtype == "int8":
        raise ConversionError(
            f"{library.name} has no place for {variable.name!r} ({kind}, {variable.dtype}); use "
            "an artifact without it: one compiled without slot_dtype, ema_decay and "
            "master_weights"
        )
    return spelled(library.slot, path=variable.of or "", kind=rule.slots[kind], owner=owner)


def _tensors(manifest: Manifest) -> list[Variable]:
    """What a library keeps as tensors: parameters, what else the model has, and slots."""
    roles = ("parameter", "buffer", "slot")
    return [v for v in manifest.variables if v.role in roles and v.storage == "device"]


def _count_names(library: Library, owner: str, manifest: Manifest) -> list[str]:
    """One for each parameter with slots, or one for all; without slots many count none."""
    paths = [v.of or "" for v in manifest.variables if v.role == "slot"]
    if not paths and library.global_count is not None:
        return [library.global_count]
    if not paths and "{name}" not in library.count:
        paths = ["/"]
    return list(dict.fromkeys(spelled(library.count, path=path, owner=owner) for path in paths))


def _taken(snapshot: Snapshot) -> int:
    """The optimizer's own count of steps, or where it keeps none the global one."""
    counters = [v.name for v in snapshot.origin.manifest.variables if v.role == "counter"]
    own = [name for name in counters if name.endswith("/step")]
    return int(snapshot.values[(own or [_GLOBAL_STEP])[0]])


def _counted(count: int, library: Library) -> Array:
    limit = {"float32": _WHOLE_FLOAT32, "int32": 2**31}[library.count_dtype]
    if count >= limit:
        raise ConversionError(
            f"{library.name} counts steps in {library.count_dtype}, which ends before {count}"
        )
    return np.asarray(count, numpy_dtype(library.count_dtype))


def _whole(name: str, value: Any) -> int:
    array: Array = np.asarray(value)
    number = float(array.item()) if array.size == 1 and array.dtype.kind in "iuf" else -1.0
    if number < 0 or number != int(number):
        raise InputError(f"{name!r} counts steps: expected one whole number, got {value!r}")
    return int(array.item())


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The values of what no library keeps as a tensor of the parameters' shapes."""

    count: int
    total: int | None
    rate: float | None
    rate_variable: Variable | None

    def value(self, variable: Variable) -> Array:
        on_host = variable.storage == "host"
        dtype = host_dtype(variable) if on_host else numpy_dtype(variable.dtype)
        return np.full(variable.shape, self._number(variable), dtype)

    def _number(self, variable: Variable) -> float:
        if variable.name == _GLOBAL_STEP:
            return self.count if self.total is None else self.total
        if variable.role == "counter" and variable.name.endswith("/step"):
            return self.count
        if self.rate is not None and variable == self.rate_variable:
            return self.rate
        return variable.initializer.value or 0


def _rate_variable(manifest: Manifest) -> Variable | None:
    """The variable of the learning rate, where all groups have one."""
    settings = [item for group in manifest.groups for item in group.hyperparameters]
    paths = {item.variable for item in settings if item.name == "learning_rate"}
    found = [v for v in manifest.variables if v.name in paths]
    return found[0] if len(found) == 1 else None
