"""An artifact is an ordinary ZIP file and an ordinary IREE module: plain tools read and run it."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from stepforge.frontend import StochasticGradientDescent, compile_optimizer
from stepforge.runtime.manifest_parse import from_json

from .places import Place, at

pytestmark = pytest.mark.compiler

DEVICES = {"cpu": "local-sync", "vmvx": "local-sync", "vulkan": "vulkan"}


@cache
def artifact(target: str) -> bytes:
    return compile_optimizer(StochasticGradientDescent(), {"w": "4xf32"}, target=target).data


def by_unzip(path: Path) -> bytes:
    done = subprocess.run(["unzip", "-p", str(path), "stepforge.json"], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_zipfile(path: Path) -> bytes:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert archive.testzip() is None
        return archive.read("stepforge.json")


@pytest.mark.parametrize("read", [by_unzip, by_zipfile])
@pytest.mark.parametrize("target", ["cpu", "vulkan", "cuda", "vmvx"])
def test_unzip_shows_the_manifest(
    target: str, read: Callable[[Path], bytes], tmp_path: Path
) -> None:
    if read is by_unzip and shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    path = tmp_path / "sgd.vmfb"
    path.write_bytes(artifact(target))
    text = read(path)
    assert json.loads(text)["format_version"] == 1
    manifest = from_json(text)
    assert [row.name for row in manifest.targets] == [target]
    assert {v.name: v.shape for v in manifest.variables if v.role == "parameter"} == {"/w": (4,)}


@pytest.mark.parametrize("place", at())
def test_iree_run_module_takes_a_step(place: Place, tmp_path: Path) -> None:
    """A step at the rate 0.5 after three others: p - 0.5 / sqrt(4) * g, all exact."""
    path = tmp_path / "sgd.vmfb"
    path.write_bytes(artifact(place.target))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("iree-run-module")),
            f"--module={path}",
            f"--device={DEVICES[place.target]}",
            "--function=step",
            "--input=4xf32=1 2 3 4",
            "--input=4xf32=1 1 -1 8",
            "--input=0.5",
            "--input=3",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "4xf32=0.75 1.75 3.25 2" in done.stdout
    assert "i64=4" in done.stdout
