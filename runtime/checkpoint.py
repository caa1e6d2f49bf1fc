"""Saving the whole state to one file, and restoring it into a step that fits.

Tensors are `params/<name>`, `slots/<path>` and `state/<path>`; host floats are saved as float64, so
that a setting such as 0.1 comes back exactly. Writing is atomic: a reader sees the old file or the
new one, also after a crash. A caller's own texts may go along as metadata.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepforge.runtime.arrays import Array
from stepforge.runtime.checkpoint_match import FORMAT, compiled_values, entry_name, match
from stepforge.runtime.errors import CheckpointError, CheckpointWriteError, InputError
from stepforge.runtime.files import UnsyncedError, remove_stale, write_atomically
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.safetensors_file import Tensors, decode, encode, verify
from stepforge.runtime.safetensors_header import MAX_METADATA_TEXT

MAX_TEXTS = 100
MAX_TEXT_BYTES = 4 * 2**20
VERIFIED_BYTES = 2**30
"""Up to here a file is read again before it takes its place, unless the caller says."""
_OWN = "stepforge."


@dataclass(frozen=True, slots=True)
class Origin:
    """What a checkpoint says of the artifact that wrote it."""

    manifest: Manifest
    sha256: str

    def metadata(self) -> dict[str, str]:
        values = compiled_values(self.manifest.groups, settable=True)
        return {
            "stepforge.artifact_sha256": self.sha256,
            "stepforge.format": FORMAT,
            "stepforge.formula": self.manifest.formula,
            "stepforge.hyperparameters": json.dumps(values, sort_keys=True),
            "stepforge.version": self.manifest.package_version,
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state at one moment, on the host, to be written by any thread."""

    values: Mapping[str, Array]
    """By variable path, as `State.snapshot` gives them."""
    origin: Origin

    def write(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str] | None = None,
        *,
        verify_after_write: bool | None = None,
    ) -> None:
        """Write it, replacing `path` whole.

        metadata: texts to keep with it, which `CompiledStep.restore` returns; at most 100, each
        shorter than 1 MiB and all of them than 4 MiB, with names that do not start with
        "stepforge.". verify_after_write: whether the file is read again from the disk, and its
        digest checked, before it replaces `path`; None: where it is smaller than 1 GiB.
        Raises InputError for other texts, and CheckpointWriteError; then `path` is as it was.
        """
        texts = {} if metadata is None else dict(metadata)
        check_texts(texts)
        variables = {v.name: v for v in self.origin.manifest.variables}
        arrays = {entry_name(variables[name]): array for name, array in self.values.items()}
        chunks = encode(Tensors(arrays, {**texts, **self.origin.metadata()}))
        target = Path(path)
        remove_stale(target.parent, target.name.__eq__)
        _write(target, chunks, verify_after_write)


@dataclass(frozen=True, slots=True)
class Contents:
    """A checkpoint that was read: values by variable path, and the texts it was saved with."""

    where: str
    """What it is, for messages."""
    values: dict[str, Array]
    metadata: dict[str, str]


def check_texts(texts: Mapping[str, str]) -> None:
    """Raise InputError for metadata that would not be read again."""
    entries: list[object] = [text for item in texts.items() for text in item]
    fits = len(texts) <= MAX_TEXTS and all(map(_is_text, entries))
    if fits:
        fits = sum(len(str(entry).encode()) for entry in entries) <= MAX_TEXT_BYTES
    if not fits or any(name.startswith(_OWN) for name in texts):
        raise InputError(
            f"metadata of a checkpoint: expected at most {MAX_TEXTS} strings by name, each of at "
            f"most {MAX_METADATA_TEXT} characters of Unicode and all of them of at most "
            f"{MAX_TEXT_BYTES} bytes, no name starting with {_OWN!r}; got {str(texts)[:200]}"
        )


def _is_text(text: object) -> bool:
    if not isinstance(text, str) or len(text) > MAX_METADATA_TEXT:
        return False
    # Lone surrogates are in a string, but not in UTF-8.
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def verify_checkpoint(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError when the file is damaged, OSError when it cannot be read.

    It is read in pieces: memory for the file is not needed.
    """
    with open(path, "rb") as stream:
        verify(stream, os.fstat(stream.fileno()).st_size, _where(path))


def _where(path: str | os.PathLike[str]) -> str:
    return f"checkpoint {os.fspath(path)}"


def _write(target: Path, chunks: list[bytes | memoryview], verified: bool | None) -> None:
    size = sum(len(chunk) for chunk in chunks)
    if verified is None:
        verified = size < VERIFIED_BYTES

    def check(descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0, closefd=False) as stream:
            verify(stream, size, f"what was read back of {size} bytes")

    try:
        write_atomically(target, chunks, force=True, check=check if verified else None)
    except CheckpointError as error:
        raise CheckpointWriteError(
            f"cannot write the checkpoint {target}: the disk gives other bytes than it was given: "
            f"{error}; what was there before is untouched"
        ) from error
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


def read_checkpoint(
    path: str | os.PathLike[str], manifest: Manifest, *, strict: bool = False
) -> Contents:
    """Read, verify and match a checkpoint; the values are as `State.check` takes them.

    Raises CheckpointError, which names what differs, and OSError when the file cannot be read.
    Where other hyperparameters were compiled in it warns with a CheckpointWarning, or, if `strict`,
    raises too.
    """
    where = _where(path)
    tensors = decode(_read(path, where), where)
    values = match(tensors, manifest, where, strict=strict)
    texts = {k: text for k, text in tensors.metadata.items() if not k.startswith(_OWN)}
    return Contents(where, values, texts)


def _read(path: str | os.PathLike[str], where: str) -> bytes:
    if stat.S_ISFIFO(os.stat(path).st_mode) or stat.S_ISCHR(os.stat(path).st_mode):
        raise CheckpointError(f"{where}: expected a file, got a pipe or a device")
    try:
        return Path(path).read_bytes()
    except MemoryError as error:
        size = os.stat(path).st_size
        raise CheckpointError(f"{where}: there is no memory for its {size} bytes") from error
