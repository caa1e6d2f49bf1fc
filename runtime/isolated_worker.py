"""The other side of `isolated`: `python -m stepforge.runtime.isolated_worker DEVICE < ARTIFACT`."""

from __future__ import annotations

import json
import resource
import sys

import numpy as np

from stepforge.runtime.any_length import PATTERN, define
from stepforge.runtime.arrays import numpy_dtype
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.errors import DeviceMismatchError, StateLostError, StepforgeRuntimeError
from stepforge.runtime.loading import load_module
from stepforge.runtime.session import Session


def try_here(artifact: Artifact, device: str) -> None:
    """Load the artifact, and call each of its entry points once on zeros."""
    manifest = artifact.manifest
    if manifest.length is not None:
        manifest = define(manifest, {PATTERN: (1_000,)})
    session = Session(manifest, load_module(artifact, device))
    zeros = {
        v.name: np.zeros(v.shape, numpy_dtype(v.dtype))
        for v in manifest.variables
        if v.storage == "device"
    }
    with session.lock:
        session.replace(session.state.initial(zeros))
        for name, entry in session.entries.items():
            try:
                session.run(entry)
            except StateLostError as error:
                raise DeviceMismatchError(
                    f"device {device!r} cannot run the artifact's function {name!r} on zeros: "
                    f"{error.__cause__}"
                ) from error


def main(device: str) -> None:
    # A core file of a crash that is expected helps nobody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer: dict[str, str] = {}
    try:
        try_here(read_artifact(sys.stdin.buffer.read()), device)
    except StepforgeRuntimeError as error:
        answer = {"kind": type(error).__name__, "message": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
