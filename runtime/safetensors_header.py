"""The header of a safetensors file with a digest: written and read in its one spelling.

A file may come from anywhere, so the header is read row by row by one regular expression that
never goes back, and not as JSON of any kind: what it takes is bounded by the limits below and by
its length, whatever it says. Each byte of it has one valid value.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from stepforge.runtime.errors import CheckpointError

DIGEST = "stepforge.sha256"
MAX_HEADER = 2**24
MAX_TENSORS = 50_000
MAX_NAME = 1_100
MAX_RANK = 16
MAX_METADATA = 1_000
MAX_METADATA_TEXT = 2**20
MAX_TEXT_MEMORY = 24 * 2**20
"""What all names and texts of a header may take once read, in bytes: a text with one letter from
far outside of ASCII takes four times the memory of its file."""

ALIGNMENT = 8

_METADATA = "__metadata__"
_INTEGER = rb"(?:0|[1-9][0-9]{0,15})"
_TEXT = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\.)*+"')
_ROW = re.compile(
    rb':\{"data_offsets":\[(%b),(%b)\],"dtype":"([A-Z0-9]{1,8})","shape":\[((?:%b(?:,%b)*+)?)\]\}'
    % ((_INTEGER,) * 4)
)


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor."""

    code: str
    """Its dtype, as "F32"."""
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says."""

    rows: Mapping[str, Row]
    metadata: Mapping[str, str]
    """Without the digest."""
    digest: str
    plain: tuple[memoryview, memoryview]
    """Its text without the digest, which is what the digest begins with, in two parts."""


def plain_text(rows: Mapping[str, Row], metadata: Mapping[str, str]) -> bytes:
    """The text that a digest begins with."""
    header: dict[str, object] = {_METADATA: dict(metadata)}
    for name, row in rows.items():
        header[name] = {
            "data_offsets": [row.begin, row.end],
            "dtype": row.code,
            "shape": list(row.shape),
        }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def written(rows: Mapping[str, Row], metadata: Mapping[str, str], digest: str) -> bytes:
    """The header as it stands in a file, its length in front."""
    text = plain_text(rows, {**metadata, DIGEST: digest})
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def read(text: bytes, where: str) -> Header:
    """Read a header that `written` made, without its length. Raises CheckpointError."""
    if f'"{DIGEST}":'.encode() not in text:
        raise CheckpointError(
            f"{where} is damaged or no checkpoint: expected {DIGEST!r} in its metadata, which "
            "checkpoints of this package have; of files of other tools, load the tensors and give "
            "them to initialize"
        )
    return _Scanner(text, where).header()


class _Scanner:
    """Goes through a header once."""

    def __init__(self, text: bytes, where: str) -> None:
        self._text = text
        self._where = where
        self._at = 0
        self._left = MAX_TEXT_MEMORY

    def header(self) -> Header:
        rows: dict[str, Row] = {}
        metadata: dict[str, str] | None = None
        cut = (0, 0)
        last: str | None = None
        self._take(b"{")
        while not self._has(b"}"):
            last = self._name(last, MAX_NAME)
            if last == _METADATA:
                metadata, cut = self._metadata()
                continue
            rows[last] = self._row()
            if len(rows) > MAX_TENSORS:
                self._fail(f"at most {MAX_TENSORS} tensors")
        if self._text[self._at :] != b" " * (-self._at % ALIGNMENT):
            self._fail(f"spaces up to a multiple of {ALIGNMENT} bytes, and no more")
        if metadata is None or DIGEST not in metadata:
            self._fail(f"metadata with {DIGEST!r}")
        text = memoryview(self._text)
        plain = text[: cut[0]], text[cut[1] : self._at]
        digest = metadata.pop(DIGEST)
        return Header(rows, metadata, digest, plain)

    def _metadata(self) -> tuple[dict[str, str], tuple[int, int]]:
        """The texts by name, and where the digest stands, with a comma beside it."""
        found: dict[str, str] = {}
        cut = (0, 0)
        last: str | None = None
        self._take(b":{")
        while not self._has(b"}"):
            start, is_first = self._at, last is None
            last = self._name(last, MAX_METADATA_TEXT)
            self._take(b":")
            found[last] = self._string(MAX_METADATA_TEXT)
            if last == DIGEST:
                follows = is_first and self._text[self._at : self._at + 1] == b","
                cut = (start, self._at + follows)
            if len(found) > MAX_METADATA:
                self._fail(f"at most {MAX_METADATA} texts of metadata")
        return found, cut

    def _name(self, last: str | None, most: int) -> str:
        """The next name, which comes after the last one in the alphabet."""
        if last is not None:
            self._take(b",")
        start = self._at
        name = self._string(most)
        if last is not None and name <= last:
            self._at = start
            self._fail("names in their order, each once")
        return name

    def _string(self, most: int) -> str:
        match = _TEXT.match(self._text, self._at)
        # A letter takes six bytes at most, as an escape.
        if match is None or match.end() - match.start() > 6 * most + 2:
            self._fail(f"a text of at most {most} characters")
        try:
            found: str = json.loads(match[0])
        except ValueError:
            self._fail("a text in JSON")
        if len(found) > most or _spelled(found) != match[0]:
            self._fail(f"a text of at most {most} characters, spelled as JSON.dumps does")
        self._left -= sys.getsizeof(found)
        if self._left < 0:
            self._fail(f"names and texts that take at most {MAX_TEXT_MEMORY} bytes of memory")
        self._at = match.end()
        return found

    def _row(self) -> Row:
        match = _ROW.match(self._text, self._at)
        if match is None:
            self._fail("a tensor's data_offsets, dtype and shape")
        shape = tuple(map(int, match[4].split(b","))) if match[4] else ()
        if len(shape) > MAX_RANK:
            self._fail(f"a rank of at most {MAX_RANK}")
        self._at = match.end()
        return Row(match[3].decode(), shape, int(match[1]), int(match[2]))

    def _has(self, mark: bytes) -> bool:
        """Whether `mark` is next; then it is taken."""
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) * found
        return found

    def _take(self, mark: bytes) -> None:
        if not self._has(mark):
            self._fail(repr(mark.decode()))

    def _fail(self, expected: str) -> NoReturn:
        got = self._text[self._at : self._at + 40]
        raise CheckpointError(
            f"{self._where} is damaged or no checkpoint: byte {8 + self._at}: expected {expected}, "
            f"got {got!r}"
        )


def _spelled(text: str) -> bytes:
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a letter, written as an escape
        return b""


def end_of(rows: Iterable[Row], where: str) -> int:
    """How many bytes the tensors take, which lie side by side. Raises CheckpointError."""
    position = 0
    for row in sorted(rows, key=lambda r: (r.begin, r.end)):
        if row.begin != position or row.end < row.begin:
            raise CheckpointError(
                f"{where} is damaged or no checkpoint: tensors overlap or leave a gap at byte "
                f"{position}"
            )
        position = row.end
    return position
