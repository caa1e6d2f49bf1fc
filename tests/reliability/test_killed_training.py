"""A training that dies at any call of the system is resumed, and ends as if it had not died (R1).

The state, the rows of the history and the best state are those of a run that nothing interrupted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reliability.training_driver import BEST, EPOCHS, train, trainer
from support import training
from support.training import PER_EPOCH, snapshot

pytestmark = pytest.mark.compiler

TESTS = Path(__file__).resolve().parents[1]
HISTORY = "history.jsonl"


def test_no_run_is_lost(memory_path: Path) -> None:
    artifact = memory_path / "train.vmfb"
    artifact.write_bytes(training.artifact(1).data)
    command = [sys.executable, "-m", "reliability.training_driver", str(artifact), str(memory_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
    assert (done.returncode, done.stderr) == (0, "")
    with training.load() as step:
        whole = train(trainer(step, None))
        want = snapshot(step)
        assert step.global_step == BEST * PER_EPOCH
    folders = sorted((x for x in memory_path.iterdir() if x.is_dir()), key=lambda x: int(x.name))
    resumed: set[int] = set()
    for number, folder in enumerate(folders, 1):
        # Bytes of the history that reached the disk, or did not, after the last checkpoint.
        if number % 2 and (folder / HISTORY).exists():
            with (folder / HISTORY).open("ab") as stream:
                stream.write(b'[7,1,{"lo')
        with training.load() as step:
            found = trainer(step, folder)
            restored = found.resume(strict=True)
            resumed.add(0 if restored is None else restored.step)
            assert list(train(found)) == list(whole), number
            assert snapshot(step) == want, number
    assert resumed == {epoch * PER_EPOCH for epoch in range(EPOCHS + 1)}
    assert len(folders) > 10 * EPOCHS
