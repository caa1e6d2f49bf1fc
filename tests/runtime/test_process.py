"""Importing, forking, running for long and ending, each where it can do no harm: in a child."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import handmade

PREPARE = """
import gc, os, resource, sys
import numpy as np
from stepforge import runtime
shapes = {"w": (8, 4), "b": (4,)}
ones = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
def load(**options):
    step = runtime.load(sys.argv[1], **options)
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


@pytest.mark.compiler
def test_fork_on_the_calling_thread_works(artifact: str) -> None:
    code = (
        PREPARE
        + """
step = load(device="local-sync")
step.step(ones)
pid = os.fork()
step.step(ones)
assert step.global_step == 2
if pid == 0:
    os._exit(0 if step.parameters["w"].any() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    )
    child(code, artifact)


@pytest.mark.compiler
def test_fork_with_device_threads_is_refused_not_a_hang(artifact: str) -> None:
    code = (
        PREPARE
        + """
step = load(device="local-task")
step.step(ones)
pid = os.fork()
if pid == 0:
    try:
        step.step(ones)
    except runtime.ForkedProcessError as error:
        other = load(device="local-sync")
        other.step(ones)
        os._exit(0 if "load the artifact after the fork" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
step.step(ones)
"""
    )
    child(code, artifact)


@pytest.mark.compiler
@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_interpreter_ends_with_live_steps(artifact: str, device: str) -> None:
    code = PREPARE + f"step = load(device={device!r})\nstep.step(ones)\nview = step.view('w')\n"
    child(code, artifact)
    child(code + "import builtins\nbuiltins.kept = [step, view]\nsys.exit()", artifact)


@pytest.mark.vulkan
@pytest.mark.compiler
def test_interpreter_ends_with_live_vulkan_steps(tmp_path: Path) -> None:
    path = tmp_path / "adam.vmfb"
    path.write_bytes(handmade.adam(target="vulkan").vmfb_bytes)
    child(PREPARE + "step = load()\nstep.step(ones)\n", str(path))
    closed = "step = load()\nkept = step.gradients['w']\nstep.close()\ndel step\ngc.collect()\n"
    child(PREPARE + closed + "kept[...] = 1\nassert kept.sum() == 32\n", str(path))


STEADY = (
    PREPARE
    + """
def resident():
    gc.collect()
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE")
"""
)


@pytest.mark.compiler
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_stepping_allocates_nothing_that_grows(artifact: str) -> None:
    code = (
        STEADY
        + """
step = load()
for _ in range(5000):
    step.step(ones)
before, files = resident(), len(os.listdir("/proc/self/fd"))
for _ in range(20000):
    step.step(ones)
print(resident() - before, len(os.listdir("/proc/self/fd")) - files)
"""
    )
    growth, files = map(int, child(code, artifact).split())
    assert growth <= 2**19
    assert files == 0


@pytest.mark.compiler
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_loading_and_closing_gives_everything_back(artifact: str) -> None:
    code = (
        STEADY
        + """
def use():
    with load() as step:
        step.step(ones)
for _ in range(50):
    use()
before, files = resident(), len(os.listdir("/proc/self/fd"))
for _ in range(200):
    use()
print(resident() - before, len(os.listdir("/proc/self/fd")) - files)
"""
    )
    growth, files = map(int, child(code, artifact).split())
    assert growth <= 2**21
    assert files == 0
