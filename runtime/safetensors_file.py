"""safetensors files with a digest, written in one pass and read strictly.

Any safetensors tool reads them. The format (8 bytes of header length, a JSON header, tensor bytes)
has no checksum, so the metadata key `stepforge.sha256` holds the SHA-256 of the canonical header
without that key, followed by the tensor bytes. The header has one valid spelling, padding included
(`safetensors_header.py`), so that every byte of the file is covered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from stepforge.runtime import safetensors_header
from stepforge.runtime.arrays import BFLOAT16, Array
from stepforge.runtime.errors import CheckpointError, InputError
from stepforge.runtime.safetensors_header import (
    MAX_HEADER,
    MAX_NAME,
    MAX_RANK,
    MAX_TENSORS,
    Header,
    Row,
    end_of,
)

MAX_BYTES = 2**46
_BLOCK = 2**20

_CODES: dict[np.dtype[Any], str] = {
    np.dtype(np.float64): "F64",
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    BFLOAT16: "BF16",
    np.dtype(np.int64): "I64",
    np.dtype(np.int32): "I32",
    np.dtype(np.int16): "I16",
    np.dtype(np.int8): "I8",
    np.dtype(np.bool_): "BOOL",
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Tensors:
    """The contents of a file. Arrays read from one are read-only views of its bytes."""

    arrays: Mapping[str, Array]
    metadata: Mapping[str, str]


def encode(tensors: Tensors) -> list[bytes | memoryview]:
    """The file as chunks to be written one after another; tensor bytes are not copied.

    Raises InputError for what would not be read again.
    """
    # Sorted by decreasing item size, then by name: every tensor is aligned, as the format advises.
    names = sorted(tensors.arrays, key=lambda n: (-tensors.arrays[n].dtype.itemsize, n))
    arrays = [np.ascontiguousarray(tensors.arrays[name]) for name in names]
    rows: dict[str, Row] = {}
    position = 0
    for name, array in zip(names, arrays, strict=True):
        shape = tensors.arrays[name].shape
        rows[name] = Row(_CODES[array.dtype], shape, position, position + array.nbytes)
        position += array.nbytes
    chunks = [array.reshape(-1).view(np.uint8).data for array in arrays]
    digest = hashlib.sha256(safetensors_header.plain_text(rows, tensors.metadata))
    for chunk in chunks:
        digest.update(chunk)
    header = safetensors_header.written(rows, tensors.metadata, digest.hexdigest())
    _check_limits(rows, len(header) - 8)
    return [header, *chunks]


def decode(data: bytes, where: str) -> Tensors:
    """Read and verify a file that `encode` wrote. Raises CheckpointError."""
    size = _header_size(data[:8], len(data), where)
    header = safetensors_header.read(data[8 : 8 + size], where)
    body = memoryview(data)[8 + size :]
    _check_rows(header, len(body), where)
    _check_digest(header, [body], where)
    arrays = {name: _array(row, body) for name, row in header.rows.items()}
    return Tensors(arrays, header.metadata)


def verify(stream: BinaryIO, size: int, where: str) -> None:
    """Read a file of `size` bytes through, and keep nothing. Raises CheckpointError, or OSError."""
    length = _header_size(stream.read(8), size, where)
    header = safetensors_header.read(stream.read(length), where)
    _check_rows(header, size - 8 - length, where)
    _check_digest(header, iter(lambda: stream.read(_BLOCK), b""), where)


def _header_size(start: bytes, size: int, where: str) -> int:
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > MAX_HEADER or 8 + length > size:
        raise CheckpointError(
            f"{where} is damaged or no checkpoint: it has {size} bytes, and its header would "
            f"have {length}"
        )
    return length


def _check_limits(rows: Mapping[str, Row], length: int) -> None:
    long = next((n for n in rows if len(n) > MAX_NAME or len(rows[n].shape) > MAX_RANK), None)
    if long is not None or len(rows) > MAX_TENSORS or length > MAX_HEADER:
        raise InputError(
            f"a checkpoint has at most {MAX_TENSORS} tensors, of ranks to {MAX_RANK} and with "
            f"names to {MAX_NAME} characters, and {MAX_HEADER} bytes of names and metadata; got "
            f"{len(rows)} tensors and {length} bytes{'' if long is None else f', {long[:80]!r}'}"
        )


def _check_rows(header: Header, size: int, where: str) -> None:
    """Tensors fit their dtypes and shapes, and fill the file, so that nothing hides in it."""
    for name, row in header.rows.items():
        dtype = _DTYPES.get(row.code)
        if dtype is None or not _fits(row, dtype.itemsize):
            raise CheckpointError(
                f"{where} is damaged or no checkpoint: {name}: expected a dtype of "
                f"{', '.join(_DTYPES)} and offsets that fit it and the shape, got {row}"
            )
    end = end_of(header.rows.values(), where)
    if end != size:
        raise CheckpointError(
            f"{where} is damaged or no checkpoint: its tensors take {end} bytes, and it has {size}"
        )


def _fits(row: Row, itemsize: int) -> bool:
    # NumPy refuses what is larger without its dimensions of 0.
    sizes = [size or 1 for size in row.shape]
    largest = math.prod(sizes) * itemsize
    return largest <= MAX_BYTES and row.end - row.begin == math.prod(row.shape) * itemsize


def _check_digest(header: Header, body: Iterable[bytes | memoryview], where: str) -> None:
    digest = hashlib.sha256()
    for block in chain(header.plain, body):
        digest.update(block)
    if digest.hexdigest() != header.digest:
        raise CheckpointError(
            f"{where} was changed or damaged: its SHA-256 is {digest.hexdigest()}, it carries "
            f"{header.digest[:80]!r}; restore an older checkpoint"
        )


def _array(row: Row, body: memoryview) -> Array:
    return np.ndarray(row.shape, _DTYPES[row.code], body, row.begin)
