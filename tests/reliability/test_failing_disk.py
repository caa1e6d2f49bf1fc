"""Whatever call of the system fails during a save, and however: the old checkpoint stays (R3)."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reliability.io_calls import calls_of, intercepted
from stepforge import runtime
from stepforge.runtime import Checkpoints, CheckpointWarning
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

SHAPES = {"/w": (512, 400), "/v": (512, 256), "/b": (4,)}
"""Checkpoints of 3.8 MiB, which take several calls to write."""

GIVEN = r"cannot write the checkpoint {path} \(\d+ bytes needed, \d+ free\): .*{reason}.*untouched"


@pytest.fixture(scope="module")
def artifact() -> Any:
    return handmade.adam(SHAPES)


@pytest.fixture
def step(artifact: Any) -> Iterator[CompiledStep]:
    with artifact.load(device="local-sync") as made:
        made.initialize({n[1:]: np.ones(s, np.float32) for n, s in SHAPES.items()})
        yield made


def count(step: CompiledStep) -> None:
    """The next state."""
    step.variables["/global_step"] = step.global_step + 1
    step.learning_rate = step.global_step / 64


@contextmanager
def failing(name: str, number: int, act: Callable[..., Any]) -> Iterator[None]:
    """Do `act` with the arguments and the real function, in place of the call number `number` of
    that name; of all calls, where `name` is empty."""
    seen = 0

    def handle(called: str, arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        nonlocal seen
        seen += not name or called == name
        if seen == number and (not name or called == name):
            seen += 1
            return act(arguments, go)
        return go()

    with intercepted(handle):
        yield


def raising(code: int) -> Callable[..., Any]:
    def act(*_: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return act


def short(part: float) -> Callable[..., Any]:
    def act(arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        descriptor, data = arguments
        return go(descriptor, data[: int(len(data) * part)])

    return act


ERRORS = [
    ("open", errno.EMFILE),
    ("open", errno.EROFS),
    ("posix_fallocate", errno.ENOSPC),
    ("posix_fallocate", errno.EDQUOT),
    ("write", errno.ENOSPC),
    ("write", errno.EDQUOT),
    ("write", errno.EIO),
    ("fsync", errno.EIO),
    ("close", errno.EIO),
    ("replace", errno.EACCES),
    ("replace", errno.EXDEV),
]


def save_and_count(step: CompiledStep, path: Path) -> list[str]:
    """The calls of a save."""
    found = calls_of(lambda: step.save(path))
    assert found.count("write") >= 4
    return found


@pytest.mark.parametrize(
    ("name", "code"), ERRORS, ids=[f"{n}-{errno.errorcode[c]}" for n, c in ERRORS]
)
def test_every_call_that_fails(step: CompiledStep, memory_path: Path, name: str, code: int) -> None:
    path = memory_path / "run.safetensors"
    calls = save_and_count(step, path)
    old = path.read_bytes()
    for number in range(1, calls.count(name) + 1):
        count(step)
        before = handmade.snapshot(step)
        with failing(name, number, raising(code)):
            with pytest.raises(runtime.CheckpointWriteError) as caught:
                step.save(path)
        assert os.listdir(memory_path) == ["run.safetensors"]
        assert handmade.snapshot(step) == before
        if "the new file is in its place" in str(caught.value):
            # The folder could not be synced.
            assert number == calls.count(name)
            assert name in ("open", "fsync", "close")
            assert str(path) in str(caught.value)
            continue
        assert caught.match(GIVEN.format(path=path, reason=os.strerror(code)))
        assert path.read_bytes() == old
        step.save(path)
        old = path.read_bytes()
        step.restore(path)
        assert handmade.snapshot(step) == before


@pytest.mark.parametrize(
    "act",
    [raising(errno.EINTR), short(0.5), short(0.999), lambda a, go: go(a[0], a[1][:1])],
    ids=["interrupted", "half", "most", "one byte"],
)
def test_every_write_that_is_cut_short(
    step: CompiledStep, memory_path: Path, act: Callable[..., Any]
) -> None:
    path = memory_path / "run.safetensors"
    for number in range(1, save_and_count(step, path).count("write") + 1):
        count(step)
        before = handmade.snapshot(step)
        with failing("write", number, act):
            step.save(path)
        step.restore(path)
        assert handmade.snapshot(step) == before


def test_a_disk_that_takes_nothing(step: CompiledStep, memory_path: Path) -> None:
    with failing("write", 2, lambda *_: 0), pytest.raises(runtime.CheckpointWriteError):
        step.save(memory_path / "run.safetensors")
    assert os.listdir(memory_path) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_sets_no_space_aside(
    step: CompiledStep, memory_path: Path, code: int
) -> None:
    with failing("posix_fallocate", 1, raising(code)):
        step.save(memory_path / "run.safetensors")
    step.restore(memory_path / "run.safetensors")


@pytest.mark.parametrize("damage", ["first", "middle", "last", "short"])
def test_a_disk_that_gives_other_bytes_back(
    step: CompiledStep, memory_path: Path, damage: str
) -> None:
    path = memory_path / "run.safetensors"
    step.save(path)
    old = path.read_bytes()
    count(step)

    def act(arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        (file,) = (name for name in os.listdir(memory_path) if name.endswith(".tmp"))
        data = bytearray((memory_path / file).read_bytes())
        position = {"first": 0, "middle": len(data) // 2, "last": -1, "short": -1}[damage]
        data[position] ^= 16
        (memory_path / file).write_bytes(data[:-1] if damage == "short" else data)
        return go()

    with failing("posix_fadvise", 1, act):
        with pytest.raises(
            runtime.CheckpointWriteError,
            match=r"cannot write .*run.safetensors: the disk gives other bytes.*is untouched",
        ):
            step.save(path)
    assert os.listdir(memory_path) == ["run.safetensors"]
    assert path.read_bytes() == old


@pytest.mark.parametrize("kind", [OSError(errno.EIO, "gone"), KeyboardInterrupt()])
def test_anything_at_any_call(step: CompiledStep, memory_path: Path, kind: BaseException) -> None:
    """Also at calls that need not succeed, and at Ctrl-C."""

    def act(*_: Any) -> Any:
        raise kind

    checkpoints = Checkpoints(memory_path, keep=2)
    for _ in range(3):
        checkpoints.save(step)
        count(step)
    number, failed, last = 0, 0, ""
    total = len(calls_of(lambda: checkpoints.save(step)))
    while number < total + 2:
        number += 1
        count(step)
        saved = int(step.global_step) - 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)
            try:
                with failing("", number, act):
                    checkpoints.save(step)
                saved += 1
            except (runtime.CheckpointError, KeyboardInterrupt) as error:
                failed += 1
                last = str(error)
        restored = checkpoints.restore(step, strict=True)
        assert restored is not None
        # An interrupt after the new one is in its place, or a folder that could not be synced.
        assert restored.step in (saved, saved + 1), (number, last)
        step.variables["/global_step"] = saved + 1
        checkpoints.save(step)
        assert [name for name in os.listdir(memory_path) if name.endswith(".tmp")] == []
        assert len(checkpoints.names()) == 2
    assert failed > total / 3


# Without anything in between.


@pytest.mark.parametrize("allocates", [True, False])
def test_a_limit_on_the_size_of_files(
    step: CompiledStep, memory_path: Path, allocates: bool
) -> None:
    path = memory_path / "run.safetensors"
    step.save(path)
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in np.linspace(0, size - 1, 64, dtype=int):
        old = path.read_bytes()
        count(step)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), before[1]))
        try:
            with failing("" if allocates else "posix_fallocate", 1, _unless(allocates)):
                with pytest.raises(runtime.CheckpointWriteError, match=r"File too large"):
                    step.save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert os.listdir(memory_path) == ["run.safetensors"]
        assert path.read_bytes() == old
    step.save(path)
    step.restore(path)


def _unless(allocates: bool) -> Callable[..., Any]:
    return (lambda _, go: go()) if allocates else raising(errno.EOPNOTSUPP)


def test_signals_all_the_time(step: CompiledStep, tmp_path: Path) -> None:
    caught = 0

    def note(*_: Any) -> None:
        nonlocal caught
        caught += 1

    old = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(10):
            count(step)
            step.save(tmp_path / "run.safetensors")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert caught > 10
    before = handmade.snapshot(step)
    step.restore(tmp_path / "run.safetensors")
    assert handmade.snapshot(step) == before


FULL = """
import os, sys
import numpy as np
from stepforge import runtime

checkpoints = runtime.Checkpoints("disk", keep=50)
with runtime.load(sys.argv[1], device="local-sync") as step:
    step.initialize({"w": np.ones((128, 128), np.float32)})
    for number in range(50):
        step.variables["/global_step"] = number
        try:
            checkpoints.save(step)
        except runtime.CheckpointWriteError as error:
            assert "No space left on device" in str(error), error
            break
    assert 3 <= number < 10, number
    assert len(os.listdir("disk")) == number
    assert checkpoints.restore(step, strict=True).step == number - 1
    os.unlink("disk/" + checkpoints.names()[0])
    step.variables["/global_step"] = number
    checkpoints.save(step)
    assert checkpoints.restore(step, strict=True).step == number
"""


@pytest.mark.slow
def test_a_disk_of_one_mebibyte(tmp_path: Path) -> None:
    inside = ["unshare", "--map-root-user", "--mount"]
    mount = f"mkdir {tmp_path}/disk && mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk"
    try:
        tried = subprocess.run([*inside, "sh", "-c", f"{mount}"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr}")
    (tmp_path / "adam.vmfb").write_bytes(handmade.adam({"/w": (128, 128)}).vmfb_bytes)
    (tmp_path / "full.py").write_text(FULL)
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk"
    command = f"{mount} && cd {tmp_path} && exec {sys.executable} full.py adam.vmfb"
    done = subprocess.run([*inside, "sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
