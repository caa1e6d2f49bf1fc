"""Whatever is in a file: an error of ours or its tensors, in bounded time and memory (R6)."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepforge.runtime import CheckpointError
from stepforge.runtime.safetensors_file import Tensors, decode, encode, verify
from stepforge.runtime.safetensors_header import DIGEST, MAX_TENSORS, Row, plain_text, written

MORE = 64 * 2**20
"""Bytes that reading may take beside those of the file."""

EXAMPLES = settings(
    max_examples=2_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

VALID = b"".join(
    encode(
        Tensors(
            {
                "params/a": np.arange(6, dtype=np.float32).reshape(2, 3),
                "params/ü\n": np.ones((), np.float64),
                "slots/e": np.zeros((0, 3), np.int8),
            },
            {"stepforge.format": "1", "note": '"\\ \x7f', "z": ""},
        )
    )
)


def judge(data: bytes) -> Tensors | None:
    """Both readers agree; what is taken is the file's bytes, each once."""
    tensors, message = None, ""
    tracemalloc.start()
    try:
        tensors = decode(data, "x")
    except CheckpointError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MORE + len(data)
    assert (tensors is None) == message.startswith("x ")
    assert len(message) < 2_000
    try:
        verify(io.BytesIO(data), len(data), "x")
    except CheckpointError:
        assert tensors is None
        return None
    assert tensors is not None
    size = int.from_bytes(data[:8], "little")
    assert sum(a.nbytes for a in tensors.arrays.values()) == len(data) - 8 - size
    return tensors


def framed(text: bytes, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + body


@settings(EXAMPLES, max_examples=500)
@given(st.binary(max_size=200), st.binary(max_size=50), st.booleans())
def test_any_bytes(text: bytes, body: bytes, has_digest: bool) -> None:
    mark = b'{"__metadata__":{"%b":"' % DIGEST.encode()
    judge(framed(mark + text if has_digest else text, body))


PIECES = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0041", b"\\ud800", b"0", b"-1"),
        *(b"1e9", b"9" * 40, b" ", b"\n", b"\xff", "𝄞".encode(), b"null", b'"__metadata__"'),
        *(b'"dtype"', b'"shape":[', b'"data_offsets":[0,4]', b'"F32"', b'"a":"b",'),
        DIGEST.encode(),
    ]
)
EDITS = st.lists(
    st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), st.lists(PIECES, max_size=3)),
    min_size=1,
    max_size=4,
)


@EXAMPLES
@given(EDITS, st.booleans())
def test_a_whole_file_that_was_edited(edits: Any, mends_length: bool) -> None:
    data = bytearray(VALID)
    for position, removed, pieces in edits:
        data[position : position + removed] = b"".join(pieces)
    if mends_length and len(data) > 8:
        body = 32  # of the valid one
        data[:8] = max(0, len(data) - 8 - body).to_bytes(8, "little")
    if bytes(data) != VALID:
        assert judge(bytes(data)) is None


SIZES = {"F64": 8, "F32": 4, "BF16": 2, "I8": 1, "BOOL": 1, "F8": 1, "I64": 8}
NAMES = st.text(max_size=8).filter(lambda name: name != "__metadata__")
SHAPE = st.lists(st.integers(0, 2**53) | st.integers(0, 3), max_size=18).map(tuple)
SMALL = st.lists(st.integers(0, 3), max_size=4).map(tuple)
ROWS = st.dictionaries(
    NAMES, st.tuples(st.sampled_from(list(SIZES)), SHAPE | SMALL | SMALL), max_size=5
)


@EXAMPLES
@given(
    ROWS,
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=4),
    st.integers(-2, 2),
    st.integers(-9, 9),
    st.booleans(),
)
def test_what_has_a_digest_that_fits(
    wanted: Any, texts: dict[str, str], shift: int, more: int, is_whole: bool
) -> None:
    """Someone may well compute it: the rest is checked all the same."""
    rows: dict[str, Row] = {}
    position = 0
    for name, (code, shape) in wanted.items():
        nbytes = int(np.prod(shape, dtype=object)) * SIZES[code] if shape else SIZES[code]
        start = max(0, position + (0 if is_whole else shift))
        rows[name] = Row(code, shape, start, start + min(nbytes, 2**50))
        position += min(nbytes, 200)
    try:
        plain = plain_text(rows, texts)
    except UnicodeEncodeError:
        return
    body = bytes(max(0, position + (0 if is_whole else more)))
    digest = hashlib.sha256(plain + body).hexdigest()
    found = judge(written(rows, texts, digest) + body)
    fits = all(row.code != "F8" and len(row.shape) <= 16 for row in rows.values())
    fits &= all(row.end - row.begin <= 200 for row in rows.values())
    # A dimension of 0 beside others that no memory has.
    fits &= all(max(row.shape, default=0) < 2**10 for row in rows.values())
    if is_whole and fits and DIGEST not in texts:
        assert found is not None
        shapes = {name: array.shape for name, array in found.arrays.items()}
        assert shapes == {name: row.shape for name, row in rows.items()}
        assert found.metadata == texts


def test_the_longest_headers(tmp_path: Path) -> None:
    """In a process with no more address space than that, and some seconds of processor time."""
    done = subprocess.run(
        [sys.executable, "-m", "reliability.hostile_headers", str(MORE)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) >= 12
    assert [line for line in lines if not line.endswith(("refused", "taken"))] == []
    assert f"{MAX_TENSORS} tensors: taken" in lines
    assert "texts of 4 bytes a letter: taken" in lines
    assert sum(line.endswith("refused") for line in lines) >= 9
