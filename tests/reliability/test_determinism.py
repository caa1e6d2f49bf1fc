"""R19: the same artifact and the same inputs give the same bits, whoever computes them.

A hundred runs, on one thread and on 1, 2, 4 and 8 workers. The step has products, reductions of
many tiles and a global norm, which is where an order of summation could show.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stepforge.frontend import AdamW, Context, TrainOutputs, compile_train_step, losses, nn, ops
from stepforge.frontend.graph import Node

pytestmark = pytest.mark.compiler

WORKERS = (1, 2, 4, 8)
RUNS = 20
CHILD = """
import hashlib, json, sys
import numpy as np
from iree import runtime as iree

path, device, workers, runs = sys.argv[1:3] + list(map(int, sys.argv[3:5]))
if workers:  # before a device is made
    iree.flags.parse_flags(f"--task_topology_group_count={workers}")
from stepforge import runtime

random = np.random.default_rng(7)
batches = [
    {
        "x": random.normal(size=(64, 96)).astype(np.float32),
        "label": random.integers(0, 10, 64).astype(np.int32),
    }
    for _ in range(4)
]
found = []
with runtime.load(path, device=device) as step:
    for _ in range(runs):
        step.initialize(seed=3)
        losses = [step.train_step(**batch)["loss"] for batch in batches]
        digest = hashlib.sha256(repr(losses).encode())
        for path, value in step.variables.items():
            digest.update(path.encode() + value.tobytes())
        found.append(digest.hexdigest())
print(json.dumps(found))
"""


def loss(ctx: Context, x: Node, label: Node) -> TrainOutputs:
    hidden = ops.tanh(nn.dense(ctx.at("hidden"), x, 257))
    logits = nn.dense(ctx.at("head"), hidden, 10)
    return TrainOutputs(loss=losses.categorical_cross_entropy(logits, label))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    context = Context()
    context.set_params({"clip_global_norm": 0.5, "ema_decay": 0.9})
    inputs = {"x": "64x96xf32", "label": "64xi32"}
    path = tmp_path_factory.mktemp("determinism") / "train.vmfb"
    compile_train_step(loss, AdamW(), inputs=inputs, context=context, output=path)
    return path


def digests(path: Path, device: str, workers: int = 0, runs: int = RUNS) -> Sequence[Any]:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), device, str(workers)]
    done = subprocess.run([*command, str(runs)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == runs
    return found


def test_a_hundred_runs_on_any_number_of_workers(artifact: Path) -> None:
    found = list(digests(artifact, "local-sync"))
    for workers in WORKERS:
        found += digests(artifact, "local-task", workers)
    assert len(found) == 100
    assert len(set(found)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, *WORKERS, 16])
def test_a_thousand_runs(artifact: Path, workers: int) -> None:
    """0: as many workers as the machine has cores."""
    first = digests(artifact, "local-sync", runs=1)
    assert set(digests(artifact, "local-task", workers, 1000)) == set(first)
