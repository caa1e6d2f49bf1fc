"""Fuzzes the reader of checkpoints: `python -m fuzz.fuzz_checkpoint CORPUS [libFuzzer options]`.

An input is a file; with a first byte of 1 the rest is a header and a body of 8 bytes, framed here;
with 2 the digest is mended too, so that what comes after it is reached.
"""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from typing import Any

from stepforge.runtime.errors import CheckpointError

MODULES = ("stepforge.runtime.safetensors_header", "stepforge.runtime.safetensors_file")
BODY = 8


def framed(text: bytes, body: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + body


def mended(text: bytes, body: bytes) -> bytes:
    """With the digest that the header should have, where it has one at all."""
    header = import_module(MODULES[0]).read(text, "x")
    digest = hashlib.sha256()
    for part in (*header.plain, body):
        digest.update(part)
    carried = header.digest.encode()
    if len(carried) != 64:
        return framed(text, body)
    return framed(text.replace(carried, digest.hexdigest().encode()), body)


def read(data: bytes) -> Any:
    """None: refused. Anything but a CheckpointError comes through."""
    kind, rest = data[:1], data[1:]
    text, body = rest[:-BODY], rest[-BODY:]
    try:
        if kind == b"\1":
            data = framed(text, body)
        elif kind == b"\2":
            data = mended(text, body)
        tensors = import_module(MODULES[1]).decode(data, "x")
    except CheckpointError:
        return None
    size = 8 + int.from_bytes(data[:8], "little")
    assert sum(a.nbytes for a in tensors.arrays.values()) == len(data) - size
    return tensors


def main() -> None:
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=list(MODULES)):
        for module in MODULES:
            import_module(module)
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
