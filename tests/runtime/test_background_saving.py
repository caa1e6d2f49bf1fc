"""`save(wait=False)`: the state of the moment, files in order, and no error that is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reliability.io_calls import intercepted
from stepforge import runtime
from stepforge.runtime import Checkpoints, CheckpointWarning
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]


def full(name: str, arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
    if name == "write":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return go()


def fail_behind(checkpoints: Checkpoints, step: CompiledStep) -> None:
    """A save in the background that has failed by now."""
    with intercepted(full):
        checkpoints.save(step, wait=False)
        while checkpoints.is_saving:
            pass


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, keep=3)


def test_the_state_of_the_moment(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays
) -> None:
    step.step(gradients)
    saved = handmade.snapshot(step)
    path = checkpoints.save(step, wait=False, metadata={"a": "b"})
    step.step(gradients)
    checkpoints.wait()
    assert not checkpoints.is_saving
    assert path == checkpoints.latest()
    assert step.restore(path) == {"a": "b"}
    assert handmade.snapshot(step) == saved


def test_one_at_a_time_and_in_order(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays
) -> None:
    gate = threading.Event()

    def hold(name: str, arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        if name == "fsync":
            gate.wait()
        return go()

    with intercepted(hold):
        checkpoints.save(step, wait=False)
        assert checkpoints.is_saving
        assert checkpoints.names() == ()
        step.step(gradients)
        opener = threading.Timer(0.05, gate.set)
        opener.start()
        checkpoints.save(step, wait=False)
        assert gate.is_set()
        assert "step-00000000.safetensors" in checkpoints.names()
        opener.join()
        checkpoints.close()
    assert len(checkpoints.names()) == 2


def test_restoring_waits_for_the_newest(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays
) -> None:
    for number in range(1, 4):
        step.step(gradients)
        checkpoints.save(step, wait=False)
        restored = checkpoints.restore(step)
        assert restored is not None
        assert restored.step == number


@pytest.mark.parametrize(
    "then",
    [
        lambda checkpoints, step: checkpoints.wait(),
        lambda checkpoints, step: checkpoints.close(),
        lambda checkpoints, step: checkpoints.save(step),
        lambda checkpoints, step: checkpoints.save(step, wait=False),
        lambda checkpoints, step: checkpoints.__exit__(None, None, None),
    ],
    ids=["wait", "close", "save", "save behind", "with"],
)
def test_an_error_is_raised_once_by_what_comes_next(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays, then: Any
) -> None:
    checkpoints.save(step)
    step.step(gradients)
    fail_behind(checkpoints, step)
    # None of these raises or loses it.
    assert checkpoints.names() == ("step-00000000.safetensors",)
    checkpoints.latest()
    checkpoints.check(1)
    before = handmade.snapshot(step)
    with pytest.raises(
        runtime.CheckpointWriteError, match=r"00001.safetensors \(\d+ bytes.*No space left"
    ):
        then(checkpoints, step)
    assert handmade.snapshot(step) == before
    checkpoints.wait()
    checkpoints.save(step)
    assert len(checkpoints.names()) == 2


def test_restoring_does_not_take_the_error(checkpoints: Checkpoints, step: CompiledStep) -> None:
    fail_behind(checkpoints, step)
    assert checkpoints.restore(step) is None
    with pytest.raises(runtime.CheckpointWriteError, match="No space left"):
        checkpoints.wait()


def test_an_error_beside_another(checkpoints: Checkpoints, step: CompiledStep) -> None:
    def interrupted() -> None:
        with checkpoints:
            fail_behind(checkpoints, step)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        interrupted()
    assert "not written in the background: cannot write" in caught.value.__notes__[0]


def test_wrong_arguments_are_told_at_once(checkpoints: Checkpoints, step: CompiledStep) -> None:
    texts: Any = {"a": 1}
    with pytest.raises(runtime.InputError, match="metadata of a checkpoint"):
        checkpoints.save(step, wait=False, metadata=texts)
    step.variables["/global_step"] = 5
    checkpoints.save(step)
    step.variables["/global_step"] = 4
    with pytest.raises(runtime.CheckpointWriteError, match="ahead of step 4"):
        checkpoints.save(step, wait=False)


def test_an_error_that_nobody_waits_for(step: CompiledStep, tmp_path: Path) -> None:
    def forgotten() -> None:
        fail_behind(Checkpoints(tmp_path), step)

    with pytest.warns(CheckpointWarning, match=r"nobody waited for it: cannot write the checkp"):
        forgotten()


CHILD = """
import sys
import numpy as np
from stepforge import runtime

step = runtime.load(sys.argv[1], device="local-sync")
step.initialize({"w": np.ones(10**6, np.float32)})
checkpoints = runtime.Checkpoints(sys.argv[2])
checkpoints.save(step, wait=False)
"""


@pytest.mark.parametrize("works", [True, False])
def test_the_interpreter_ends_after_it(tmp_path: Path, works: bool) -> None:
    artifact = handmade.adam({"/w": (10**6,)})
    (tmp_path / "adam.vmfb").write_bytes(artifact.vmfb_bytes)
    folder = tmp_path / "runs"
    if not works:
        folder.symlink_to(tmp_path / "nowhere")
    code = [sys.executable, "-c", CHILD, str(tmp_path / "adam.vmfb"), str(folder)]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.returncode == 0
    assert ("CheckpointWarning: a checkpoint was not written" in done.stderr) == (not works)
    if not works:
        assert "cannot make the folder" in done.stderr
        return
    assert done.stderr == ""
    with artifact.load(device="local-sync") as step:
        restored = Checkpoints(folder).restore(step, strict=True)
        assert restored is not None
        assert np.all(step.parameters["w"] == 1)
