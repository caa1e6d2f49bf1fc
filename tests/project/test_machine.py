"""The devices that CI promises are really there, and really used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from iree import runtime as iree_runtime


@pytest.mark.vulkan
def test_a_vulkan_device_answers() -> None:
    assert iree_runtime.get_driver("vulkan").query_available_devices()


@pytest.mark.aarch64
def test_the_arm_runtime_starts(aarch64_run_module: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*aarch64_run_module, "--list_drivers"], capture_output=True, text=True, check=True
    )
    assert "local-sync" in done.stdout


@pytest.mark.minilm
def test_the_real_model_is_there(minilm_parameters: Path) -> None:
    assert minilm_parameters.stat().st_size > 10**7


PROBE = """
import pytest

@pytest.mark.cuda
def test_needs_cuda(): pass
"""


@pytest.mark.parametrize(
    ("require", "outcome"),
    [("", "skipped"), ("cuda", "STEPFORGE_REQUIRE names cuda"), ("cud", "not in ['aarch64'")],
)
def test_a_missing_device_skips_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: str, outcome: str
) -> None:
    tests = Path(__file__).parents[1]
    (tmp_path / "test_probe.py").write_text(PROBE)
    without_cuda = 'PROBES = {**PROBES, "cuda": lambda: "none here"}\n'
    (tmp_path / "conftest.py").write_text((tests / "conftest.py").read_text() + without_cuda)
    monkeypatch.setenv("STEPFORGE_REQUIRE", require)
    command = [sys.executable, "-m", "pytest", "-c", str(tests.parent / "pyproject.toml")]
    command += ["--rootdir", str(tests.parent), "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert outcome in done.stdout + done.stderr
