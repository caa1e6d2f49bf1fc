"""Can this machine run the artifact's code, and does it compute right?

What is wrong here would otherwise be a crash (native code for another CPU) or silently wrong
numbers (code for another GPU family).
"""

from __future__ import annotations

import numpy as np

from stepforge.runtime import bindings as iree
from stepforge.runtime.cpu_features import host_architecture, host_features, missing_features
from stepforge.runtime.devices import Device
from stepforge.runtime.errors import CpuMismatchError, DeviceMismatchError, VersionMismatchError
from stepforge.runtime.executor import Module
from stepforge.runtime.manifest import Manifest, Target

# A part of the GPU target's name -> parts of the device names that can run it.
_FAMILIES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("llvmpipe",), ("llvmpipe",)),
    (("adreno",), ("adreno", "qualcomm")),
    (("valhall", "mali", "arm5gen", "immortalis"), ("mali", "immortalis")),
    (("rdna", "gfx", "radeon", "rx"), ("radeon", "amd", "radv")),
    (("videocore",), ("videocore", "v3d")),
    (
        ("sm_", "pascal", "volta", "turing", "ampere", "ada", "a100", "rtx", "gtx"),
        ("nvidia", "geforce", "quadro", "tesla", "rtx"),
    ),
)

SELF_TEST = "self_test"
_SELF_TEST_SIZE = 4096


def check_version(manifest: Manifest) -> None:
    """Bytecode runs on the release that made it. Raises VersionMismatchError."""
    here, made = iree.VERSION, manifest.iree_version
    if here.split(".")[:2] != made.split(".")[:2]:
        raise VersionMismatchError(
            f"the artifact was compiled by IREE {made}, this runtime is IREE {here}; install "
            f"iree-base-runtime=={made}, or compile the artifact again"
        )


def check_cpu(target: Target) -> None:
    """Native code needs its architecture and its CPU features. Raises CpuMismatchError."""
    machine = host_architecture()
    if target.arch and target.arch != machine:
        raise CpuMismatchError(
            f"the artifact (target {target.name!r}) is native code for {target.arch}, this machine "
            f"is {machine}; compile it with --target cpu:{machine}"
        )
    missing = missing_features(target.arch or machine, target.cpu_features, host_features())
    if missing:
        raise CpuMismatchError(
            f"the artifact (target {target.name!r}, cpu {target.cpu or 'generic'}) uses CPU "
            f"features that this machine lacks: {', '.join(missing)}; compile it here, or with the "
            f"portable --target cpu:{machine}"
        )


def check_gpu(target: Target, device: Device) -> None:
    """Code for a GPU family runs on devices of that family. Raises DeviceMismatchError.

    The family is told by the device's name, all that IREE's bindings say of a device: its subgroup
    size and features are not asked, and what the target records of them is for people. `self_test`
    is what finds a device that computes wrong all the same.
    """
    wanted = (target.iree_target or "").lower()
    name = device.name.lower()
    for parts, devices in _FAMILIES:
        if not any(wanted.startswith(part) for part in parts):
            continue
        if any(part in name for part in devices):
            return
        raise DeviceMismatchError(
            f"the artifact was compiled for {target.iree_target!r}; the device is "
            f"{device.name!r}, on which that code may give wrong numbers without a sign; compile "
            "it for this device or with the portable --target vulkan"
        )


def self_test(module: Module, target: Target) -> None:
    """Run the module's own test: y = 2 x + 1 and the sum of y. Raises DeviceMismatchError."""
    if not target.self_test:
        return
    x = (np.arange(_SELF_TEST_SIZE) % 61 - 30).astype(np.float32)
    try:
        mapped, total = module.call(SELF_TEST, [x])
    except RuntimeError as error:
        text = str(error).split(";\n")[0].strip()
        raise DeviceMismatchError(
            f"device {module.device.spec!r} ({module.device.name}) cannot run the artifact's "
            f"self-test: {text}; compile it (target {target.name!r}) for this device, or update "
            "the driver"
        ) from error
    wanted = 2 * x + 1
    wrong = int(np.count_nonzero(mapped != wanted))
    # Small integers: every order of summation gives this sum exactly.
    got, right = float(total), float(wanted.sum())
    if wrong or got != right:
        raise DeviceMismatchError(
            f"device {module.device.spec!r} ({module.device.name}) fails the artifact's self-test: "
            f"{wrong} of {wanted.size} elements are wrong, a sum is {got} and should be {right}; "
            f"the code (target {target.name!r}) does not fit this device or its driver: compile it "
            "for this device, or update the driver"
        )
