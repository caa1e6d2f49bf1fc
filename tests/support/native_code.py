"""Spoiling the native code in an artifact for this CPU, with a digest that fits again."""

from __future__ import annotations

import io
import platform
import struct
import zipfile

from stepforge.runtime.seal import sealed

# What fills the code, by machine: an instruction that no processor has, and a jump to itself.
ILLEGAL = {"x86_64": b"\x0f\x0b", "aarch64": b"\0\0\0\0"}
ENDLESS = {"x86_64": b"\xeb\xfe", "aarch64": b"\0\0\0\x14"}
_EXECUTABLE, _DYNAMIC_SYMBOLS = 4, 11


def spoilt(data: bytes, filling: dict[str, bytes], *, query: bool) -> bytes:
    """`data` with all code replaced, or all but the query function, which runs on loading."""
    start, elf = _library(data)
    code, (entry, size) = _code(elf), _query(elf)
    unit = filling[platform.machine()]
    body = bytearray(data[:-64])
    for first, length in code:
        for i in range(first, first + length - len(unit) + 1, len(unit)):
            if query or not entry - len(unit) < i < entry + size:
                body[start + i : start + i + len(unit)] = unit
    return sealed(bytes(body))


def _library(data: bytes) -> tuple[int, bytes]:
    """Where the shared library starts in the file, and its bytes; it is stored, not deflated."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (info,) = (i for i in archive.infolist() if "elf" in i.filename)
        content = archive.read(info)
    return data.index(content), content


def _sections(elf: bytes) -> list[tuple[int, int, int, int, int, int, int, int, int, int]]:
    (offset,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    return [struct.unpack_from("<2L4Q2L2Q", elf, offset + i * size) for i in range(count)]


def _code(elf: bytes) -> list[tuple[int, int]]:
    """(file offset, size) of each section of instructions."""
    return [(s[4], s[5]) for s in _sections(elf) if s[2] & _EXECUTABLE]


def _query(elf: bytes) -> tuple[int, int]:
    """(file offset, size) of the only function that the library exports."""
    sections = _sections(elf)
    (symbols,) = (s for s in sections if s[1] == _DYNAMIC_SYMBOLS)
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        _, kind, _, index, value, size = struct.unpack_from("<LBBHQQ", elf, at)
        if kind & 15 == 2 and index:
            section = sections[index]
            return value - section[3] + section[4], size
    raise AssertionError("the library exports no function")
