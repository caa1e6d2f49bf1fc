"""What somebody else may make of an artifact, and a tripwire in front of IREE."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from stepforge.runtime import bindings
from stepforge.runtime.seal import EMPTY_SEAL, sealed

_HARMLESS = ("VERSION", "element_dtype", "element_type")


def resealed(data: bytes) -> bytes:
    """The same bytes with a digest that fits them: who changes a file can change that too."""
    return sealed(data[:-64])


def with_entries(data: bytes, **replaced: bytes) -> bytes:
    """An unsigned artifact with other contents of its JSON entries (`stepforge_json=...`), and a
    digest that fits. IREE's part stays where it is, for that is aligned."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        start = archive.getinfo("stepforge.json").header_offset
        kept = [info for info in archive.filelist if info.header_offset < start]
        ours = {i.filename: archive.read(i) for i in archive.filelist if i not in kept}
        archive.filelist[:] = kept
        archive.NameToInfo = {info.filename: info for info in kept}
        archive.start_dir = start
        for name, content in ours.items():
            other = replaced.get(name.replace(".", "_"), content)
            archive.writestr(zipfile.ZipInfo(name), other, zipfile.ZIP_DEFLATED)
        archive.comment = EMPTY_SEAL
    return resealed(buffer.getvalue())


def entry(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


class _Tripwire:
    """Stands for something of IREE; any use of it fails the test."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"IREE was used: {self._name}.{name}")

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"IREE was called: {self._name}")


def put_iree_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on any use of IREE by the runtime raises AssertionError."""
    for name in bindings.__all__:
        if name not in _HARMLESS:
            monkeypatch.setattr(bindings, name, _Tripwire(name))
