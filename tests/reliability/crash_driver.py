"""A process that saves in forks of itself, each of which dies at another call of the system.

    python -m reliability.crash_driver ARTIFACT FOLDER SEEDS [CALL-LEFT-OUT]

FOLDER/<scenario>/start is the disk before, FOLDER/<scenario>/<n>-<seed>/disk what the fork left
that died at its n-th call, and journal.json what it had done until then. The last n of each
scenario ended by itself. A call that is left out (`fsync`) returns at once, to show that the tests
notice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reliability.io_calls import intercepted
from stepforge import runtime
from stepforge.runtime import Checkpoints
from stepforge.runtime.step import CompiledStep

KILLED = 137
UNCOUNTED = 99
"""The disk was changed by another call than those that are counted."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate")
STEPS_BEFORE = 3
"""The state that is being saved is that after so many steps; where there was one before, that after
one step less."""

JOURNALED = (
    "open",
    "write",
    "posix_fallocate",
    "fsync",
    "close",
    "replace",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
)

Save = Callable[[CompiledStep, Path], object]


def save_first(step: CompiledStep, disk: Path) -> object:
    return Checkpoints(disk / "runs" / "7").save(step)


def save_over(step: CompiledStep, disk: Path) -> object:
    return step.save(disk / "run.safetensors")


def save_next(step: CompiledStep, disk: Path) -> object:
    return Checkpoints(disk, keep=2).save(step)


def save_behind(step: CompiledStep, disk: Path) -> None:
    with Checkpoints(disk, keep=2) as checkpoints:
        checkpoints.save(step, wait=False)


SCENARIOS: dict[str, tuple[Save, int]] = {
    "first": (save_first, 0),
    "overwrite": (save_over, 1),
    "rotate": (save_next, 2),
    "background": (save_behind, 2),
}
"""How to save, and how many times it was done before."""


def main(artifact: str, folder: Path, seeds: int, left_out: str) -> None:
    with runtime.load(artifact, device="local-sync") as step:
        for name, (save, before) in SCENARIOS.items():
            start = folder / name / "start"
            start.mkdir(parents=True)
            begin(step)
            for number in range(1, STEPS_BEFORE):
                take_step(step, number)
                if number >= STEPS_BEFORE - before:
                    save(step, start)
            take_step(step, STEPS_BEFORE)
            crash_everywhere(folder / name, partial(save, step), seeds, left_out)


def begin(step: CompiledStep) -> None:
    generator = np.random.default_rng(1)
    shapes = {name: value.shape for name, value in step.gradients.items()}
    step.initialize({n: generator.standard_normal(s).astype("float32") for n, s in shapes.items()})


def take_step(step: CompiledStep, number: int) -> None:
    """The step of that number, the same in every process."""
    generator = np.random.default_rng(100 + number)
    for gradient in step.gradients.values():
        gradient[...] = generator.standard_normal(gradient.shape)
    step.step()


def crash_everywhere(
    folder: Path, save: Callable[[Path], object], seeds: int, left_out: str
) -> None:
    number, crashed = 0, True
    while crashed:
        number += 1
        for seed in range(seeds):
            case = folder / f"{number}-{seed}"
            shutil.copytree(folder / "start", case / "disk")
            crashed = in_fork(partial(save_until, case, save, number, seed, left_out))


def in_fork(work: Callable[[], object]) -> bool:
    """Whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        raise RuntimeError(f"the fork ended with {code}")
    return code == KILLED


def save_until(
    case: Path, save: Callable[[Path], object], last: int, seed: int, left_out: str
) -> None:
    """Save, and die in place of the call number `last`; a write is begun."""
    journal: list[list[Any]] = []
    count = inside = 0
    disk = case / "disk"
    draw = random.Random(seed * 1000 + last)

    def handle(name: str, arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        nonlocal count, inside
        if name == left_out:
            return None
        count += 1
        if count == last:
            if name == "write":
                part = arguments[1][: draw.randrange(len(arguments[1]))]
                journal.append(["write", arguments[0], bytes(part).hex()])
                inside += 1
                go(arguments[0], part)
            finish(case, journal)
            os._exit(KILLED)
        inside += 1
        try:
            result = go()
        finally:
            inside -= 1
        if name in JOURNALED:
            journal.append([name, *map(plain, arguments), *([result] if name == "open" else [])])
        return result

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and arguments[2] & WRITING)
        if changes and not inside and str(arguments[0]).startswith(f"{disk}/"):
            os._exit(UNCOUNTED)

    sys.addaudithook(audit)
    with intercepted(handle):
        save(disk)
    finish(case, journal)


def finish(case: Path, journal: list[list[Any]]) -> None:
    # Not through `os.open`, which is counted.
    with open(case / "journal.json", "w") as stream:
        json.dump(journal, stream)


def plain(argument: Any) -> Any:
    if isinstance(argument, (bytes, bytearray, memoryview)):
        return bytes(argument).hex()
    return os.fspath(argument) if isinstance(argument, os.PathLike) else argument


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:]))
