"""What ends an artifact: the digest of every byte, and before it, where there is one, a signature.

The archive comment, the last 81 bytes, is `stepforge-sha256:` and 64 hex digits: the SHA-256 of
every byte before the digits. A signature is one more entry of the archive, `stepforge.sig`: the
last one, stored, 64 bytes. Adding it inserts bytes of known length at known places, so the artifact
without it is restored byte for byte, and the comment of that one is what is signed. A file that
differs in any other byte from that artifact with that signature is not signed at all.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import final

from stepforge.runtime.errors import ArtifactCorruptError, ArtifactFormatError

SIGNATURE_ENTRY = "stepforge.sig"
SIGNATURE_BYTES = 64
"""An Ed25519 signature."""
COMMENT = b"stepforge-sha256:"
DIGITS = 64
LOCAL_MAGIC = b"PK\x03\x04"
EMPTY_SEAL = COMMENT + b"0" * DIGITS
"""The comment that `sealed` puts the digest into."""

_TAIL = len(EMPTY_SEAL)
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_RECORD = struct.Struct("<4s6H3L5H2L")
_DIRECTORY_MAGIC = b"PK\x01\x02"
_END_MAGIC = b"PK\x05\x06"
_DATE = 0x21
"""1980-01-01, as all entries of an artifact have."""
_NAME = SIGNATURE_ENTRY.encode()
_ENTRY_BYTES = _LOCAL.size + len(_NAME) + SIGNATURE_BYTES
_RECORD_BYTES = _RECORD.size + len(_NAME)


@final
@dataclass(frozen=True, slots=True)
class Directory:
    """Where the ZIP directory lies, and how many entries it lists."""

    offset: int
    size: int
    entries: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def sealed(body: bytes) -> bytes:
    """The file whose bytes before the digits are `body`."""
    return body + hashlib.sha256(body).hexdigest().encode()


def check_digest(where: str, data: bytes) -> None:
    """Raise ArtifactCorruptError unless the file is whole and its digest holds."""
    if not data.startswith(LOCAL_MAGIC):
        raise ArtifactCorruptError(
            f"{where}: no stepforge artifact, or bytes were added in front: it should start "
            f"with {LOCAL_MAGIC!r}, got {data[:4]!r}"
        )
    if data[-_TAIL:-DIGITS] != COMMENT:
        raise ArtifactCorruptError(
            f"{where}: no stepforge digest at the end ({len(data)} bytes): the file is truncated, "
            "has bytes added behind, or is a plain IREE module; compile or copy it again"
        )
    digest = hashlib.sha256(memoryview(data)[:-DIGITS]).hexdigest().encode()
    if digest != data[-DIGITS:]:
        raise ArtifactCorruptError(
            f"{where}: the file was changed or damaged: its SHA-256 is {digest.decode()}, it "
            f"carries {data[-DIGITS:]!r}; compile or copy it again"
        )


def directory(where: str, data: bytes) -> Directory:
    """Read the end record. Raises ArtifactFormatError unless it fits the file exactly."""
    start = len(data) - _TAIL - _END.size
    if start < 0:
        raise ArtifactFormatError(f"{where}: the file has no room for a ZIP end record")
    magic, disk, start_disk, here, total, size, offset, comment = _END.unpack_from(data, start)
    whole = offset + size == start and comment == _TAIL
    if magic != _END_MAGIC or disk or start_disk or here != total or not whole:
        raise ArtifactFormatError(f"{where}: the ZIP end record does not fit the file")
    return Directory(offset, size, total)


def with_signature(data: bytes, signature: bytes) -> bytes:
    """An artifact that has none, with a signature. Both are the caller's to check."""
    found = directory("artifact", data)
    return _rebuilt(
        data[: found.offset] + _entry(signature),
        data[found.offset : found.end] + _record(signature, found.offset),
        found.entries + 1,
    )


def split_signature(where: str, data: bytes) -> tuple[bytes, bytes | None]:
    """The artifact without its signature, and the signature, or None where there is none.

    Raises ArtifactFormatError when the end record does not fit.
    """
    found = directory(where, data)
    start, record = found.offset - _ENTRY_BYTES, found.end - _RECORD_BYTES
    if start < 0 or record < found.offset or not found.entries:
        return data, None
    signature = data[found.offset - SIGNATURE_BYTES : found.offset]
    local_fits = data[start : found.offset] == _entry(signature)
    if not local_fits or data[record : found.end] != _record(signature, start):
        return data, None
    return _rebuilt(data[:start], data[found.offset : record], found.entries - 1), signature


def seal_of(data: bytes) -> bytes:
    """The comment of an artifact that has no signature: what is signed."""
    return data[-_TAIL:]


def _rebuilt(entries: bytes, records: bytes, count: int) -> bytes:
    end = _END.pack(_END_MAGIC, 0, 0, count, count, len(records), len(entries), _TAIL)
    return sealed(entries + records + end + COMMENT)


def _entry(signature: bytes) -> bytes:
    size = len(signature)
    head = (20, 0, 0, 0, _DATE, zlib.crc32(signature), size, size, len(_NAME), 0)
    return _LOCAL.pack(LOCAL_MAGIC, *head) + _NAME + signature


def _record(signature: bytes, start: int) -> bytes:
    size = len(signature)
    made_by_unix, mode = 3 << 8 | 20, 0o644 << 16
    head = (made_by_unix, 20, 0, 0, 0, _DATE, zlib.crc32(signature), size, size, len(_NAME))
    return _RECORD.pack(_DIRECTORY_MAGIC, *head, 0, 0, 0, 0, mode, start) + _NAME
