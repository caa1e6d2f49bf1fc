"""R18: without the compiler, an extra or a driver, what is missing is named and nothing crashes.

In a real environment with the runtime's requirements and no more.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.make_artifacts import path_of
from stepforge import runtime
from support import forgeries

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = ("click", "iree-base-runtime", "ml-dtypes", "numpy", "safetensors")
MAIN = "from stepforge.tools.cli import main; main()"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment; its packages are links to those here."""
    folder = tmp_path_factory.mktemp("runtime-only")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in REQUIRED:
        for file in importlib.metadata.files(name) or ():
            place = site / file
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(Path(str(file.locate())).resolve())
    (site / "stepforge").mkdir()
    for package in ("frontend", "passes", "runtime", "tools"):
        (site / "stepforge" / package).symlink_to(ROOT / package)
    about = site / "stepforge-0.dist-info"
    about.mkdir()
    metadata = importlib.metadata.distribution("stepforge").read_text("METADATA")
    (about / "METADATA").write_text(metadata or "")
    return folder / "bin" / "python"


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Run:
    def call(
        *arguments: str, program: str = MAIN, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return subprocess.run(
            [str(python), "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment | variables,
        )

    return call


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Artifacts that say they are for each device, parameters, and a key."""
    found = {"vmvx": path_of("vmvx")}
    data = found["vmvx"].read_bytes()
    for device in ("vulkan", "cuda", "hip"):
        document = json.loads(forgeries.entry(data, "stepforge.json"))
        document["targets"][0]["device"] = device
        found[device] = tmp_path / f"{device}.vmfb"
        text = json.dumps(document).encode()
        found[device].write_bytes(forgeries.with_entries(data, stepforge_json=text))
    (tmp_path / "p.json").write_text('{"w": "4xf32"}')
    (tmp_path / "k.pem").write_bytes(runtime.new_key_pair()[0])
    return found


def test_nothing_else_is_there(run: Run) -> None:
    for name in ("iree.compiler", "cryptography", "matplotlib", "torch"):
        assert "ModuleNotFoundError" in run(program=f"import {name}").stderr


STEP = """
import sys
import numpy as np
from stepforge import runtime
with runtime.load(sys.argv[1], isolate=True) as step:
    step.initialize({"layer/w": np.zeros((5, 3), np.float32), "layer/b": np.zeros(3, np.float32)})
    step.step({"layer/w": np.ones((5, 3), np.float32), "layer/b": np.ones(3, np.float32)})
    print(step.global_step)
"""


def test_it_steps(run: Run, files: dict[str, Path]) -> None:
    done = run(str(files["vmvx"]), program=STEP)
    assert done.stdout == "1\n", done.stderr


EXTRAS = [
    (("compile", "adamw", "--params", "p.json"), "compiler"),
    (("targets",), "compiler"),
    (("sign", "vulkan.vmfb", "--key", "k.pem"), "sign"),
    (("sign", "--new-key", "new.pem"), "sign"),
    (("verify-signature", "vulkan.vmfb", "--public-key", "k.pem"), "sign"),
]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("arguments", "extra"), EXTRAS)
def test_an_extra_is_named(arguments: tuple[str, ...], extra: str, run: Run) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'stepforge[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_says_it_all(run: Run) -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stderr
    assert "pip install 'stepforge[compiler]'" in done.stdout


DRIVERS = [
    ("vulkan", "install a Vulkan 1.3 driver and its loader", {"VK_DRIVER_FILES": "/nonexistent"}),
    ("cuda", "install the NVIDIA driver, which brings libcuda.so", {}),
    ("hip", "install ROCm's HIP runtime, which brings libamdhip64.so", {}),
]


@pytest.mark.parametrize(("device", "what", "variables"), DRIVERS)
def test_a_driver_is_named(
    device: str, what: str, variables: dict[str, str], run: Run, files: dict[str, Path]
) -> None:
    if not variables and runtime.probe(device).available:
        pytest.skip(f"a {device} device is here")
    program = f"from stepforge import runtime\nruntime.load({str(files[device])!r})"
    assert f"DeviceNotFoundError: device '{device}'" in run(program=program, **variables).stderr
    done = run("verify", str(files[device]), "--device", device, **variables)
    assert done.returncode == 4, done.stderr
    assert what in done.stderr
    assert "Traceback" not in done.stderr
