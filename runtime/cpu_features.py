"""Which features the processor here has, and which of an artifact's native code it lacks.

Native code that uses a missing one ends the process, so this is asked before IREE maps any.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}

# LLVM's names of features -> those of Linux (arch/x86/include/asm/cpufeatures.h,
# arch/arm64/kernel/cpuinfo.c), where they differ.
_SPELLED: Mapping[str, Mapping[str, str]] = {
    "x86_64": {
        "sse3": "pni", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "lzcnt": "abm", "bmi": "bmi1",
        "pclmul": "pclmulqdq", "rdrnd": "rdrand", "sha": "sha_ni", "avxvnni": "avx_vnni",
        "avxifma": "avx_ifma", "avxvnniint8": "avx_vnni_int8", "avxvnniint16": "avx_vnni_int16",
        "avxneconvert": "avx_ne_convert", "avx512bf16": "avx512_bf16",
        "avx512fp16": "avx512_fp16", "avx512vnni": "avx512_vnni", "avx512vbmi2": "avx512_vbmi2",
        "avx512bitalg": "avx512_bitalg", "avx512vpopcntdq": "avx512_vpopcntdq",
        "avx512vp2intersect": "avx512_vp2intersect",
        "amx-tile": "amx_tile", "amx-int8": "amx_int8", "amx-bf16": "amx_bf16",
    },
    "aarch64": {
        "neon": "asimd", "fp-armv8": "fp", "fullfp16": "asimdhp", "dotprod": "asimddp",
        "lse": "atomics", "rdm": "asimdrdm", "crc": "crc32", "fp16fml": "asimdfhm",
        "rcpc": "lrcpc", "complxnum": "fcma", "fptoint": "frint", "altnzcv": "flagm2",
        "f32mm": "svef32mm", "f64mm": "svef64mm",
    },
}  # fmt: skip
_KEYS = {"x86_64": "flags", "aarch64": "Features"}
"""The line of /proc/cpuinfo that lists them."""


def host_architecture() -> str:
    """The machine, as LLVM spells it: x86_64, aarch64, ..."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


@cache
def host_features() -> frozenset[str] | None:
    """The processor's features in Linux's spelling; None on another system or architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    return listed_features(host_architecture(), text)


def listed_features(arch: str, cpuinfo: str) -> frozenset[str] | None:
    """Those that every processor in the text of /proc/cpuinfo has; None where it lists none.

    The cores of a phone may differ, and a thread runs on any of them.
    """
    found: frozenset[str] | None = None
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == _KEYS.get(arch):
            listed = frozenset(value.split())
            found = listed if found is None else found & listed
    return found


def missing_features(arch: str, wanted: tuple[str, ...], here: frozenset[str] | None) -> list[str]:
    """The wanted LLVM features of `arch` that `here` lacks.

    One that neither LLVM's nor Linux's list had when this was written counts as lacking. None is
    missing where nothing is known of the host.
    """
    if here is None or arch not in _SPELLED:
        return []
    names = [feature.removeprefix("+") for feature in wanted if not feature.startswith("-")]
    return [name for name in names if _SPELLED[arch].get(name, name) not in here]
