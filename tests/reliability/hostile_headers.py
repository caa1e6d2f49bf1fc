"""Reads the worst headers there can be, with bounded memory: `python -m reliability.hostile_headers
BYTES`, which are those beside the file's."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from stepforge.runtime import CheckpointError
from stepforge.runtime.safetensors_file import decode
from stepforge.runtime.safetensors_header import (
    DIGEST,
    MAX_HEADER,
    MAX_NAME,
    MAX_TENSORS,
    Row,
    plain_text,
    written,
)

CPU_SECONDS = 60
START = b'{"__metadata__":{"%b":"0"},' % DIGEST.encode()
TEXTS = b'{"__metadata__":{"%b":"0",' % DIGEST.encode()
EMPTY = b'"%08d":{"data_offsets":[0,0],"dtype":"I8","shape":[0]},'


def filled(start: bytes, piece: bytes) -> bytes:
    return start + piece * ((MAX_HEADER - len(start)) // len(piece))


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def with_digest(rows: dict[str, Row], texts: dict[str, str]) -> bytes:
    return written(rows, texts, hashlib.sha256(plain_text(rows, texts)).hexdigest())


def headers() -> Iterator[tuple[str, bytes]]:
    yield "brackets", framed(filled(START, b"["))
    yield "empty lists", framed(filled(START, b"[],"))
    yield "empty objects", framed(filled(START + b'"a":', b"{},"))
    yield "one text", framed(filled(START + b'"', b"x"))
    yield "backslashes", framed(filled(START + b'"', b"\\"))
    yield "escapes", framed(filled(START + b'"', b"\\u0041"))
    yield "quotes", framed(filled(START, b'"'))
    yield "spaces", framed(filled(START[:-1] + b"}", b" "))
    yield "digits", framed(filled(START + b'"a":{"data_offsets":[', b"9"))
    yield (
        "a long shape",
        framed(filled(START + b'"a":{"data_offsets":[0,0],"dtype":"I8","shape":[0', b",0")),
    )
    rows = b"".join(EMPTY % number for number in range(MAX_HEADER // len(EMPTY % 0) - 2))
    yield "too many tensors", framed(START.replace(b"__metadata__", b"") + rows)
    yield "many tensors, then none", framed(START + rows.replace(b'"0', b'"a0')[: 45_000 * 50])
    texts = b"".join(b'"t%07d":"",' % number for number in range(MAX_HEADER // 13 - 9))
    yield "too many texts", framed(TEXTS + texts)
    wide = ("𝄞" + "x" * 1000).encode()
    wide_rows = b"".join(
        (EMPTY % number).replace(b'":', wide + b'":', 1) for number in range(15_000)
    )
    yield "names that grow fourfold", framed(START.replace(b"__metadata__", b"") + wide_rows)
    assert MAX_NAME > 1001
    many = {f"params/{number:08d}": Row("I8", (0,), 0, 0) for number in range(MAX_TENSORS)}
    yield f"{MAX_TENSORS} tensors", with_digest(many, {})
    yield "texts of 4 bytes a letter", with_digest({}, {f"{n}": "𝄞" * 2**18 for n in range(4)})


def main(more: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    for name, data in headers():
        child = os.fork()
        if child == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            # `data`, which is in memory by now, is the file.
            limit = pages * resource.getpagesize() + more
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            try:
                decode(data, "x")
                verdict = "taken"
            except CheckpointError:
                verdict = "refused"
            except BaseException as error:
                verdict = type(error).__name__
            os.write(1, f"{name}: {verdict}\n".encode())
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print(f"{name}: died", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
