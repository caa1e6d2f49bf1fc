"""An artifact is a `.vmfb` with two ZIP entries and a digest behind it.

IREE's own bytes come first and unchanged up to the ZIP directory, so every IREE tool still loads
the file. `stepforge.json` (the manifest) and `graph.json` (the logical graph) are appended,
deflated and with fixed dates. The archive comment is `stepforge-sha256:` and 64 hex digits: the
SHA-256 of every byte before the digits. Nothing may precede or follow. The entry name
`stepforge.sig` is reserved for signatures.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stepforge.runtime.errors import ArtifactCorruptError, ArtifactFormatError, ArtifactWriteError
from stepforge.runtime.files import UnsyncedError, write_atomically
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_encode import to_json
from stepforge.runtime.manifest_parse import from_json

if TYPE_CHECKING:
    from stepforge.runtime.step import CompiledStep

MANIFEST_ENTRY = "stepforge.json"
GRAPH_ENTRY = "graph.json"
SIGNATURE_ENTRY = "stepforge.sig"
MAX_FILE = 2**31
MAX_ENTRIES = 4096
MAX_MANIFEST = 16 * 2**20
MAX_GRAPH = 64 * 2**20

_DATE = (1980, 1, 1, 0, 0, 0)
_COMMENT = b"stepforge-sha256:"
_DIGITS = 64
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC = b"PK\x03\x04"
_END_MAGIC = b"PK\x05\x06"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked artifact. `vmfb_bytes` is the whole file, as verified; IREE gets these bytes."""

    vmfb_bytes: bytes
    manifest: Manifest
    graph_json: bytes

    @property
    def sha256(self) -> str:
        """The digest that the file carries."""
        return self.vmfb_bytes[-_DIGITS:].decode()

    def load(self, *, device: str | None = None) -> CompiledStep:
        """Load it on a device, as `stepforge.runtime.load` does."""
        # Lazy: reading and writing artifacts needs no IREE.
        from stepforge.runtime.loading import load  # noqa: PLC0415

        return load(self, device=device)


def pack_artifact(vmfb: bytes, manifest: Manifest, graph_json: bytes) -> bytes:
    """The bytes of an artifact. Equal inputs give equal bytes.

    Raises ArtifactFormatError when the manifest breaks a rule or `vmfb` is no plain IREE module.
    """
    return _pack(vmfb, _manifest_json(manifest), graph_json)


def made_artifact(vmfb: bytes, manifest: Manifest, graph_json: bytes) -> Artifact:
    """`pack_artifact`, and what a reader finds in the bytes. Raises as both do."""
    manifest_json = _manifest_json(manifest)  # which was read, and has passed every check
    data = _pack(vmfb, manifest_json, graph_json)
    _check_digest("artifact", data)
    if _entries("artifact", data) != (manifest_json, graph_json):
        raise ArtifactFormatError("the artifact does not survive being written and read")
    return Artifact(data, manifest, graph_json)


def _manifest_json(manifest: Manifest) -> bytes:
    check(manifest)
    text = to_json(manifest)
    if from_json(text) != manifest:
        raise ArtifactFormatError("the manifest does not survive being written and read")
    return text


def _pack(vmfb: bytes, manifest_json: bytes, graph_json: bytes) -> bytes:
    if not vmfb.startswith(_LOCAL_MAGIC):
        raise ArtifactFormatError(
            f"the module must be an IREE .vmfb, which starts with {_LOCAL_MAGIC!r}; "
            f"got {vmfb[:4]!r}"
        )
    _check_size(MANIFEST_ENTRY, len(manifest_json), MAX_MANIFEST)
    _check_size(GRAPH_ENTRY, len(graph_json), MAX_GRAPH)
    buffer = io.BytesIO(vmfb)
    with zipfile.ZipFile(buffer, "a") as archive:
        taken = {MANIFEST_ENTRY, GRAPH_ENTRY, SIGNATURE_ENTRY} & set(archive.namelist())
        if taken:
            raise ArtifactFormatError(f"the module already has entries {sorted(taken)}")
        _append(archive, MANIFEST_ENTRY, manifest_json)
        _append(archive, GRAPH_ENTRY, graph_json)
        archive.comment = _COMMENT + b"0" * _DIGITS
    body = buffer.getvalue()[:-_DIGITS]
    return body + hashlib.sha256(body).hexdigest().encode()


def write_artifact(
    path: str | os.PathLike[str],
    vmfb: bytes,
    manifest: Manifest,
    graph_json: bytes,
    *,
    force: bool = False,
) -> Artifact:
    """Write an artifact whole or not at all; refuse an existing file unless `force`.

    Raises ArtifactWriteError (with the operating system's error as cause) and ArtifactFormatError.
    """
    data = pack_artifact(vmfb, manifest, graph_json)
    try:
        write_atomically(Path(path), [data], force=force)
    except FileExistsError as error:
        raise ArtifactWriteError(
            f"{path} exists and is not overwritten; give force=True (--force), or another path"
        ) from error
    except UnsyncedError as error:
        raise ArtifactWriteError(f"the artifact {path}: {error.strerror}") from error
    except OSError as error:
        raise ArtifactWriteError(f"cannot write {path} ({len(data)} bytes): {error}") from error
    return Artifact(data, manifest, graph_json)


def read_artifact(source: bytes | str | os.PathLike[str]) -> Artifact:
    """Check and read an artifact: digest first, then structure, then the manifest. No IREE.

    Raises ArtifactCorruptError, ArtifactFormatError, VersionMismatchError (unknown format version),
    or OSError when the file cannot be read.
    """
    if isinstance(source, bytes):
        return _read("artifact", source)
    path = Path(source)
    if path.stat().st_size > MAX_FILE:
        raise ArtifactFormatError(f"{path}: an artifact has at most {MAX_FILE} bytes")
    return _read(str(path), path.read_bytes())


def _read(where: str, data: bytes) -> Artifact:
    _check_digest(where, data)
    try:
        manifest_json, graph_json = _entries(where, data)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        # ValueError covers struct and text decoding inside zipfile.
        raise ArtifactFormatError(f"{where}: the ZIP directory is malformed: {error}") from error
    manifest = from_json(manifest_json, where)
    check(manifest)
    return Artifact(data, manifest, graph_json)


def _check_digest(where: str, data: bytes) -> None:
    tail = len(_COMMENT) + _DIGITS
    if not data.startswith(_LOCAL_MAGIC):
        raise ArtifactCorruptError(
            f"{where}: no stepforge artifact, or bytes were added in front: it should start "
            f"with {_LOCAL_MAGIC!r}, got {data[:4]!r}"
        )
    if data[-tail:-_DIGITS] != _COMMENT:
        raise ArtifactCorruptError(
            f"{where}: no stepforge digest at the end ({len(data)} bytes): the file is truncated, "
            "has bytes added behind, or is a plain IREE module; compile or copy it again"
        )
    digest = hashlib.sha256(memoryview(data)[:-_DIGITS]).hexdigest().encode()
    if digest != data[-_DIGITS:]:
        raise ArtifactCorruptError(
            f"{where}: the file was changed or damaged: its SHA-256 is {digest.decode()}, it "
            f"carries {data[-_DIGITS:]!r}; compile or copy it again"
        )


def _entries(where: str, data: bytes) -> tuple[bytes, bytes]:
    end = len(data) - len(_COMMENT) - _DIGITS - _END.size
    magic, disk, start_disk, here, total, size, offset, comment = _END.unpack_from(data, end)
    whole = offset + size == end and comment == len(_COMMENT) + _DIGITS
    if magic != _END_MAGIC or disk or start_disk or here != total or not whole:
        raise ArtifactFormatError(f"{where}: the ZIP end record does not fit the file")
    if total > MAX_ENTRIES:
        raise ArtifactFormatError(f"{where}: at most {MAX_ENTRIES} ZIP entries, got {total}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [info.filename for info in archive.infolist()]
        expected = [MANIFEST_ENTRY, GRAPH_ENTRY]
        ours = [name for name in names if name.startswith("stepforge") or name == GRAPH_ENTRY]
        if len(set(names)) != len(names) or ours not in (expected, [*expected, SIGNATURE_ENTRY]):
            raise ArtifactFormatError(
                f"{where}: expected the entries {expected} once each, in this order; got {names}"
            )
        manifest_json = _inflate(archive, MANIFEST_ENTRY, MAX_MANIFEST)
        return manifest_json, _inflate(archive, GRAPH_ENTRY, MAX_GRAPH)


def _inflate(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    # The declared size is checked first and the read is bounded by it, so that a small file
    # cannot ask for more memory than the limit.
    info = archive.getinfo(name)
    _check_size(name, info.file_size, limit)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArtifactFormatError(f"{name} must be stored or deflated, got {info.compress_type}")
    with archive.open(info) as stream:
        data = stream.read(limit + 1)
    _check_size(name, len(data), limit)
    return data


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise ArtifactFormatError(f"{name} may have at most {limit} bytes, got {size}")


def _append(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    archive.writestr(info, data, compresslevel=9)
