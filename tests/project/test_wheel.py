"""The wheel: what is in it, and that the runtime works from it without the compiler."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("frontend", "passes", "runtime", "tools")
COPIED = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")

# From the unpacked wheel alone: the editable install is off the path, and so is the compiler.
PROGRAM = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "iree.compiler" or name.startswith(("iree.compiler.", "__editable__")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.meta_path.insert(0, Block())
sys.path.insert(0, sys.argv[1])
import numpy as np
from stepforge import runtime
assert runtime.__file__.startswith(sys.argv[1]), runtime.__file__
with runtime.load(sys.argv[2]) as optimizer:
    optimizer.initialize({"w": np.ones(4, np.float32)})
    optimizer.step({"w": np.ones(4, np.float32)})
    print(optimizer.global_step)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the sources stay as they are."""
    source = tmp_path_factory.mktemp("source")
    subprocess.run(["cp", "-r", *[str(ROOT / name) for name in COPIED], str(source)], check=True)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"stepforge/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for pattern in ("*.py", "py.typed")
        for path in (ROOT / package).rglob(pattern)
    }
    assert names == expected


def test_the_wheel_carries_its_licence_and_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "compile-optimizer = stepforge.tools.cli:compile_optimizer_main" in text
    assert "stepforge = stepforge.tools.cli:main" in text


@pytest.mark.compiler
def test_the_runtime_steps_from_the_wheel_without_the_compiler(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "p.json").write_text('{"w": "4xf32"}')
    command = "from stepforge.tools.cli import compile_optimizer_main as m; m()"
    arguments = ["sgd", "--params", str(tmp_path / "p.json"), "-o", str(tmp_path / "a.vmfb")]
    subprocess.run([sys.executable, "-c", command, *arguments], check=True, capture_output=True)
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "site"), str(tmp_path / "a.vmfb")]
    done = subprocess.run(program, capture_output=True, text=True, cwd="/")
    assert done.stdout == "1\n", done.stderr
