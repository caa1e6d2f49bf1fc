"""R20: equal input gives equal bytes, and a compilation that is killed or late leaves none."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifacts.make_artifacts import path_of
from stepforge import frontend, runtime

pytestmark = pytest.mark.compiler

TARGETS = ("cpu", "vulkan", "cuda", "vmvx")
PARAMETERS = {"encoder/w": "33x7xf32", "encoder/b": "7xf32"}
AGAIN = f"""
import hashlib
from stepforge.frontend import AdamW, compile_optimizer
for target in {TARGETS!r}:
    made = compile_optimizer(AdamW(), {PARAMETERS!r}, target=target)
    print(hashlib.sha256(made.data).hexdigest())
"""
COMMAND = (sys.executable, "-c", "from stepforge.tools.cli import compile_optimizer_main as m; m()")


def test_another_process_makes_the_same_bytes() -> None:
    """With another hash seed, as each process has."""
    here = [
        frontend.compile_optimizer(frontend.AdamW(), PARAMETERS, target=target).data
        for target in TARGETS
    ]
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [hashlib.sha256(data).hexdigest() for data in here]


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("isolate", [(), ("--isolate",)])
def test_a_killed_compilation_leaves_no_part_of_a_file(
    seconds: float, isolate: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "p.json").write_text('{"w": "64x32xf32"}')
    options = ["adamw", "--params", "p.json", "--target", "vmvx", "-o", "a.vmfb", *isolate]
    child = subprocess.Popen([*COMMAND, *options], cwd=tmp_path, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if (tmp_path / "a.vmfb").exists():
        runtime.read_artifact(tmp_path / "a.vmfb")


def test_a_late_compilation_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"w": "64x32xf32"}')
    options = ["adamw", "--params", "p.json", "-o", "a.vmfb", "--isolate", "--timeout", "0.01"]
    done = subprocess.run([*COMMAND, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "took longer than 0.01 seconds" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


# The same at every call that writes: a process that dies there, for each of them in turn.
DYING = """
import os, sys
from stepforge import runtime
from stepforge.runtime import files
source, key, output, last = sys.argv[1:]
left = int(last)

def counted(name):
    call = getattr(os, name)
    def counting(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(137)
        return call(*arguments, **options)
    return counting

class Os:
    def __getattr__(self, name):
        return getattr(os, name)

files.os = Os()
for name in ("open", "fsync", "link", "replace", "close"):
    setattr(files.os, name, counted(name))
runtime.sign_artifact(source, key, output, force=True)
"""


@pytest.mark.parametrize("old", [False, True], ids=["new", "over another"])
def test_a_process_that_dies_at_any_call_leaves_the_old_file_or_the_new(
    old: bool, tmp_path: Path
) -> None:
    key, output = tmp_path / "k.pem", tmp_path / "out" / "a.vmfb"
    key.write_bytes(runtime.new_key_pair()[0])
    output.parent.mkdir()
    before = path_of("x86-64").read_bytes()
    seen: set[bytes | None] = set()
    last = 0
    for last in range(1, 20):
        output.unlink(missing_ok=True)
        if old:
            output.write_bytes(before)
        arguments = [str(path_of("vmvx")), str(key), str(output), str(last)]
        done = subprocess.run([sys.executable, "-c", DYING, *arguments], capture_output=True)
        found = output.read_bytes() if output.exists() else None
        seen.add(found)
        if done.returncode == 0:
            break
        assert done.returncode == 137, done.stderr.decode()
    assert last > 4
    assert len(seen) == 2
    assert (before if old else None) in seen
    (new,) = (data for data in seen if data not in (None, before))
    assert runtime.read_artifact(new).signature is not None
