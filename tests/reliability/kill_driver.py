"""A process that forks others, each of which goes on stepping and saving until it is killed.

    python -m reliability.kill_driver ARTIFACT FOLDER

For each line on stdin a fork restores the newest checkpoint of FOLDER, and then steps and saves for
ever. stdout has a line for what happened: `forked PID`, `ready STEP`, `saved STEP`, `ended CODE`.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from stepforge import runtime
from stepforge.runtime import Checkpoints
from stepforge.runtime.step import CompiledStep

KEEP = 2


def begin(step: CompiledStep) -> None:
    shapes = {name: value.shape for name, value in step.gradients.items()}
    step.initialize({name: np.ones(shape, np.float32) for name, shape in shapes.items()})


def take_step(step: CompiledStep, number: int) -> None:
    """The step of that number, the same in every process."""
    value = np.random.default_rng(number).standard_normal(dtype=np.float32)
    for gradient in step.gradients.values():
        gradient.fill(value)
    step.step()


def say(text: str) -> None:
    # In one call, so that lines of two processes do not mix.
    os.write(1, f"{text}\n".encode())


def go_on(step: CompiledStep, folder: str, *, wait: bool) -> None:
    checkpoints = Checkpoints(folder, KEEP)
    checkpoints.restore(step, strict=True)
    say(f"ready {step.global_step}")
    while True:
        take_step(step, step.global_step + 1)
        number = step.global_step
        checkpoints.save(step, wait=wait)
        # In the background, the one before is there by now.
        say(f"saved {number if wait else number - 1}")


def main(artifact: str, folder: str) -> None:
    with runtime.load(artifact, device="local-sync") as step:
        begin(step)
        Checkpoints(folder, KEEP).save(step)
        for number, _ in enumerate(sys.stdin):
            child = os.fork()
            if child == 0:
                try:
                    go_on(step, folder, wait=number % 2 == 0)
                finally:
                    os._exit(1)
            say(f"forked {child}")
            say(f"ended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


if __name__ == "__main__":
    main(*sys.argv[1:])
