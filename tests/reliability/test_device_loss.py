"""R17, and R14 after submission: a device that fails in a step, for real, on every backend here.

The step's own code waits for what it wrote, and then fails. In place the state is lost, and comes
back from a snapshot of the host, also elsewhere; by ping-pong it is the one of before.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime import executor
from stepforge.runtime.step import CompiledStep
from support import faults, handmade
from support.faults import FATAL, ONES

pytestmark = pytest.mark.compiler

PLACES = [
    pytest.param(("cpu", "local-sync"), id="local-sync"),
    pytest.param(("cpu", "local-task"), id="local-task"),
    pytest.param(("vmvx", "local-sync"), id="vmvx"),
    pytest.param(("vulkan", "vulkan"), id="vulkan", marks=pytest.mark.vulkan),
]
Place = tuple[str, str]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that failed is given a moment to end well; these never do."""
    monkeypatch.setattr(executor, "MOMENT", 20_000_000)


def started(update: faults.Update, place: Place) -> CompiledStep:
    target, device = place
    step = faults.failing(update, target).load(device=device)
    step.initialize({"w": np.zeros(faults.SIZE, np.float32)})
    step.learning_rate = 1.0
    step.step(ONES)
    step.step(ONES)
    return step


def uses(step: CompiledStep, path: Path) -> list[Any]:
    return [
        lambda: step.parameters["w"],
        lambda: step.variables["/w"],
        lambda: step.step(ONES),
        lambda: step.save(path),
        step.snapshot,
        step.synchronize,
        lambda: step.view("w"),
    ]


@pytest.mark.parametrize("place", PLACES)
def test_in_place_the_state_is_lost_and_never_read(place: Place, tmp_path: Path) -> None:
    with started("in-place", place) as step:
        for _ in range(2):
            snapshot = step.snapshot()
            good = handmade.snapshot(step)
            with pytest.raises(runtime.StateLostError, match=r"injected: the device is gone; rest"):
                step.step(FATAL)
            for use in uses(step, tmp_path / "lost.safetensors"):
                with pytest.raises(runtime.StateLostError, match=r"restore\(path\)"):
                    use()
            assert not list(tmp_path.iterdir())
            step.restore_snapshot(snapshot)
            assert handmade.snapshot(step) == good
            step.step(ONES)
        assert step.global_step == 4
        assert (step.parameters["w"] == -4).all()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("times", [1, 3])
def test_by_ping_pong_the_state_is_that_of_before(place: Place, times: int, tmp_path: Path) -> None:
    """Which can be read, saved and stepped on from, whichever of the buffers it is in."""
    with started("ping-pong", place) as step:
        for taken in (2, 3, 4):
            good = handmade.snapshot(step)
            for _ in range(times):
                with pytest.raises(runtime.StepFailedError, match=r"injected.*is as it was before"):
                    step.step(FATAL)
                assert handmade.snapshot(step) == good
            assert step.global_step == taken
            step.save(tmp_path / f"{taken}.safetensors")
            step.step(ONES)
            assert (step.parameters["w"] == -(taken + 1)).all()
        step.restore(tmp_path / "3.safetensors")
        assert step.global_step == 3
        assert (step.parameters["w"] == -3).all()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
def test_the_snapshot_goes_on_elsewhere(
    place: Place, update: faults.Update, tmp_path: Path
) -> None:
    path = tmp_path / "kept.safetensors"
    with started(update, place) as step:
        snapshot = step.snapshot()
        with pytest.raises((runtime.StateLostError, runtime.StepFailedError)):
            step.step(FATAL)
    snapshot.write(path)
    for target, device in (("cpu", "local-sync"), ("cpu", "local-task"), ("vmvx", "local-sync")):
        with faults.failing("in-place", target).load(device=device) as other:
            other.restore(path)
            other.step(ONES)
            assert other.global_step == 3
            assert (other.parameters["w"] == -3).all()


@pytest.mark.parametrize("place", PLACES[:-1])
@pytest.mark.parametrize("then", ["synchronize", "parameters", "global_step", "step", "save"])
def test_a_step_that_nobody_waited_for(place: Place, then: str, tmp_path: Path) -> None:
    """Its failure is told once, by what comes next; then the state of before is there.

    What the device signals fails, as it does when a queue is lost.
    """
    with started("ping-pong", place) as step:
        good = handmade.snapshot(step)
        timeline: Any = step._session.module.timeline
        step.step(ONES, wait=False)
        timeline._semaphore.fail("injected: the queue is gone")
        calls = {
            "synchronize": step.synchronize,
            "parameters": lambda: dict(step.parameters),
            "global_step": lambda: step.global_step,
            "step": lambda: step.step(ONES),
            "save": lambda: step.save(tmp_path / "x.safetensors"),
        }
        with pytest.raises(runtime.StepFailedError, match="as it was before"):
            calls[then]()
        assert handmade.snapshot(step) == good
        step.step(ONES)
        assert step.global_step == 3
        assert (step.parameters["w"] == -3).all()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
def test_a_semaphore_that_fails_for_real(place: Place, update: faults.Update) -> None:
    """IREE's own: what the device signals has failed, as after the loss of a device."""
    with started(update, place) as step:
        snapshot = step.snapshot()
        good = handmade.snapshot(step)
        timeline: Any = step._session.module.timeline
        timeline._semaphore.fail("injected: the queue is gone")
        kind = runtime.StateLostError if update == "in-place" else runtime.StepFailedError
        with pytest.raises(kind):
            step.step(ONES)
        if update == "in-place":
            step.restore_snapshot(snapshot)
        assert handmade.snapshot(step) == good
        step.step(ONES)
        assert step.global_step == 3


@pytest.mark.vulkan
@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
def test_a_vulkan_device_that_is_lost(update: faults.Update, tmp_path: Path) -> None:
    """Whatever is done with it is told so, or works; the next `load` opens a lost device anew.

    In a child: what else this process has on the device would be lost too.
    """
    (tmp_path / "a.vmfb").write_bytes(faults.failing(update, "vulkan").vmfb_bytes)
    (tmp_path / "cpu.vmfb").write_bytes(faults.failing("in-place").vmfb_bytes)
    code = """
    import numpy as np
    from stepforge import runtime

    ones = {"w": np.ones(64, np.float32)}
    step = runtime.load("a.vmfb")
    step.initialize({"w": np.zeros(64, np.float32)})
    step.learning_rate = 1.0
    step.step(ones)
    step.step(ones)
    snapshot = step.snapshot()
    timeline = step._session.module.timeline
    step.step(ones, wait=False)
    timeline._semaphore.fail("injected: the queue is gone")
    uses = (
        step.synchronize,
        lambda: step.parameters["w"],
        lambda: step.step(ones),
        lambda: step.save("lost.safetensors"),
        lambda: step.restore_snapshot(snapshot),
    )
    for use in uses:
        try:
            use()
            print("fine")
        except (runtime.StateLostError, runtime.DeviceError) as error:
            print(type(error).__name__)
    snapshot.write("kept.safetensors")
    for file in ("a.vmfb", "cpu.vmfb"):
        with runtime.load(file) as other:
            other.restore("kept.safetensors")
            other.step(ones)
            assert other.global_step == 3
            assert (other.parameters["w"] == -3).all()
    step.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.split()
    if update == "in-place":
        assert told[:4] == ["StateLostError"] * 4
        assert not (tmp_path / "lost.safetensors").exists()
    else:  # the first is told at once; whether the memory can still be read is the driver's to say
        assert told[0] == "StepFailedError"
        assert "StateLostError" not in told
