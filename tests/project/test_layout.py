"""The shape of the repository: what installs, how long modules are, what lies at the top."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("frontend", "passes", "runtime", "tools")


def setuptools_table() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_of_modules_is_a_listed_package() -> None:
    folders = {
        f"stepforge.{'.'.join(path.parent.relative_to(ROOT).parts)}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert sorted(setuptools_table()["packages"]) == sorted(folders)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed_and_mapped_to_its_folder(package: str) -> None:
    table = setuptools_table()
    assert (ROOT / package / "py.typed").exists()
    assert table["package-dir"][f"stepforge.{package}"] == package
    assert table["package-data"][f"stepforge.{package}"] == ["py.typed"]


def test_every_package_folder_has_an_init() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_namespace_stays_free() -> None:
    assert not (ROOT / "stepforge").exists(), "it would shadow the installed namespace"


def test_runtime_and_compiler_are_the_same_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = [line for line in project["dependencies"] if line.startswith("iree-base-runtime")]
    (compiler,) = project["optional-dependencies"]["compiler"]
    assert runtime == [compiler.replace("compiler", "runtime")]
    assert "==" in compiler


def test_no_module_is_too_long() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "sizes")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_make_help_lists_every_public_target() -> None:
    done = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line[:1].isalpha()}
    assert {"demo", "test", "lint", "soak", "upgrade-check"} <= listed
