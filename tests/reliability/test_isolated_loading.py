"""`isolate=True`: native code that crashes or hangs does so in a child, which is an error here.

The code really crashes: its instructions are replaced by one that no processor has.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime import isolated
from support import forgeries, handmade, native_code, training, variants

pytestmark = pytest.mark.compiler

native = pytest.mark.skipif(
    platform.machine() not in native_code.ILLEGAL, reason="no filling is known for this machine"
)
WHEN = {"on loading": True, "on its first step": False}
PROGRAM = """
import sys
import numpy as np
from stepforge import runtime
step = runtime.load(sys.argv[1])
print("loaded")
step.initialize({"w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)})
step.step({"w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)})
"""


@native
@pytest.mark.parametrize("when", WHEN)
def test_a_crash_kills_the_child_alone(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = native_code.spoilt(handmade.adam().vmfb_bytes, native_code.ILLEGAL, query=WHEN[when])
    path = tmp_path / "crashing.vmfb"
    path.write_bytes(data)
    # Without a trial it takes the process with it.
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True)
    assert done.returncode == -4
    assert done.stdout == (b"" if WHEN[when] else b"loaded\n")
    forgeries.put_iree_out_of_reach(monkeypatch)
    with pytest.raises(runtime.TrialCrashError, match=r"code crashed.* ended by SIGILL") as caught:
        runtime.load(path, isolate=True)
    assert "compile the artifact for this machine" in str(caught.value)


@native
def test_code_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    data = native_code.spoilt(handmade.adam().vmfb_bytes, native_code.ENDLESS, query=False)
    forgeries.put_iree_out_of_reach(monkeypatch)
    with pytest.raises(runtime.TrialTimeoutError, match=r"longer than 3 seconds .* was stopped"):
        runtime.load(data, isolate=True, timeout=3)


@pytest.mark.parametrize(
    ("target", "device"),
    [
        ("cpu", "local-sync"),
        ("cpu", "local-task"),
        ("vmvx", None),
        pytest.param("vulkan", None, marks=pytest.mark.vulkan),
    ],
)
def test_what_is_well_loads(target: str, device: str | None) -> None:
    artifact = handmade.adam(target=target)
    with runtime.load(artifact, device=device, isolate=True) as step:
        step.initialize({"w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)})
        step.step({"w": np.ones((8, 4), np.float32), "b": np.ones(4, np.float32)})
        assert step.global_step == 1


@pytest.mark.parametrize("training_artifact", [False, True])
def test_every_entry_point_is_tried(
    training_artifact: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The child ends by saying what it has called."""
    artifact = variants.two_entry_points()
    if training_artifact:
        artifact = runtime.read_artifact(training.artifact(3).data)
    (tmp_path / "telling.py").write_text(TELLING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(isolated, "_WORKER", "telling")
    with pytest.raises(runtime.TrialCrashError) as caught:
        isolated.try_elsewhere(artifact, "local-sync", 60)
    with artifact.load() as step:
        assert len(step.functions) > 1
        assert f"tried {sorted(step.functions)}" in str(caught.value)


TELLING = """
import sys
from stepforge.runtime import isolated_worker, session
tried = []
run = session.Session.run
def telling(self, entry, **options):
    run(self, entry, **options)
    tried.append(entry.function.name)
session.Session.run = telling
isolated_worker.main(sys.argv[1])
sys.exit(f"tried {sorted(tried)}")
"""


def test_errors_of_the_child_come_through_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = handmade.adam()
    wrong = variants.self_testing(handmade.SELF_TEST.replace("dense<2.0>", "dense<2.5>"))
    forgeries.put_iree_out_of_reach(monkeypatch)
    with pytest.raises(runtime.DeviceMismatchError, match="which runs on local-sync or local-task"):
        runtime.load(artifact, device="vulkan", isolate=True)
    with pytest.raises(runtime.DeviceMismatchError, match="fails the artifact's self-test"):
        runtime.load(wrong, isolate=True)


@pytest.mark.parametrize("text", ["", "raise SystemExit(0)", "print('no answer')"])
def test_a_child_that_ends_without_an_answer_has_crashed(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "silent.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(isolated, "_WORKER", "silent")
    with pytest.raises(runtime.TrialCrashError, match="ended with exit code 0"):
        isolated.try_elsewhere(handmade.adam(), "local-sync", 60)


def test_the_working_directory_cannot_shadow_the_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    runtime.load(handmade.adam(), isolate=True).close()
