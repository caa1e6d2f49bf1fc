"""The artifact file: deterministic, readable by other tools, and refused when anything changed."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import iree.runtime
import pytest

from stepforge.runtime import container, executor, files, loading
from stepforge.runtime.container import pack_artifact, read_artifact, write_artifact
from stepforge.runtime.errors import (
    ArtifactCorruptError,
    ArtifactError,
    ArtifactFormatError,
    ArtifactWriteError,
    VersionMismatchError,
)
from stepforge.runtime.manifest_encode import to_json
from support import handmade

pytestmark = pytest.mark.compiler

SMALL = {"/w": (4,)}
RUN_MODULE = str(Path(iree.runtime.__file__).parents[1] / "_runtime_libs" / "iree-run-module")


@pytest.fixture(scope="module")
def vmfb() -> bytes:
    return handmade.compiled(handmade.sgd_text(SMALL, "f32"), handmade.CPU)


@pytest.fixture(scope="module")
def data() -> bytes:
    return handmade.sgd(SMALL).vmfb_bytes


@pytest.fixture
def no_iree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading fails the test if IREE is given a byte."""

    def refuse(*_: Any) -> None:
        pytest.fail("IREE was called")

    monkeypatch.setattr(executor, "load_vm", refuse)


def sealed(body: bytes) -> bytes:
    """`body`, which ends where the digits begin, with the digest that fits it."""
    return body + hashlib.sha256(body).hexdigest().encode()


def repacked(data: bytes, **replaced: bytes) -> bytes:
    """The artifact with other contents of its JSON entries, and a digest that fits."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            content = replaced.get(info.filename.replace(".", "_"), old.read(info))
            new.writestr(zipfile.ZipInfo(info.filename), content)
        new.comment = b"stepforge-sha256:" + b"0" * 64
    return sealed(buffer.getvalue()[:-64])


def test_round_trip(vmfb: bytes, data: bytes) -> None:
    artifact = read_artifact(data)
    manifest = artifact.manifest
    assert artifact.graph_json == handmade.GRAPH
    assert pack_artifact(vmfb, manifest, handmade.GRAPH) == data
    assert artifact.sha256 == hashlib.sha256(data[:-64]).hexdigest()


def test_iree_bytes_come_first_and_unchanged(vmfb: bytes, data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(vmfb)) as archive:
        kept = archive.start_dir
    assert data[:kept] == vmfb[:kept]


def test_dates_are_fixed(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("stepforge.json"))["format_version"] == 1


def test_iree_tools_still_run_the_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sgd.vmfb"
    path.write_bytes(data)
    done = subprocess.run(
        [
            RUN_MODULE, f"--module={path}", "--device=local-sync", "--function=step",
            "--input=4xf32=1 2 3 4", "--input=4xf32=1", "--input=0.5",
        ],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4xf32=0.5 1.5 2.5 3.5" in done.stdout


@pytest.mark.usefixtures("no_iree")
def test_every_single_bit_flip_is_refused(data: bytes) -> None:
    changed = bytearray(data)
    for position in range(len(data)):
        for bit in range(8):
            changed[position] ^= 1 << bit
            with pytest.raises(ArtifactCorruptError):
                loading.load(bytes(changed))
            changed[position] ^= 1 << bit


@pytest.mark.usefixtures("no_iree")
@pytest.mark.parametrize("target", ["cpu", "vmvx", "vulkan"])
def test_random_flips_of_larger_artifacts_are_refused(target: str) -> None:
    data = handmade.adam(target=target).vmfb_bytes
    generator = random.Random(11)
    for _ in range(2000):
        changed = bytearray(data)
        changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        with pytest.raises(ArtifactCorruptError):
            loading.load(bytes(changed))


@pytest.mark.usefixtures("no_iree")
def test_truncation_at_every_length_is_refused(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(ArtifactCorruptError):
            loading.load(data[:length])


@pytest.mark.usefixtures("no_iree")
@pytest.mark.parametrize("extra", [b"\0", b"PK", b"#!/bin/sh\n", b"\0" * 4096])
def test_bytes_in_front_and_behind_are_refused(data: bytes, extra: bytes) -> None:
    for changed in (extra + data, data + extra, data + data):
        with pytest.raises(ArtifactCorruptError):
            loading.load(changed)


@pytest.mark.usefixtures("no_iree")
@pytest.mark.parametrize("size", [64, 1024, 4096])
def test_zeroed_and_swapped_blocks_are_refused(data: bytes, size: int) -> None:
    for start in range(0, len(data) - 2 * size, size):
        block, after = data[start : start + size], data[start + size : start + 2 * size]
        for replaced in (b"\0" * size + after, after + block):
            changed = data[:start] + replaced + data[start + 2 * size :]
            if changed == data:
                continue
            with pytest.raises(ArtifactCorruptError):
                loading.load(changed)


@pytest.mark.usefixtures("no_iree")
def test_foreign_files_are_refused(vmfb: bytes, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("a.txt", "a")
    for content in (b"", b"x", vmfb, archive.getvalue(), b"\x7fELF" + b"\0" * 100):
        path = tmp_path / "foreign.vmfb"
        path.write_bytes(content)
        with pytest.raises(ArtifactCorruptError, match=str(path)):
            loading.load(path)


def test_corrupt_message_says_what_to_do(data: bytes) -> None:
    with pytest.raises(ArtifactCorruptError, match=r"changed or damaged.*compile or copy it again"):
        read_artifact(data[:100] + b"\xff" + data[101:])
    with pytest.raises(ArtifactCorruptError, match=r"truncated.*plain IREE module"):
        read_artifact(data[:-1])
    with pytest.raises(ArtifactCorruptError, match="bytes were added in front"):
        read_artifact(b"x" + data)


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_artifact(tmp_path / "none.vmfb")


# With a digest that fits, structure and bounds still hold.


def test_manifest_that_is_no_json(data: bytes) -> None:
    with pytest.raises(ArtifactFormatError, match="not strict JSON"):
        read_artifact(repacked(data, stepforge_json=b"{"))


def test_other_format_version(data: bytes) -> None:
    manifest = json.loads(to_json(read_artifact(data).manifest))
    manifest["format_version"] = 2
    changed = repacked(data, stepforge_json=json.dumps(manifest).encode())
    with pytest.raises(VersionMismatchError, match="reads format version 1, the artifact has 2"):
        read_artifact(changed)


def test_missing_entry(vmfb: bytes) -> None:
    buffer = io.BytesIO(vmfb)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"stepforge-sha256:" + b"0" * 64
    with pytest.raises(ArtifactFormatError, match="expected the entries"):
        read_artifact(sealed(buffer.getvalue()[:-64]))


def test_end_record_that_does_not_fit(data: bytes) -> None:
    body = bytearray(data[:-64])
    # The directory's offset, 16 bytes into the end record.
    position = data.rindex(b"PK\x05\x06") + 16
    body[position : position + 4] = struct.pack("<L", 7)
    with pytest.raises(ArtifactFormatError, match="end record does not fit"):
        read_artifact(sealed(bytes(body)))


@pytest.mark.parametrize("size", [container.MAX_MANIFEST + 1, 2**31 - 1])
def test_inflated_size_is_bounded(data: bytes, size: int) -> None:
    bomb = repacked(data, stepforge_json=b" " * (container.MAX_MANIFEST + 1))
    body = bytearray(bomb[:-64])
    # Whatever the directory declares, no more than the limit is ever read.
    entry = bomb.index(b"stepforge.json", bomb.index(b"PK\x01\x02")) - 46
    body[entry + 24 : entry + 28] = struct.pack("<L", size)
    with pytest.raises(ArtifactFormatError):
        read_artifact(sealed(bytes(body)))


def test_changed_directory_with_a_fitting_digest_never_escapes(data: bytes) -> None:
    """Only our errors come out, whatever byte of the directory is changed."""
    start = data.index(b"PK\x01\x02")
    for position in range(start, len(data) - 64):
        body = bytearray(data[:-64])
        body[position] ^= 0xFF
        try:
            read_artifact(sealed(bytes(body)))
        except ArtifactError:
            continue


def test_as_many_entries_as_a_large_model_has_kernels(
    vmfb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO(vmfb)
    with zipfile.ZipFile(buffer, "a") as archive:
        for kernel in range(1000):
            archive.writestr(f"kernel_{kernel}.spv", b"code")
    made = handmade.sgd(SMALL)
    many = pack_artifact(buffer.getvalue(), made.manifest, made.graph_json)
    assert read_artifact(many).manifest == made.manifest
    monkeypatch.setattr(container, "MAX_ENTRIES", 1000)
    with pytest.raises(ArtifactFormatError, match="at most 1000 ZIP entries, got 100"):
        read_artifact(many)


def test_signature_name_is_reserved(vmfb: bytes, data: bytes) -> None:
    buffer = io.BytesIO(vmfb)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("stepforge.sig", b"")
    with pytest.raises(ArtifactFormatError, match=r"already has entries \['stepforge.sig'\]"):
        pack_artifact(buffer.getvalue(), read_artifact(data).manifest, b"")


def test_module_must_be_one(data: bytes) -> None:
    with pytest.raises(ArtifactFormatError, match=r"must be an IREE \.vmfb"):
        pack_artifact(b"nothing", read_artifact(data).manifest, b"")
    with pytest.raises(ArtifactFormatError, match="already has entries"):
        pack_artifact(data, read_artifact(data).manifest, b"")


# Writing.


def test_writes_whole_and_never_over_a_file(vmfb: bytes, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sgd.vmfb"
    manifest = read_artifact(data).manifest
    written = write_artifact(path, vmfb, manifest, handmade.GRAPH)
    assert path.read_bytes() == data == written.vmfb_bytes
    with pytest.raises(ArtifactWriteError, match=r"exists and is not overwritten.*--force"):
        write_artifact(path, vmfb, manifest, b"{}")
    assert path.read_bytes() == data
    write_artifact(path, vmfb, manifest, b"{}", force=True)
    assert read_artifact(path).graph_json == b"{}"
    assert [p.name for p in tmp_path.iterdir()] == ["sgd.vmfb"]


@pytest.mark.parametrize(
    ("failing", "old"),
    [("fsync", None), ("link", None), ("fsync", b"old"), ("fchmod", b"old"), ("replace", b"old")],
)
def test_failed_write_leaves_what_was_there(
    failing: str,
    old: bytes | None,
    vmfb: bytes,
    data: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "sgd.vmfb"
    if old is not None:
        path.write_bytes(old)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, failing, fail)
    manifest = read_artifact(data).manifest
    with pytest.raises(ArtifactWriteError, match="No space left on device"):
        write_artifact(path, vmfb, manifest, b"", force=old is not None)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_disk_that_fails_after_the_artifact_is_in_place(
    vmfb: bytes, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "sgd.vmfb", files.os.fsync

    def files_only(descriptor: int) -> None:
        if path.exists():
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", files_only)
    with pytest.raises(ArtifactWriteError, match=r"sgd\.vmfb: the new file is in its place, and"):
        write_artifact(path, vmfb, read_artifact(data).manifest, handmade.GRAPH)
    assert path.read_bytes() == data


def test_file_system_without_links(
    vmfb: bytes, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    write_artifact(tmp_path / "a.vmfb", vmfb, read_artifact(data).manifest, handmade.GRAPH)
    assert (tmp_path / "a.vmfb").read_bytes() == data


def test_existing_mode_is_kept(vmfb: bytes, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.vmfb"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_artifact(path, vmfb, read_artifact(data).manifest, b"", force=True)
    assert path.stat().st_mode & 0o777 == 0o640
