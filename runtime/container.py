"""An artifact is a `.vmfb` with two ZIP entries and a digest behind it.

IREE's own bytes come first and unchanged up to the ZIP directory, so every IREE tool still loads
the file. `stepforge.json` (the manifest) and `graph.json` (the logical graph) are appended,
deflated and with fixed dates. The archive comment is `stepforge-sha256:` and 64 hex digits: the
SHA-256 of every byte before the digits. Nothing may precede or follow. A signed artifact has one
more entry, `stepforge.sig`; `seal` has both.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stepforge.runtime.errors import ArtifactFormatError, ArtifactWriteError
from stepforge.runtime.files import UnsyncedError, write_atomically
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_encode import to_json
from stepforge.runtime.manifest_parse import from_json
from stepforge.runtime.seal import (
    DIGITS,
    EMPTY_SEAL,
    LOCAL_MAGIC,
    SIGNATURE_ENTRY,
    check_digest,
    directory,
    sealed,
    split_signature,
)
from stepforge.runtime.signatures import Key, check_signature, signed

if TYPE_CHECKING:
    from stepforge.runtime.step import CompiledStep

MANIFEST_ENTRY = "stepforge.json"
GRAPH_ENTRY = "graph.json"
MAX_FILE = 2**31
MAX_ENTRIES = 4096
MAX_MANIFEST = 16 * 2**20
MAX_GRAPH = 64 * 2**20

_DATE = (1980, 1, 1, 0, 0, 0)
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
)
"""What zipfile raises: ValueError for names that are no text, RuntimeError for entries that are
encrypted or of a newer version of ZIP."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked artifact. `vmfb_bytes` is the whole file, as verified; IREE gets these bytes."""

    vmfb_bytes: bytes
    manifest: Manifest
    graph_json: bytes

    @property
    def sha256(self) -> str:
        """The digest that the file carries, or carried before it was signed: signing leaves it."""
        plain, _ = split_signature("artifact", self.vmfb_bytes)
        return plain[-DIGITS:].decode()

    @property
    def signature(self) -> bytes | None:
        """The Ed25519 signature, or None. Whose it is, `read_artifact` says, given a key."""
        return split_signature("artifact", self.vmfb_bytes)[1]

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
    check_digest("artifact", data)
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
    if not vmfb.startswith(LOCAL_MAGIC):
        raise ArtifactFormatError(
            f"the module must be an IREE .vmfb, which starts with {LOCAL_MAGIC!r}; got {vmfb[:4]!r}"
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
        archive.comment = EMPTY_SEAL
    return sealed(buffer.getvalue()[:-DIGITS])


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
    _write(path, data, force=force)
    return Artifact(data, manifest, graph_json)


def sign_artifact(
    path: str | os.PathLike[str],
    private_key: Key,
    output: str | os.PathLike[str] | None = None,
    *,
    password: bytes | None = None,
    force: bool = False,
) -> Artifact:
    """Sign the artifact at `path` and write it to `output`, by default in its own place.

    private_key: an Ed25519 key in PEM, as bytes or as the path of a file; password: of a key that
    is encrypted. A signature that it has is replaced. An existing `output` is refused unless
    `force`. The artifact is checked as `read_artifact` does, and nothing of it is run. Raises what
    that raises, SigningKeyError, MissingExtraError (extra `sign`) and ArtifactWriteError.
    """
    artifact = read_artifact(path)
    data = signed(str(path), artifact.vmfb_bytes, private_key, password)
    _write(path if output is None else output, data, force=force or output is None)
    return Artifact(data, artifact.manifest, artifact.graph_json)


def read_artifact(
    source: bytes | str | os.PathLike[str], *, public_key: Key | None = None
) -> Artifact:
    """Check and read an artifact: digest, signature, structure, then the manifest. No IREE.

    public_key: an Ed25519 key in PEM, as bytes or as the path of a file; with it an artifact is
    refused that was not signed with the private half. None: a signature is not looked at.
    Raises ArtifactCorruptError, SignatureMissingError, SignatureInvalidError, ArtifactFormatError,
    VersionMismatchError (unknown format version), or OSError when a file cannot be read; with
    `public_key` also SigningKeyError and MissingExtraError (extra `sign`).
    """
    if isinstance(source, bytes):
        return _read("artifact", source, public_key)
    path = Path(source)
    if path.stat().st_size > MAX_FILE:
        raise ArtifactFormatError(f"{path}: an artifact has at most {MAX_FILE} bytes")
    return _read(str(path), path.read_bytes(), public_key)


def _write(path: str | os.PathLike[str], data: bytes, *, force: bool) -> None:
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


def _read(where: str, data: bytes, public_key: Key | None) -> Artifact:
    check_digest(where, data)
    if public_key is not None:
        check_signature(where, data, public_key)
    try:
        manifest_json, graph_json = _entries(where, data)
    except _DAMAGED as error:
        raise ArtifactFormatError(f"{where}: the ZIP directory is malformed: {error}") from error
    manifest = from_json(manifest_json, where)
    check(manifest)
    return Artifact(data, manifest, graph_json)


def _entries(where: str, data: bytes) -> tuple[bytes, bytes]:
    total = directory(where, data).entries
    if total > MAX_ENTRIES:
        raise ArtifactFormatError(f"{where}: at most {MAX_ENTRIES} ZIP entries, got {total}")
    _, signature = split_signature(where, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [info.filename for info in archive.infolist()]
        expected = [MANIFEST_ENTRY, GRAPH_ENTRY, *([] if signature is None else [SIGNATURE_ENTRY])]
        ours = [name for name in names if name.startswith("stepforge") or name == GRAPH_ENTRY]
        if not len(set(names)) == len(names) == total or ours != expected:
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
