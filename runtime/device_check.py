"""Can this machine run the artifact's code, and does it compute right?

What is wrong here would otherwise be a crash (native code for another CPU) or silently wrong
numbers (code for another GPU family).
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import numpy as np

from stepforge.runtime import bindings as iree
from stepforge.runtime.devices import Device
from stepforge.runtime.errors import CpuMismatchError, DeviceMismatchError, VersionMismatchError
from stepforge.runtime.executor import Module
from stepforge.runtime.manifest import Manifest, Target

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}

# LLVM's names of the features that generated code may use, where /proc/cpuinfo spells them
# differently. Features that are in neither table say nothing about generated code.
_RENAMED = {
    "sse3": "pni", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "lzcnt": "abm", "bmi": "bmi1",
    "pclmul": "pclmulqdq", "rdrnd": "rdrand", "sha": "sha_ni", "avxvnni": "avx_vnni",
    "avxifma": "avx_ifma", "avx512bf16": "avx512_bf16", "avx512fp16": "avx512_fp16",
    "avx512vnni": "avx512_vnni", "avx512vbmi2": "avx512_vbmi2",
    "avx512bitalg": "avx512_bitalg", "avx512vpopcntdq": "avx512_vpopcntdq",
    "amx-tile": "amx_tile", "amx-int8": "amx_int8", "amx-bf16": "amx_bf16",
    "neon": "asimd", "fp-armv8": "fp", "fullfp16": "asimdhp", "dotprod": "asimddp",
    "lse": "atomics", "rdm": "asimdrdm", "crc": "crc32", "fp16fml": "asimdfhm",
    "avxvnniint8": "avx_vnni_int8", "avxvnniint16": "avx_vnni_int16",
    "avxneconvert": "avx_ne_convert", "avx512vp2intersect": "avx512_vp2intersect",
    "rcpc": "lrcpc", "complxnum": "fcma", "fptoint": "frint", "altnzcv": "flagm2",
    "f32mm": "svef32mm", "f64mm": "svef64mm",
}  # fmt: skip
_SAME = frozenset((
    "sse", "sse2", "ssse3", "sse4a", "avx", "avx2", "fma", "fma4", "f16c", "bmi2", "popcnt",
    "movbe", "adx", "aes", "vaes", "vpclmulqdq", "gfni", "xop", "tbm", "avx512f", "avx512cd",
    "avx512dq", "avx512bw", "avx512vl", "avx512ifma", "avx512vbmi",
    "sve", "sve2", "sve2p1", "sme", "sme2", "bf16", "i8mm", "flagm", "sha3", "cssc", "mops", "hbc",
))  # fmt: skip

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
    missing = missing_features(target.cpu_features, host_features())
    if missing:
        raise CpuMismatchError(
            f"the artifact (target {target.name!r}, cpu {target.cpu or 'generic'}) uses CPU "
            f"features that this machine lacks: {', '.join(missing)}; compile it here, or with the "
            f"portable --target cpu:{machine}"
        )


def host_architecture() -> str:
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


@cache
def host_features() -> frozenset[str] | None:
    """The flags of /proc/cpuinfo, or None where there is none (another system, an emulator)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return None


def missing_features(wanted: tuple[str, ...], here: frozenset[str] | None) -> list[str]:
    """The wanted LLVM features that `here` lacks; unknown ones count as there."""
    if here is None:
        return []
    names = [feature.removeprefix("+") for feature in wanted if not feature.startswith("-")]
    known = [(n, _RENAMED.get(n, n)) for n in names if n in _RENAMED or n in _SAME]
    return [name for name, flag in known if flag not in here]


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
