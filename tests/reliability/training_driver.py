"""A process whose forks train a model, each of which dies at another call of the system.

    python -m reliability.training_driver ARTIFACT FOLDER

FOLDER/<n> is the folder of checkpoints of the fork that died at its n-th call; the last one came to
the end of its run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from reliability.crash_driver import KILLED, in_fork
from reliability.io_calls import intercepted
from stepforge import runtime
from stepforge.runtime import Checkpoints, EarlyStop, Trainer
from stepforge.runtime.step import CompiledStep
from support.training import HELD_OUT, Batch, shuffled

EPOCHS, BEST = 4, 2


def trainer(step: CompiledStep, folder: Path | None) -> Trainer:
    checkpoints = None if folder is None else Checkpoints(folder, keep=2)
    early_stop = EarlyStop("validation/loss", 9, restore_best=True)
    return Trainer(step, checkpoints=checkpoints, log_every=2, early_stop=early_stop)


def train(found: Trainer) -> runtime.History:
    """To the end. The epochs after the second make it worse, so that the best state is an older."""

    def batches(epoch: int) -> list[Batch]:
        found.step.learning_rate = 0.01 if epoch <= BEST else 10.0
        return shuffled(epoch)

    return found.train(batches, epochs=EPOCHS, validation=HELD_OUT)


def train_until(artifact: str, folder: Path, last: int) -> None:
    count = 0

    def handle(name: str, arguments: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        nonlocal count
        count += 1
        if count == last:
            if name == "write":
                go(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os._exit(KILLED)
        return go()

    with runtime.load(artifact, device="local-sync") as step:
        step.initialize()
        with intercepted(handle):
            train(trainer(step, folder))


def main(artifact: str, folder: Path) -> None:
    number, crashed = 0, True
    while crashed:
        number += 1
        crashed = in_fork(partial(train_until, artifact, folder / str(number), number))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
