"""What importing loads, and stepping without the compiler, in a child."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import handmade

PREPARE = """
import sys
import numpy as np
from stepforge import runtime
shapes = {"w": (8, 4), "b": (4,)}
ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
def load():
    step = runtime.load(sys.argv[1])
    step.initialize(ones)
    return step
"""
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[:2] in (["iree", "compiler"], ["stepforge", "frontend"],
                                   ["stepforge", "passes"], ["stepforge", "tools"]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def child(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter; its stdout. Any stderr or exit code fails the test."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("artifact") / "adam.vmfb"
    path.write_bytes(handmade.adam().vmfb_bytes)
    return str(path)


def test_importing_loads_neither_iree_nor_the_compiler() -> None:
    code = """
    import sys
    from stepforge import runtime
    print(sorted(m for m in sys.modules if m.split(".")[0] in ("iree", "numpy", "stepforge")))
    """
    names = eval(child(code))
    assert names == ["stepforge", "stepforge.runtime", "stepforge.runtime.errors"]


def test_public_names_are_all_there() -> None:
    code = """
    from stepforge import runtime
    for name in runtime.__all__:
        assert getattr(runtime, name) is not None, name
        assert name in dir(runtime)
    try:
        runtime.nothing
    except AttributeError as error:
        print(error)
    """
    assert child(code) == "module 'stepforge.runtime' has no attribute 'nothing'\n"


@pytest.mark.compiler
def test_steps_without_the_compiler(artifact: str, tmp_path: Path) -> None:
    code = (
        BLOCK
        + PREPARE
        + """
step = load()
step.step(ones)
step.save(sys.argv[2])
step.restore(sys.argv[2])
print(step.global_step, [m for m in sys.modules if m.startswith(("iree.compiler", "stepforge.f"))])
"""
    )
    assert child(code, artifact, str(tmp_path / "x.safetensors")) == "1 []\n"
