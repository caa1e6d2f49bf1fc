"""Trying an artifact in a process of its own first: what crashes there crashes alone.

The child loads it on the same device, runs the self-test, and calls every entry point once, on a
state of zeros and on gradients and inputs of zeros. `isolated_worker` is the other side. This finds
code that does not fit the machine; it is no sandbox, for the child may do whatever the parent may.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

from stepforge.runtime import errors
from stepforge.runtime.container import Artifact
from stepforge.runtime.errors import TrialCrashError, TrialTimeoutError

_WORKER = "stepforge.runtime.isolated_worker"


def try_elsewhere(artifact: Artifact, device: str, timeout: float) -> None:
    """Raise what `load` would raise in a new process, TrialCrashError or TrialTimeoutError.

    timeout: in seconds, for all of it.
    """
    # -P: a module of the working directory must not stand in for one of the library.
    command = [sys.executable, "-P", "-m", _WORKER, device]
    try:
        done = subprocess.run(
            command, input=artifact.vmfb_bytes, capture_output=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise TrialTimeoutError(
            f"loading the artifact on {device!r} and stepping it once on zeros took longer than "
            f"{timeout:g} seconds in a process of its own, and was stopped; give a longer timeout, "
            "or compile the artifact for this machine"
        ) from None
    answer = _answer(done.stdout)
    if done.returncode != 0 or answer is None:
        raise TrialCrashError(_death(device, done.returncode, done.stderr))
    if "kind" in answer:
        raise getattr(errors, answer["kind"])(answer["message"])


def _answer(stdout: bytes) -> dict[str, Any] | None:
    """The last line; the code that was tried may have printed before."""
    try:
        return json.loads(stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return None


def _death(device: str, code: int, stderr: bytes) -> str:
    signals = {s.value: s.name for s in signal.Signals}
    how = f"with exit code {code}" if code >= 0 else f"by {signals.get(-code, f'signal {-code}')}"
    words = "\n".join(stderr.decode(errors="replace").strip().splitlines()[-3:])
    return (
        f"the artifact's code crashed: a process that loaded it on {device!r} and stepped it once "
        f"on zeros ended {how}. Its last words: {words or 'none'}. Nothing of it was loaded here; "
        "compile the artifact for this machine, or get it again from where it came"
    )
