"""R16: an artifact of every format version goes on loading, and steps as it did when made."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from artifacts import make_artifacts
from artifacts.make_artifacts import FOLDER, PUBLIC_KEY, RESULTS, SIGNED, path_of
from stepforge import runtime
from stepforge.frontend.program_json import program_from_json
from stepforge.runtime import bindings
from support.ulp import ulp_distance

KEPT: Mapping[Path, str] = {
    path_of("x86-64"): "7354e5914a905540b9c6912e9232172f7719b87d6185bc03467a2b1188fa66a3",
    path_of("vmvx"): "ac4daedad4f55d5389be9fd6887480adbef74fa6e688bf8f3b08d3230516b547",
    SIGNED: "058f29b94480c720c907c70a0b7e492f0638e0491612e6e15657921e8a279612",
    RESULTS: "903c8ab08206f365f0de59c399f751ff3420437e8eb18d3700936ccf86d23b79",
}
"""The SHA-256 of each file: no change of the code is a reason to change one."""

MADE_BY = "3.13.0"
"""Code runs on the release of IREE that made it. With another, `load` says so, and new files are
kept beside these."""


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_the_files_are_what_was_made(path: Path) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == KEPT[path]


def test_all_of_them_are_here() -> None:
    assert sorted(KEPT) == sorted(p for p in FOLDER.glob("artifact-*") if p != PUBLIC_KEY)


@pytest.mark.parametrize("name", make_artifacts.TARGETS)
def test_manifest_and_graph_are_read(name: str) -> None:
    artifact = runtime.read_artifact(path_of(name))
    manifest = artifact.manifest
    assert (manifest.format_version, manifest.abi, manifest.iree_version) == (1, 1, MADE_BY)
    assert manifest.targets[0].name == make_artifacts.TARGETS[name]
    program = program_from_json(artifact.graph_json)
    assert [e.name for e in program.entry_points] == ["step"]
    assert [v.name for v in program.variables] == [v.name for v in manifest.variables]


@pytest.mark.parametrize("name", make_artifacts.TARGETS)
def test_it_steps_as_it_did(name: str) -> None:
    if name == "x86-64" and platform.machine() not in ("x86_64", "AMD64"):
        with pytest.raises(runtime.CpuMismatchError):
            runtime.load(path_of(name))
        return
    if bindings.VERSION.split(".")[:2] != MADE_BY.split(".")[:2]:
        with pytest.raises(runtime.VersionMismatchError, match=MADE_BY):
            runtime.load(path_of(name))
        return
    with np.load(RESULTS) as archive:
        wanted = {
            key.removeprefix(f"{name}:"): archive[key]
            for key in archive.files
            if key.startswith(f"{name}:")
        }
    with runtime.load(path_of(name)) as step:
        found = make_artifacts.stepped(step)
    assert list(found) == list(wanted)
    for path, value in wanted.items():
        if path[1:] not in make_artifacts.SHAPES:
            assert found[path].tobytes() == value.tobytes(), path
            continue
        # The bias corrections are the host's `expm1`, of which C libraries differ in the last bit.
        assert ulp_distance(found[path], value, value.dtype).max() <= 1, path


def test_the_signature_holds() -> None:
    artifact = runtime.read_artifact(SIGNED, public_key=PUBLIC_KEY)
    assert artifact.sha256 == runtime.read_artifact(path_of("vmvx")).sha256
