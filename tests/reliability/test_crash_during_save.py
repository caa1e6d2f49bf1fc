"""A process that dies at any call of the system during a save loses no checkpoint (R1)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reliability.crash_driver import SCENARIOS, STEPS_BEFORE, begin, take_step
from reliability.disk import LOST, Disk
from stepforge.runtime import Checkpoints
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

TESTS = Path(__file__).resolve().parents[1]
CONTINUED = 10
MODELS = ("killed", *LOST)


@pytest.fixture(scope="module")
def step() -> Iterator[CompiledStep]:
    with handmade.adam().load(device="local-sync") as made:
        yield made


@pytest.fixture(scope="module")
def states(step: CompiledStep) -> list[dict[str, bytes]]:
    """After each number of steps, of a run that nothing interrupts."""
    begin(step)
    found = [handmade.snapshot(step)]
    for number in range(1, STEPS_BEFORE + CONTINUED + 1):
        take_step(step, number)
        found.append(handmade.snapshot(step))
    return found


def crashes(folder: Path, seeds: int, left_out: str = "") -> None:
    (folder / "adam.vmfb").write_bytes(handmade.adam().vmfb_bytes)
    arguments = [str(folder / "adam.vmfb"), str(folder), str(seeds), left_out]
    command = [sys.executable, "-m", "reliability.crash_driver", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
    assert (done.returncode, done.stderr) == (0, "")


def restored(step: CompiledStep, scenario: str, disk: Path) -> int | None:
    """How many steps the state has that is found; None: there is none. Anything else raises."""
    if scenario == "overwrite":
        step.restore(disk / "run.safetensors")
        return step.global_step
    folder = disk / "runs" / "7" if scenario == "first" else disk
    found = Checkpoints(folder).restore(step, strict=True)
    return None if found is None else found.step


def losses(folder: Path, step: CompiledStep, states: Any, scenario: str, seeds: int) -> list[str]:
    """What is not as it should be, over all crashes of a scenario and all that they may take."""
    save, before = SCENARIOS[scenario]
    old = STEPS_BEFORE - 1 if before else None
    last = max(int(path.name.split("-")[0]) for path in (folder / scenario).glob("*-0"))
    found: list[str] = []
    for number in range(1, last + 1):
        for seed in range(seeds):
            case = folder / scenario / f"{number}-{seed}"
            allowed = {STEPS_BEFORE} if number == last else {old, STEPS_BEFORE}
            for model in MODELS:
                disk = case / "disk"
                if model != "killed":
                    disk = case / model
                    Disk.replayed(folder / scenario / "start", case).write(disk, model, seed)
                try:
                    got = restored(step, scenario, disk)
                    if got in allowed:
                        continue_run(step, states, got)
                        save(step, disk)
                        assert restored(step, scenario, disk) == step.global_step
                        continue
                    problem = f"restored {got}"
                except Exception as error:
                    problem = f"{type(error).__name__}: {error}"
                found.append(f"{scenario}, call {number} of {last}, {model}, {seed}: {problem}")
    assert last > 8
    return found


def continue_run(step: CompiledStep, states: list[dict[str, bytes]], number: int | None) -> None:
    """Bit for bit as a run that nothing interrupted."""
    if number is None:
        begin(step)
        number = 0
    for following in range(number + 1, number + CONTINUED + 1):
        assert handmade.snapshot(step) == states[following - 1]
        take_step(step, following)
    assert handmade.snapshot(step) == states[number + CONTINUED]


@pytest.mark.parametrize("seeds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_no_checkpoint_is_lost(
    memory_path: Path, step: CompiledStep, states: list[dict[str, bytes]], seeds: int
) -> None:
    crashes(memory_path, seeds)
    for scenario in SCENARIOS:
        assert losses(memory_path, step, states, scenario, seeds) == []


def test_a_save_that_does_not_sync_is_found_out(
    memory_path: Path, step: CompiledStep, states: list[dict[str, bytes]]
) -> None:
    """The test above can fail."""
    crashes(memory_path, 1, left_out="fsync")
    for scenario in SCENARIOS:
        found = losses(memory_path, step, states, scenario, 1)
        assert [text for text in found if "killed" in text] == []
        for model in LOST:
            assert [text for text in found if f", {model}," in text] != [], (scenario, model)


UNCOUNTED = """
import sys
from pathlib import Path
from reliability import crash_driver
from stepforge import runtime
from stepforge.runtime import files

files._place = lambda temporary, path, force: temporary.rename(path)
folder = Path(sys.argv[1])
(folder / "disk").mkdir()
with runtime.load(folder / "adam.vmfb", device="local-sync") as step:
    crash_driver.begin(step)
    crash_driver.take_step(step, 1)
    save = lambda disk: crash_driver.save_over(step, disk)
    crash_driver.in_fork(lambda: crash_driver.save_until(folder, save, 99, 0, ""))
"""


def test_a_call_that_is_not_counted_is_found_out(memory_path: Path) -> None:
    (memory_path / "adam.vmfb").write_bytes(handmade.adam().vmfb_bytes)
    command = [sys.executable, "-c", UNCOUNTED, str(memory_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
    assert "the fork ended with 99" in done.stderr
