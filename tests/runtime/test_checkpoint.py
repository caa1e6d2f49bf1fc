"""Saving and restoring: exact, atomic, readable by other tools, refused when changed or foreign."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime import checkpoint, files
from stepforge.runtime.manifest import Group, Hyperparameter
from stepforge.runtime.safetensors_file import Tensors, decode, encode
from stepforge.runtime.step import CompiledStep
from support import handmade, variants

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]


def steps(step: CompiledStep, gradients: Arrays, first: int, last: int) -> None:
    for t in range(first, last):
        step.step({name: (a * np.float32(1 + t % 3)) for name, a in gradients.items()})


@pytest.mark.parametrize("at", [0, 1, 7])
def test_resumed_equals_uninterrupted(
    anywhere: CompiledStep, place: Any, gradients: Arrays, at: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    anywhere.learning_rate = 0.1
    steps(anywhere, gradients, 0, at)
    anywhere.save(path)
    steps(anywhere, gradients, at, 12)
    with handmade.adam(target=place.target).load(device=place.device) as resumed:
        resumed.restore(path)
        assert resumed.learning_rate == 0.1
        steps(resumed, gradients, at, 12)
        assert handmade.snapshot(resumed) == handmade.snapshot(anywhere)


@pytest.mark.vulkan
def test_moves_between_devices(step: CompiledStep, gradients: Arrays, tmp_path: Path) -> None:
    steps(step, gradients, 0, 3)
    step.save(tmp_path / "cpu.safetensors")
    with handmade.adam(target="vulkan").load() as other:
        other.restore(tmp_path / "cpu.safetensors")
        assert handmade.snapshot(other) == handmade.snapshot(step)


def test_any_safetensors_tool_reads_it(
    step: CompiledStep, gradients: Arrays, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    step.step(gradients)
    step.save(path)
    tensors = safetensors.numpy.load_file(path)
    assert sorted(tensors) == [
        "params/b",
        "params/w",
        "slots/AdamOptimizer/b_1st_moment",
        "slots/AdamOptimizer/b_2nd_moment",
        "slots/AdamOptimizer/w_1st_moment",
        "slots/AdamOptimizer/w_2nd_moment",
        "state/global_step",
        "state/optimizers/learning_rate",
    ]
    np.testing.assert_array_equal(tensors["params/w"], step.parameters["w"])
    assert tensors["state/global_step"] == 1
    assert tensors["state/optimizers/learning_rate"].dtype == np.float64
    with safetensors.safe_open(path, "numpy") as opened:
        metadata = opened.metadata()
    assert metadata["stepforge.formula"] == "adam"
    assert metadata["stepforge.artifact_sha256"] == handmade.adam().sha256
    assert json.loads(metadata["stepforge.hyperparameters"])["adam_weight_decay"] == 0.004
    assert len(metadata["stepforge.sha256"]) == 64


def test_half_precision_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    for dtype in ("float16", "bfloat16"):
        with handmade.sgd({"/w": (5,)}, dtype=dtype).load() as step:
            step.initialize({"w": np.arange(5).astype(step.gradients["w"].dtype)})
            before = handmade.snapshot(step)
            step.save(path)
            step.step()
            step.restore(path)
            assert handmade.snapshot(step) == before


def test_no_tensor_is_copied_twice_and_empty_ones_are_kept(tmp_path: Path) -> None:
    shapes = {"/a": (), "/b": (0, 3), "/c": (2,)}
    with handmade.sgd(shapes).load() as step:
        step.initialize({name[1:]: np.ones(s, np.float32) for name, s in shapes.items()})
        step.save(tmp_path / "x.safetensors")
        step.restore(tmp_path / "x.safetensors")
        assert {n: a.shape for n, a in step.parameters.items()} == {
            "a": (),
            "b": (0, 3),
            "c": (2,),
        }


# Damage.


def test_every_change_is_refused(step: CompiledStep, tmp_path: Path) -> None:
    step.save(tmp_path / "x.safetensors")
    data = (tmp_path / "x.safetensors").read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(runtime.CheckpointError):
            decode(bytes(damaged), "x")
    for length in range(len(data)):
        with pytest.raises(runtime.CheckpointError):
            decode(data[:length], "x")
    for extra in (data + b"\0", b"\0" + data, data + data):
        with pytest.raises(runtime.CheckpointError):
            decode(extra, "x")


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"__metadata__":{}}',
        b'{"__metadata__":{"stepforge.sha256":1}}',
        b'{"__metadata__":{"stepforge.sha256":""},"a":{"dtype":"F32"}}',
        b'{"a":1,"a":2}',
        b"[" * 100_000,
        b'{"a":NaN}',
        b'{"__metadata__":[],"a":' + b"9" * 5000 + b"}",
    ],
)
def test_hostile_headers(step: CompiledStep, header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(runtime.CheckpointError):
        step.restore(path)


def test_header_longer_than_the_file(step: CompiledStep, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(runtime.CheckpointError, match="has 10 bytes, and its header would"):
        step.restore(path)


def test_message_of_damage(step: CompiledStep, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    step.save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        runtime.CheckpointError, match=r"x\.safetensors was changed or damaged.*restore an older"
    ):
        step.restore(path)


# A checkpoint of something else.


def test_of_another_optimizer(step: CompiledStep, parameters: Arrays, tmp_path: Path) -> None:
    with handmade.sgd().load() as other:
        other.initialize(parameters)
        other.save(tmp_path / "sgd.safetensors")
    before = handmade.snapshot(step)
    with pytest.raises(runtime.CheckpointError, match=r"optimizer 'sgd'; this artifact is 'adam'"):
        step.restore(tmp_path / "sgd.safetensors")
    assert handmade.snapshot(step) == before


def other_shapes(shapes: dict[str, tuple[int, ...]], path: Path) -> None:
    with handmade.adam(shapes).load() as other:
        other.initialize({name[1:]: np.ones(s, np.float32) for name, s in shapes.items()})
        other.save(path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"/w": (4, 8), "/b": (4,)}, r"params/w: expected shape \(8, 4\), got \(4, 8\)"),
        ({"/w": (8, 4)}, r"missing 'params/b', 'slots.*; not expected none"),
        ({"/w": (8, 4), "/c": (4,)}, r"missing 'params/b'.*not expected 'params/c'"),
    ],
)
def test_of_another_model(
    step: CompiledStep, shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    other_shapes(shapes, tmp_path / "other.safetensors")
    before = handmade.snapshot(step)
    with pytest.raises(runtime.CheckpointError, match=message):
        step.restore(tmp_path / "other.safetensors")
    assert handmade.snapshot(step) == before


def test_of_another_dtype(tmp_path: Path) -> None:
    for dtype in ("float16", "float32"):
        with handmade.sgd({"/w": (4,)}, dtype=dtype).load() as step:
            step.initialize({"w": np.ones(4, dtype)})
            if dtype == "float16":
                step.save(tmp_path / "half.safetensors")
                continue
            with pytest.raises(
                runtime.CheckpointError, match=r"params/w: expected dtype float32, got float16"
            ):
                step.restore(tmp_path / "half.safetensors")


def test_every_difference_is_listed(step: CompiledStep, tmp_path: Path) -> None:
    other_shapes({"/w": (4, 8), "/b": (3,)}, tmp_path / "other.safetensors")
    with pytest.raises(runtime.CheckpointError) as caught:
        step.restore(tmp_path / "other.safetensors")
    assert str(caught.value).endswith(
        "params/w: expected shape (8, 4), got (4, 8); params/b: expected shape (4,), got (3,); "
        "slots/AdamOptimizer/w_1st_moment: expected shape (8, 4), got (4, 8); "
        "slots/AdamOptimizer/b_1st_moment: expected shape (4,), got (3,); "
        "slots/AdamOptimizer/w_2nd_moment: expected shape (8, 4), got (4, 8); "
        "slots/AdamOptimizer/b_2nd_moment: expected shape (4,), got (3,)"
    )


def with_epsilon(value: float) -> Any:
    artifact = handmade.adam()
    settings = tuple(
        dataclasses.replace(item, value=value) if item.name == "adam_epsilon" else item
        for item in handmade.HYPERPARAMETERS
    )
    return variants.with_manifest(artifact, groups=(Group(settings),))


def test_of_other_hyperparameters(step: CompiledStep, tmp_path: Path) -> None:
    """The run goes on with those of the artifact, and says so; those that are state come along."""
    path = tmp_path / "x.safetensors"
    step.learning_rate = 0.5
    step.save(path)
    before = handmade.snapshot(step)
    with with_epsilon(1e-3).load() as other:
        with pytest.warns(
            runtime.CheckpointWarning, match=r"x.safetensors was .*adam_epsilon 1e-07, here 0.001;"
        ):
            other.restore(path)
        assert handmade.snapshot(other) == before
        other.step({n[1:]: np.ones(s, np.float32) for n, s in handmade.SHAPES.items()})
        after = handmade.snapshot(other)
        with pytest.raises(runtime.CheckpointError, match=r"adam_epsilon 1e-07, here 0.001$"):
            other.restore(path, strict=True)
        assert handmade.snapshot(other) == after != before
    with with_epsilon(1e-7).load() as same:
        same.restore(path, strict=True)


def test_of_other_hyperparameters_by_groups(step: CompiledStep, tmp_path: Path) -> None:
    def grouped(*decays: float) -> Any:
        names = ("/w", "/b")
        groups = tuple(
            Group((*handmade.HYPERPARAMETERS[:1], Hyperparameter("decay", decay)), (name,))
            for name, decay in zip(names, decays, strict=True)
        )
        return variants.with_manifest(handmade.adam(), groups=groups)

    with grouped(0.0, 0.1).load() as first, grouped(0.0, 0.2).load() as second:
        first.initialize({n[1:]: np.ones(s, np.float32) for n, s in handmade.SHAPES.items()})
        first.save(tmp_path / "x.safetensors")
        first.restore(tmp_path / "x.safetensors")
        text = r"decay \[0.0, 0.1\], here \[0.0, 0.2\];"
        with pytest.warns(runtime.CheckpointWarning, match=text):
            second.restore(tmp_path / "x.safetensors")


def test_of_no_file(step: CompiledStep, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(runtime.CheckpointError, match="expected a file, got a pipe or a devi"):
            step.restore(path)


def test_of_another_tool(step: CompiledStep, tmp_path: Path) -> None:
    safetensors.numpy.save_file({"w": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(
        runtime.CheckpointError, match=r"expected 'stepforge.sha256' in its metadata.*initialize"
    ):
        step.restore(tmp_path / "x.safetensors")


def test_of_a_recompiled_artifact(step: CompiledStep, parameters: Arrays, tmp_path: Path) -> None:
    """Another artifact of the same optimizer and model continues the run."""
    step.save(tmp_path / "x.safetensors")
    artifact = handmade.adam()
    made = variants.with_manifest(artifact, facts=(("note", "other bytes"),))
    assert made.sha256 != artifact.sha256
    with made.load() as other:
        other.restore(tmp_path / "x.safetensors")
        assert handmade.snapshot(other) == handmade.snapshot(step)


def test_missing_file_is_an_os_error(step: CompiledStep, tmp_path: Path) -> None:
    before = handmade.snapshot(step)
    with pytest.raises(FileNotFoundError):
        step.restore(tmp_path / "none.safetensors")
    assert handmade.snapshot(step) == before


# Writing.


@pytest.mark.parametrize("failing", ["open", "fsync", "fchmod", "replace"])
def test_failed_save_keeps_the_old_one(
    step: CompiledStep,
    gradients: Arrays,
    failing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "run.safetensors"
    step.save(path)
    old = path.read_bytes()
    step.step(gradients)
    before = handmade.snapshot(step)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, failing, fail)
        with pytest.raises(
            runtime.CheckpointWriteError, match=r"\d+ bytes needed, \d+ free.*No space left"
        ):
            step.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    assert path.read_bytes() == old
    assert handmade.snapshot(step) == before
    step.save(path)
    step.restore(path)
    assert handmade.snapshot(step) == before


def test_reading_back_can_be_left_out(
    step: CompiledStep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.safetensors"
    read: list[int] = []
    monkeypatch.setattr(checkpoint, "verify", lambda stream, size, where: read.append(size))
    for given, wanted in ((None, True), (True, True), (False, False)):
        read.clear()
        step.snapshot().write(path, verify_after_write=given)
        assert read == [path.stat().st_size] * wanted
    monkeypatch.setattr(checkpoint, "VERIFIED_BYTES", path.stat().st_size)
    read.clear()
    step.save(path)
    assert read == []


def test_what_a_killed_writer_left_is_removed(step: CompiledStep, tmp_path: Path) -> None:
    """An hour later, and if it was a writer of this file that is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    old = time.time() - files.STALE_SECONDS - 60
    stale = f".run.safetensors.{gone.pid}.0123abcd.tmp"
    kept = [
        f".run.safetensors.{os.getpid()}.0123abcd.tmp",  # a writer that lives
        f".other.safetensors.{gone.pid}.0123abcd.tmp",
        f".run.safetensors.{gone.pid}.0123abcd",
        f".run.safetensors.{gone.pid}.mine.tmp",
        "run.safetensors.tmp",
    ]
    young = f".run.safetensors.{gone.pid}.4567abcd.tmp"
    for name in (stale, *kept, young):
        (tmp_path / name).write_bytes(b"half")
        if name != young:
            os.utime(tmp_path / name, (old, old))
    step.save(tmp_path / "run.safetensors")
    assert sorted(os.listdir(tmp_path)) == sorted(["run.safetensors", *kept, young])


def test_no_such_folder(step: CompiledStep, tmp_path: Path) -> None:
    with pytest.raises(runtime.CheckpointWriteError, match="No such file or directory"):
        step.save(tmp_path / "none" / "run.safetensors")


def test_equal_states_give_equal_files(step: CompiledStep, tmp_path: Path) -> None:
    step.save(tmp_path / "a")
    step.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_new_files_follow_the_umask_and_old_ones_keep_their_mode(
    step: CompiledStep, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    step.save(path)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o604)
    step.save(path)
    assert path.stat().st_mode & 0o777 == 0o604


def test_format_of_another_release(step: CompiledStep, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    step.save(path)
    tensors = decode(path.read_bytes(), "x")
    changed = dataclasses.replace(tensors, metadata={**tensors.metadata, "stepforge.format": "2"})
    path.write_bytes(b"".join(encode(Tensors(changed.arrays, changed.metadata))))
    with pytest.raises(runtime.CheckpointError, match="expected checkpoint format '1', got '2'"):
        step.restore(path)


def refuse_folders(patch: pytest.MonkeyPatch, code: int) -> None:
    """Files are synced, folders answer with `code`."""
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    patch.setattr(os, "fsync", files_only)


def test_a_disk_that_fails_after_the_file_is_in_place(
    step: CompiledStep, gradients: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    step.save(path)
    step.step(gradients)
    saved = handmade.snapshot(step)
    with monkeypatch.context() as patch:
        refuse_folders(patch, errno.EIO)
        with pytest.raises(runtime.CheckpointWriteError) as caught:
            step.save(path)
    text = str(caught.value)
    assert str(path) in text
    assert "the new file is in its place, and may not outlast a crash" in text
    assert "Input/output error" in text
    assert "untouched" not in text
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
    step.step(gradients)
    step.restore(path)
    assert handmade.snapshot(step) == saved


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_does_not_sync_folders(
    step: CompiledStep, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is in its place by then, so the save has not failed."""
    with monkeypatch.context() as patch:
        refuse_folders(patch, code)
        step.save(tmp_path / "x.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
    step.restore(tmp_path / "x.safetensors")
