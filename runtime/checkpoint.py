"""Saving the whole state to one file, and restoring it into a step that fits.

Tensors are `params/<name>`, `slots/<path>` and `state/<path>`; host floats are saved as float64, so
that a setting such as 0.1 comes back exactly. Writing is atomic: a reader sees the old file or the
new one, also after a crash.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepforge.runtime.arrays import Array, numpy_dtype
from stepforge.runtime.bounds import bounds_of, check_bounds
from stepforge.runtime.errors import CheckpointError, CheckpointWriteError
from stepforge.runtime.files import write_atomically
from stepforge.runtime.manifest import Manifest, Variable
from stepforge.runtime.names import listed
from stepforge.runtime.safetensors_file import Tensors, decode, encode
from stepforge.runtime.state import host_dtype

FORMAT = "1"
_FOLDERS = {"parameter": "params", "slot": "slots"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a checkpoint says of the artifact that wrote it."""

    manifest: Manifest
    sha256: str
    hyperparameters: Mapping[str, float | int | bool | str]

    def metadata(self) -> dict[str, str]:
        return {
            "stepforge.artifact_sha256": self.sha256,
            "stepforge.format": FORMAT,
            "stepforge.formula": self.manifest.formula,
            "stepforge.hyperparameters": json.dumps(dict(self.hyperparameters), sort_keys=True),
            "stepforge.version": self.manifest.package_version,
        }


def entry_name(variable: Variable) -> str:
    """The tensor's name in the file."""
    return f"{_FOLDERS.get(variable.role, 'state')}{variable.name}"


def write_checkpoint(
    path: str | os.PathLike[str], values: Mapping[str, Array], origin: Origin
) -> None:
    """Write a snapshot, replacing `path` whole. Raises CheckpointWriteError; then it is as it was.

    `values` is by variable path, as `State.snapshot` gives it.
    """
    target = Path(path)
    variables = {v.name: v for v in origin.manifest.variables}
    arrays = {entry_name(variables[name]): array for name, array in values.items()}
    chunks = encode(Tensors(arrays, origin.metadata()))
    size = sum(len(chunk) for chunk in chunks)
    try:
        write_atomically(target, chunks, force=True)
    except OSError as error:
        free = ""
        with suppress(OSError):
            free = f", {shutil.disk_usage(target.parent).free} free"
        raise CheckpointWriteError(
            f"cannot write the checkpoint {target} ({size} bytes needed{free}): {error}; what was "
            "there before is untouched"
        ) from error


def read_checkpoint(path: str | os.PathLike[str], manifest: Manifest) -> dict[str, Array]:
    """Read, verify and match a checkpoint; values by variable path, as `State.check` takes them.

    Raises CheckpointError, which names what differs, and OSError when the file cannot be read.
    """
    where = f"checkpoint {os.fspath(path)}"
    tensors = decode(Path(path).read_bytes(), where)
    _match_formula(tensors.metadata, manifest, where)
    variables = {v.name: v for v in manifest.variables}
    wanted = {entry_name(v): v for v in variables.values()}
    missing = sorted(set(wanted) - set(tensors.arrays))
    extra = sorted(set(tensors.arrays) - set(wanted))
    if missing or extra:
        raise CheckpointError(
            f"{where} belongs to another model or optimizer: missing {listed(missing) or 'none'}; "
            f"not expected {listed(extra) or 'none'}"
        )
    for name, variable in wanted.items():
        _match(name, tensors.arrays[name], variable, where)
    for path, settings in bounds_of(manifest.groups).items():
        name = entry_name(variables[path])
        for setting in settings:
            inside = f"{where}: {name} (hyperparameter {setting.name!r})"
            check_bounds(inside, tensors.arrays[name].item(), setting, CheckpointError)
    return {variable.name: tensors.arrays[name] for name, variable in wanted.items()}


def _match_formula(metadata: Mapping[str, str], manifest: Manifest, where: str) -> None:
    found = metadata.get("stepforge.format")
    if found != FORMAT:
        raise CheckpointError(f"{where}: expected checkpoint format {FORMAT!r}, got {found!r}")
    formula = metadata.get("stepforge.formula")
    if formula != manifest.formula:
        raise CheckpointError(
            f"{where} was written by the optimizer {formula!r}; this artifact is "
            f"{manifest.formula!r}, whose slots mean something else"
        )


def _match(name: str, array: Array, variable: Variable, where: str) -> None:
    dtype = numpy_dtype(variable.dtype) if variable.storage == "device" else host_dtype(variable)
    if array.shape != variable.shape:
        raise CheckpointError(
            f"{where}: {name}: expected shape {variable.shape}, got {array.shape}"
        )
    if array.dtype != dtype:
        raise CheckpointError(
            f"{where}: {name}: expected dtype {dtype.name}, got {array.dtype.name}"
        )
