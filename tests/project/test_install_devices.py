"""What the device tests run on is installed once, and tried again while something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ".venv-aarch64/iree/_runtime_libs"
RUN_MODULE = f"{BINARIES}/iree-run-module"
DEVICES = ".venv/.stamps/devices"


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile and its script, where everything else is installed already."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv-aarch64").mkdir()
    (tmp_path / ".venv-aarch64" / "9.9").touch()
    script(tmp_path / ".venv/bin/python", f"echo 9.9; mkdir -p {BINARIES}; touch {RUN_MODULE}")
    script(tmp_path / ".venv/bin/pip", "exit 0")
    script(tmp_path / "bin/dpkg-query", "echo install ok installed")
    script(tmp_path / "bin/apt-get", "exit 0")
    script(tmp_path / "bin/id", "echo 0")
    for name in ("demo", "test"):
        (tmp_path / ".venv/.stamps").mkdir(exist_ok=True)
        (tmp_path / ".venv/.stamps" / name).touch()
    return tmp_path


def make(project: Path) -> str:
    environment = {**os.environ, "PATH": f"{project / 'bin'}:{os.environ['PATH']}", "MAKEFLAGS": ""}
    command = ["make", "-C", str(project), DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_what_is_complete_is_not_looked_at_again(project: Path) -> None:
    assert make(project) == ""
    assert (project / DEVICES).exists()
    script(project / ".venv/bin/pip", "exit 1")
    assert make(project) == ""


FAILING = [
    ({".venv/bin/pip": "exit 1"}, "The MiniLM parameters could not be installed"),
    (
        {"bin/dpkg-query": "exit 1", "bin/apt-get": "exit 100"},
        "packages that apt-get could not install: mesa-vulkan-drivers",
    ),
    (
        {"bin/dpkg-query": "exit 1", "bin/id": "echo 1000"},
        "packages that only root may install: sudo apt-get install mesa-vulkan-drivers",
    ),
    (
        {".venv/bin/python": "echo 10.0", ".venv/bin/pip": '[ "$1" = install ]'},
        "The ARM build of the runtime could not be fetched",
    ),
]


@pytest.mark.parametrize(("broken", "said"), FAILING)
def test_what_is_missing_is_told_and_tried_again(
    project: Path, broken: dict[str, str], said: str
) -> None:
    kept = {name: (project / name).read_text() for name in broken}
    for name, body in broken.items():
        script(project / name, body)
    for _ in range(2):
        text = make(project)
        assert said in text
        assert "the next make test tries again" in text
        assert not (project / DEVICES).exists()
    for name, body in kept.items():
        (project / name).write_text(body)
    assert make(project) == ""
    assert (project / DEVICES).exists()
