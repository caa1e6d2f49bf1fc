"""Nothing that is done again and again keeps a file open, or leaves one behind."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from stepforge import runtime
from stepforge.frontend import Settable, StochasticGradientDescent, compile_optimizer
from stepforge.passes import CompileError, PassError, compile_module
from stepforge.tools.arrays import read_arrays
from stepforge.tools.cli import main
from stepforge.tools.parameters import read_parameters
from support import machine
from support.adamw_module import adamw

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc lists descriptors"),
]

CYCLES = 20
SMALL = adamw([(8,)])
UNLINKED = """
func.func private @elsewhere(tensor<8xf32>) -> tensor<8xf32>
func.func @step(%p: tensor<8xf32> {stepforge.name = "/p", stepforge.role = "parameter"})
    -> tensor<8xf32> {
  %r = func.call @elsewhere(%p) : (tensor<8xf32>) -> tensor<8xf32>
  return %r : tensor<8xf32>
}"""
VALUES = {"w": np.ones((8, 4), np.float32)}


def open_files() -> dict[str, str]:
    """Descriptor -> what it leads to, but for the one that lists them."""
    gc.collect()
    found: dict[str, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def check(cycle: Callable[[], object]) -> None:
    """The first call may open a device, which then stays open."""
    cycle()
    before = open_files()
    temporary = {path.name for path in Path(tempfile.gettempdir()).glob("stepforge-*")}
    for _ in range(CYCLES):
        cycle()
    after = open_files()
    assert {name: target for name, target in after.items() if name not in before} == {}
    left = {path.name for path in Path(tempfile.gettempdir()).glob("stepforge-*")}
    assert left <= temporary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact, a checkpoint of it, and its parameters as files, whole and damaged."""
    path = tmp_path_factory.mktemp("descriptors")
    made = compile_optimizer(StochasticGradientDescent(learning_rate=Settable(0.1)), VALUES)
    made.save(path / "a.vmfb")
    np.savez(path / "p.npz", w=VALUES["w"])
    save_file(VALUES, path / "p.safetensors")
    (path / "bad.npz").write_bytes((path / "p.npz").read_bytes()[:-30])
    (path / "bad.safetensors").write_bytes(b"\x09")
    (path / "bad.vmfb").write_bytes((path / "a.vmfb").read_bytes()[:-1])
    with made.load() as step:
        step.initialize(VALUES)
        step.save(path / "s.safetensors")
    return path


@pytest.mark.parametrize(
    "device",
    ["local-sync", "local-task", pytest.param("vulkan", marks=pytest.mark.vulkan)],
)
def test_a_run(folder: Path, device: str) -> None:
    artifact = folder / "a.vmfb"
    if device == "vulkan":
        artifact = folder / "vulkan.vmfb"
        rule = StochasticGradientDescent()
        compile_optimizer(rule, VALUES, target=device, output=artifact, force=True)

    def run() -> None:
        with runtime.load(artifact, device=device) as step:
            step.initialize(VALUES)
            step.step(VALUES)
            step.save(folder / "run.safetensors")
            step.restore(folder / "run.safetensors")
            step.step(VALUES)

    check(run)


def test_a_step_that_is_not_closed(folder: Path) -> None:
    def run() -> None:
        step = runtime.load(folder / "a.vmfb")
        step.initialize(VALUES)
        step.step(VALUES)

    check(run)


def test_compiling() -> None:
    check(lambda: compile_module(SMALL, "vmvx"))


@pytest.mark.parametrize("text", ["module { oh }", UNLINKED])
def test_compiling_what_is_wrong(text: str) -> None:
    def run() -> None:
        with pytest.raises(PassError):
            compile_module(text, "vmvx")

    check(run)


@pytest.mark.slow
def test_compiling_elsewhere() -> None:
    check(lambda: compile_module(SMALL, "vmvx", isolate=True))


def test_compiling_elsewhere_for_too_long() -> None:
    def run() -> None:
        with pytest.raises(CompileError, match="took longer"):
            compile_module(SMALL, "vmvx", isolate=True, timeout=0.01)

    check(run)


def test_reading_arrays(folder: Path) -> None:
    for name in ("p.npz", "p.safetensors"):
        check(lambda name=name: (read_arrays(folder / name), read_parameters(folder / name)))


VERBS = [
    (("inspect", "a.vmfb"), 0),
    (("inspect", "bad.vmfb"), 3),
    (("verify", "a.vmfb", "--steps", "1"), 0),
    (("run", "a.vmfb", "--gradients", "p.npz", "--state", "s.safetensors"), 0),
    (("run", "a.vmfb", "--gradients", "p.safetensors", "--state", "s.safetensors"), 0),
    (("run", "a.vmfb", "--gradients", "bad.npz", "--state", "s.safetensors"), 3),
    (("run", "a.vmfb", "--gradients", "p.npz", "--state", "bad.safetensors"), 3),
    (("compile", "sgd", "--params", "p.npz", "-o", "b.vmfb", "--force"), 0),
    (("compile", "sgd", "--params", "bad.npz", "-o", "b.vmfb", "--force"), 3),
    (("compile", "sgd", "--params", "bad.safetensors", "-o", "b.vmfb", "--force"), 3),
    (("targets",), 0),
    (("doctor",), 0),
]


@pytest.mark.parametrize(("arguments", "code"), VERBS)
def test_every_verb(
    folder: Path, arguments: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    def run() -> None:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output

    check(run)


@pytest.mark.slow
def test_bench(folder: Path) -> None:
    command = ["bench", str(folder / "a.vmfb"), "--rounds", "1"]
    check(lambda: CliRunner().invoke(main, command, catch_exceptions=False))


def test_asking_what_this_machine_has() -> None:
    def ask() -> None:
        machine.missing_aarch64.__wrapped__()
        machine.missing_compiler.__wrapped__()
        machine.missing_minilm()

    check(ask)
