"""A process that is killed at any moment, while it steps and saves, loses no checkpoint (R2)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from reliability.kill_driver import KEEP, begin, take_step
from stepforge.runtime import Checkpoints
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Size:
    """A state of Adam: three tensors for a parameter."""

    elements: int
    kills: int
    long_kills: int
    longest: float
    """Seconds until a kill, at most: more than a save takes."""


SIZES = {
    "4 KiB": Size(2**12 // 12, 60, 600, 0.2),
    "1 MiB": Size(2**20 // 12, 35, 350, 0.2),
    "64 MiB": Size(2**26 // 12, 5, 50, 1.5),
}


def cases() -> list[object]:
    made: list[object] = []
    for name, size in SIZES.items():
        made.append(pytest.param(size, size.kills, id=f"{name}-{size.kills}"))
        slow = pytest.mark.slow
        made.append(pytest.param(size, size.long_kills, id=f"{name}-{size.long_kills}", marks=slow))
    return made


@pytest.mark.parametrize(("size", "kills"), cases())
def test_random_kills(tmp_path: Path, size: Size, kills: int) -> None:
    artifact = handmade.adam({"/w": (size.elements,)})
    (tmp_path / "adam.vmfb").write_bytes(artifact.vmfb_bytes)
    folder = tmp_path / "checkpoints"
    command = [sys.executable, "-m", "reliability.kill_driver", f"{tmp_path}/adam.vmfb"]
    draw = random.Random(size.elements)
    broken_off = 0
    with (
        subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        ) as driver,
        artifact.load(device="local-sync") as uninterrupted,
        artifact.load(device="local-sync") as step,
    ):
        begin(uninterrupted)
        at_least = 0
        for _ in range(kills):
            at_least = max(at_least, kill_one(driver, draw, size.longest))
            at_least = check(folder, step, uninterrupted, at_least)
            broken_off += clear(folder)
        assert driver.stdin is not None
        driver.stdin.close()
        assert driver.wait() == 0
    assert at_least > 0
    assert broken_off > 0, "no save was under way when its process was killed"


def kill_one(driver: subprocess.Popen[str], draw: random.Random, longest: float) -> int:
    """The last step whose checkpoint the process said was saved, before it was killed: some time
    after it was ready, or after its first save, which takes longer than that where it is large."""
    assert driver.stdin is not None
    assert driver.stdout is not None
    driver.stdin.write("\n")
    driver.stdin.flush()
    waits_for = draw.choice(["ready", "saved"])
    process, saved, told, killed = 0, 0, False, False
    for line in driver.stdout:
        word, number = line.split()
        if word == "forked":
            process = int(number)
        if word == "saved":
            saved = int(number)
        if word == "ended":
            assert int(number) == -signal.SIGKILL
            return saved
        # The lines of two processes come in any order.
        told = told or word == waits_for
        if told and process and not killed:
            time.sleep(draw.uniform(0, longest))
            os.kill(process, signal.SIGKILL)
            killed = True
    raise AssertionError(f"the driver ended with {driver.wait()}")


def check(folder: Path, step: CompiledStep, uninterrupted: CompiledStep, at_least: int) -> int:
    """The newest is whole, not older than what was said, and that of a run without a break."""
    restored = Checkpoints(folder, KEEP).restore(step, strict=True)
    assert restored is not None
    assert restored.step >= at_least
    while uninterrupted.global_step < restored.step:
        take_step(uninterrupted, uninterrupted.global_step + 1)
    assert handmade.snapshot(step) == handmade.snapshot(uninterrupted)
    return restored.step


def clear(folder: Path) -> int:
    """Remove what the killed process had begun, which is too young to be removed by a save."""
    found = list(folder.glob(".*.tmp"))
    for path in found:
        path.unlink()
    assert len(list(folder.glob("step-*"))) >= 1
    return len(found)
