"""safetensors files with a digest, written in one pass and read strictly.

Any safetensors tool reads them. The format (8 bytes of header length, a JSON header, tensor bytes)
has no checksum, so the metadata key `stepforge.sha256` holds the SHA-256 of the canonical header
without that key, followed by the tensor bytes. The header has one valid spelling, and padding is
spaces, so that every byte of the file is covered.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.runtime.arrays import BFLOAT16, Array
from stepforge.runtime.errors import ArtifactFormatError, CheckpointError
from stepforge.runtime.json_reader import Reader, parse

DIGEST = "stepforge.sha256"
MAX_HEADER = 100_000_000
MAX_RANK = 16
MAX_METADATA = 1_000
MAX_METADATA_TEXT = 2**20

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

Header = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tensors:
    """The contents of a file. Arrays read from one are read-only views of its bytes."""

    arrays: Mapping[str, Array]
    metadata: Mapping[str, str]


def encode(tensors: Tensors) -> list[bytes | memoryview]:
    """The file as chunks to be written one after another; tensor bytes are not copied."""
    # Sorted by decreasing item size, then by name: every tensor is aligned, as the format advises.
    names = sorted(tensors.arrays, key=lambda n: (-tensors.arrays[n].dtype.itemsize, n))
    arrays = [np.ascontiguousarray(tensors.arrays[name]) for name in names]
    header: Header = {"__metadata__": dict(tensors.metadata)}
    position = 0
    for name, array in zip(names, arrays, strict=True):
        header[name] = {
            "data_offsets": [position, position + array.nbytes],
            "dtype": _CODES[array.dtype],
            "shape": list(tensors.arrays[name].shape),
        }
        position += array.nbytes
    chunks = [array.reshape(-1).view(np.uint8).data for array in arrays]
    digest = hashlib.sha256(_canonical(header))
    for chunk in chunks:
        digest.update(chunk)
    header["__metadata__"][DIGEST] = digest.hexdigest()
    text = _canonical(header)
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *chunks]


def decode(data: bytes, where: str) -> Tensors:
    """Read and verify a file that `encode` wrote. Raises CheckpointError."""
    try:
        return _decode(data, where)
    except ArtifactFormatError as error:
        raise CheckpointError(f"{where} is damaged or no checkpoint: {error}") from error


def _canonical(header: Header) -> bytes:
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _decode(data: bytes, where: str) -> Tensors:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > MAX_HEADER or 8 + size > len(data):
        raise CheckpointError(
            f"{where} is damaged or no checkpoint: it has {len(data)} bytes, and its header would "
            f"have {size}"
        )
    header = parse(data[8 : 8 + size], where)
    metadata = _metadata(header)
    body = memoryview(data)[8 + size :]
    _verify(header, data[8 : 8 + size], body, metadata, where)
    arrays = {
        name: _array(Reader(item, f"{where}: {name}"), body)
        for name, item in header.value.items()
        if name != "__metadata__"
    }
    _check_cover(header, len(body), where)
    return Tensors(arrays, metadata)


def _metadata(header: Reader) -> dict[str, str]:
    if not header.has("__metadata__"):
        header.fail("a safetensors header with metadata")
    found = Reader(header.value["__metadata__"], f"{header.where}: __metadata__")
    if not isinstance(found.value, dict) or not found.has(DIGEST):
        found.fail(f"an object with {DIGEST!r}, which checkpoints of this package have")
    result: dict[str, str] = {}
    for key, value in header.value["__metadata__"].items():
        if not isinstance(value, str) or len(value) > MAX_METADATA_TEXT:
            found.fail("short strings")
        result[key] = value
    if len(result) > MAX_METADATA:
        found.fail(f"at most {MAX_METADATA} entries")
    return result


def _verify(
    header: Reader, text: bytes, body: memoryview, metadata: dict[str, str], where: str
) -> None:
    carried = metadata.pop(DIGEST)
    spelled = _canonical(header.value)
    plain = _canonical({**header.value, "__metadata__": metadata})
    digest = hashlib.sha256(plain)
    digest.update(body)
    if spelled + b" " * (len(text) - len(spelled)) != text or digest.hexdigest() != carried:
        raise CheckpointError(
            f"{where} was changed or damaged: its SHA-256 is {digest.hexdigest()}, it carries "
            f"{carried!r}; restore an older checkpoint"
        )


def _array(item: Reader, body: memoryview) -> Array:
    row = item.fields("data_offsets", "dtype", "shape")
    dtype = _DTYPES[row["dtype"].one_of(tuple(_DTYPES))]
    shape = row["shape"].each(MAX_RANK, Reader.integer)
    begin, end = _offsets(row["data_offsets"])
    if end > len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        item.fail("offsets inside the file that fit dtype and shape")
    raw = np.frombuffer(body[begin:end], np.uint8)
    return raw.view(dtype).reshape(shape)


def _offsets(item: Reader) -> tuple[int, int]:
    numbers = item.each(2, Reader.integer)
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        item.fail("[begin, end]")
    return numbers[0], numbers[1]


def _check_cover(header: Reader, size: int, where: str) -> None:
    """Tensors lie side by side and fill the file, so that nothing hides between them."""
    position = 0
    rows = [row for name, row in header.value.items() if name != "__metadata__"]
    for begin, end in sorted(_offsets(Reader(row["data_offsets"], where)) for row in rows):
        if begin != position:
            raise CheckpointError(f"{where}: tensors overlap or leave a gap at byte {position}")
        position = end
    if position != size:
        raise CheckpointError(f"{where}: {size - position} bytes belong to no tensor")
