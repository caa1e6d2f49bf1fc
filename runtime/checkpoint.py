"""Saving the whole state to one file, and restoring it into a step that fits.

Tensors are `params/<name>`, `slots/<path>` and `state/<path>`; host floats are saved as float64, so
that a setting such as 0.1 comes back exactly. Writing is atomic: a reader sees the old file or the
new one, also after a crash. A caller's own texts may go along as metadata.
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
from stepforge.runtime.errors import CheckpointError, CheckpointWriteError, InputError
from stepforge.runtime.files import UnsyncedError, write_atomically
from stepforge.runtime.manifest import Manifest, Variable
from stepforge.runtime.names import listed
from stepforge.runtime.safetensors_file import MAX_METADATA_TEXT, Tensors, decode, encode
from stepforge.runtime.state import host_dtype

FORMAT = "1"
MAX_TEXTS = 100
_OWN = "stepforge."
_FOLDERS = {"parameter": "params", "slot": "slots"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a checkpoint says of the artifact that wrote it."""

    manifest: Manifest
    sha256: str

    def metadata(self) -> dict[str, str]:
        groups = self.manifest.groups
        baked = {item.name: item.value for group in groups for item in group.hyperparameters}
        return {
            "stepforge.artifact_sha256": self.sha256,
            "stepforge.format": FORMAT,
            "stepforge.formula": self.manifest.formula,
            "stepforge.hyperparameters": json.dumps(baked, sort_keys=True),
            "stepforge.version": self.manifest.package_version,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state at one moment, on the host, to be written by any thread."""

    values: Mapping[str, Array]
    """By variable path, as `State.snapshot` gives them."""
    origin: Origin

    def write(
        self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write it, replacing `path` whole.

        metadata: texts to keep with it, which `CompiledStep.restore` returns; at most 100, each
        shorter than 1 MiB, with names that do not start with "stepforge.".
        Raises InputError for others, and CheckpointWriteError; then `path` is as it was.
        """
        texts = {} if metadata is None else dict(metadata)
        check_texts(texts)
        variables = {v.name: v for v in self.origin.manifest.variables}
        arrays = {entry_name(variables[name]): array for name, array in self.values.items()}
        chunks = encode(Tensors(arrays, {**texts, **self.origin.metadata()}))
        _write(Path(path), chunks)


@dataclass(frozen=True, slots=True)
class Contents:
    """A checkpoint that was read: values by variable path, and the texts it was saved with."""

    where: str
    """What it is, for messages."""
    values: dict[str, Array]
    metadata: dict[str, str]


def entry_name(variable: Variable) -> str:
    """The tensor's name in the file."""
    return f"{_FOLDERS.get(variable.role, 'state')}{variable.name}"


def check_texts(texts: Mapping[str, str]) -> None:
    """Raise InputError for metadata that would not be read again."""
    entries: list[object] = [text for item in texts.items() for text in item]
    fits = len(texts) <= MAX_TEXTS and all(map(_is_text, entries))
    if not fits or any(name.startswith(_OWN) for name in texts):
        raise InputError(
            f"metadata of a checkpoint: expected at most {MAX_TEXTS} strings by name, each of at "
            f"most {MAX_METADATA_TEXT} characters of Unicode, no name starting with {_OWN!r}; got "
            f"{str(texts)[:200]}"
        )


def _is_text(text: object) -> bool:
    if not isinstance(text, str) or len(text) > MAX_METADATA_TEXT:
        return False
    # Lone surrogates are in a string, but not in UTF-8.
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def verify_checkpoint(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError when the file is damaged, OSError when it cannot be read."""
    decode(Path(path).read_bytes(), _where(path))


def _where(path: str | os.PathLike[str]) -> str:
    return f"checkpoint {os.fspath(path)}"


def _write(target: Path, chunks: list[bytes | memoryview]) -> None:
    size = sum(len(chunk) for chunk in chunks)
    try:
        write_atomically(target, chunks, force=True)
    except UnsyncedError as error:
        raise CheckpointWriteError(f"the checkpoint {target}: {error.strerror}") from error
    except OSError as error:
        free = ""
        with suppress(OSError):
            free = f", {shutil.disk_usage(target.parent).free} free"
        raise CheckpointWriteError(
            f"cannot write the checkpoint {target} ({size} bytes needed{free}): {error}; what was "
            "there before is untouched"
        ) from error


def read_checkpoint(path: str | os.PathLike[str], manifest: Manifest) -> Contents:
    """Read, verify and match a checkpoint; the values are as `State.check` takes them.

    Raises CheckpointError, which names what differs, and OSError when the file cannot be read.
    """
    where = _where(path)
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
    return Contents(
        where,
        {variable.name: tensors.arrays[name] for name, variable in wanted.items()},
        {k: text for k, text in tensors.metadata.items() if not k.startswith(_OWN)},
    )


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
