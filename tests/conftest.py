"""Markers for what a test needs; a missing thing is a skip with its reason.

STEPFORGE_REQUIRE lists what must be there (`vulkan,aarch64`): then a missing thing is a failure.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from support import machine

PROBES: Mapping[str, Callable[[], str | None]] = {
    "compiler": machine.missing_compiler,
    "vulkan": machine.missing_vulkan,
    "cuda": machine.missing_cuda,
    "aarch64": machine.missing_aarch64,
    "minilm": machine.missing_minilm,
}


def required() -> frozenset[str]:
    names = frozenset(filter(None, os.environ.get("STEPFORGE_REQUIRE", "").split(",")))
    unknown = sorted(names - PROBES.keys())
    if unknown:
        raise pytest.UsageError(f"STEPFORGE_REQUIRE: {unknown} not in {sorted(PROBES)}")
    return names


def pytest_configure() -> None:
    required()  # a misspelt requirement must not pass as one that is met
    # Whoever starts tests in the background may have had Ctrl-C ignored; some tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, probe in PROBES.items():
        if item.get_closest_marker(name) is None:
            continue
        reason = probe()
        if reason is None:
            continue
        if name in required():
            pytest.fail(f"STEPFORGE_REQUIRE names {name}: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def aarch64_run_module() -> tuple[str, ...]:
    """The command that runs the ARM `iree-run-module` here; for tests marked `aarch64`."""
    binary = machine.aarch64_runtime() / "iree-run-module"
    return ("qemu-aarch64", "-L", str(machine.AARCH64_SYSROOT), str(binary))


@pytest.fixture(scope="session")
def minilm_parameters() -> Path:
    """The safetensors file of all-MiniLM-L6-v2; for tests marked `minilm`."""
    path = machine.minilm_path()
    assert path is not None, "the test lacks @pytest.mark.minilm"
    return path
