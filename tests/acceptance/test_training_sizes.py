"""What the training artifact of the digit MLP takes: bytes of its file, memory of a long run."""

import subprocess
import sys
from pathlib import Path

import pytest

from .digits import compiled

pytestmark = pytest.mark.compiler

KB = 1000
CHILD = """
import gc, os, sys
import numpy as np
from stepforge import runtime

def counts():
    gc.collect()
    with open("/proc/self/statm") as pages:
        resident = int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return resident, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

draw = np.random.default_rng(0)
image = draw.random((64, 8, 8, 1), np.float32)
label = draw.integers(0, 10, 64, np.int32)
with runtime.load(sys.argv[1]) as step:
    step.initialize()
    for _ in range(5000):
        step.train_step(image=image, label=label)
    before = counts()
    for _ in range(20000):
        step.train_step(image=image, label=label)
    print(*(b - a for a, b in zip(before, counts(), strict=True)))
"""


@pytest.mark.parametrize(
    ("target", "most"),
    [("cpu", 150), ("vulkan", 150), ("vmvx", 150), ("cuda", 320)],
)
def test_the_file_is_small(target: str, most: int) -> None:
    assert len(compiled("mlp", target).data) <= most * KB


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_long_run_allocates_nothing_that_grows(tmp_path: Path) -> None:
    path = compiled("mlp", "cpu").save(tmp_path / "mlp.vmfb")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    resident, files, threads = map(int, done.stdout.split())
    assert resident <= 2**20
    assert (files, threads) == (0, 0)
