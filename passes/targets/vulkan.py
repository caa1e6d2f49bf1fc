"""Vulkan: one portable profile, and GPU families whose code runs on themselves alone.

Code for another family than the device's computes wrong numbers without a message (seen on
lavapipe). The runtime compares the family with the device's name and runs the self-test; the
subgroup size and the requirements are recorded for people, as IREE's bindings tell neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepforge.passes.errors import UnknownTargetError
from stepforge.passes.targets import names
from stepforge.passes.targets.target import Target

PORTABLE = "vp_android_baseline_2022"
#: maxPushConstantsSize is 128 bytes on the least device that Vulkan allows.
PUSH_WORDS = 32

# Beside f32 and i32 a GPU without narrower storage has nothing: IREE 3.13 emulates bf16 and i8 in
# 32-bit words, and vectorised loops over them compute garbage without a diagnostic; f16 always.
_ALL = ("bf16", "f16", "f64", "i8", "i16", "i64")


@dataclass(frozen=True, slots=True)
class Family:
    """One GPU family: `hardware` for people, and what its code may use."""

    hardware: str
    subgroup_size: int | None
    features: tuple[str, ...]


# Mali reports neither f64 nor, on older drivers, i64; Adreno neither, and IREE 3.13 has no valid
# 8-bit code for it.
_MALI = ("bf16", "f16", "i8", "i16")

FAMILIES: Mapping[str, Family] = {
    "llvmpipe": Family("Mesa's software Vulkan (lavapipe)", 8, _ALL),
    "adreno": Family("Qualcomm Adreno", 64, ("bf16", "f16", "i16")),
    "valhall1": Family("Arm Mali G57, G77", 16, _MALI),
    "valhall2": Family("Arm Mali G78", 16, _MALI),
    "valhall3": Family("Arm Mali G310, G510, G710", 16, _MALI),
    "valhall4": Family("Arm Mali G615, G715", 16, _MALI),
    "arm5gen": Family("Arm Mali G720, G725", 16, _MALI),
    "videocore_vii": Family("Broadcom VideoCore VII (Raspberry Pi 5)", 16, ()),
    "sm_60": Family("NVIDIA Pascal", 32, _ALL),
    "sm_70": Family("NVIDIA Volta", 32, _ALL),
    "sm_75": Family("NVIDIA Turing", 32, _ALL),
    "sm_80": Family("NVIDIA Ampere (A100)", 32, _ALL),
    "sm_86": Family("NVIDIA Ampere (GeForce 30)", 32, _ALL),
    "sm_89": Family("NVIDIA Ada", 32, _ALL),
    "sm_120": Family("NVIDIA Blackwell (GeForce 50)", 32, _ALL),
    "rdna1": Family("AMD RDNA1 (Radeon RX 5000)", 32, _ALL),
    "rdna2": Family("AMD RDNA2 (Radeon RX 6000)", 32, _ALL),
    "rdna3": Family("AMD RDNA3 (Radeon RX 7000)", 32, _ALL),
    "rdna4": Family("AMD RDNA4 (Radeon RX 9000)", 32, _ALL),
}

ALIASES: Mapping[str, str] = {
    "lavapipe": "llvmpipe",
    "valhall": "valhall1",
    "mali-g57": "valhall1",
    "mali-g77": "valhall1",
    "mali-g78": "valhall2",
    "mali-g310": "valhall3",
    "mali-g510": "valhall3",
    "mali-g710": "valhall3",
    "mali-g615": "valhall4",
    "mali-g715": "valhall4",
    "mali-g720": "arm5gen",
    "mali-g725": "arm5gen",
    "pascal": "sm_60",
    "volta": "sm_70",
    "turing": "sm_75",
    "ampere": "sm_80",
    "ada": "sm_89",
}


def vulkan(text: str | None) -> Target:
    """`text`: what follows `vulkan:`; None for the portable profile."""
    if text is None or text == PORTABLE:
        hardware = "any GPU with Vulkan 1.3"
        return _target("vulkan", PORTABLE, Family(hardware, None, ()))
    family = ALIASES.get(text, text)
    if family not in FAMILIES:
        known = (*FAMILIES, *ALIASES)
        raise UnknownTargetError(names.unknown(f"vulkan:{text}", "vulkan", known))
    row = FAMILIES[family]
    note = (
        f"code for {row.hardware} may compute wrong numbers on other GPUs, so it is refused there; "
        "--target vulkan is portable"
    )
    return _target(f"vulkan:{text}", family, row, note)


def _target(name: str, iree_target: str, family: Family, *notes: str) -> Target:
    return Target(
        name=name,
        backend="vulkan",
        device="vulkan",
        hardware=family.hardware,
        flags=("--iree-hal-target-device=vulkan", f"--iree-vulkan-target={iree_target}"),
        features=family.features,
        iree_target=iree_target,
        subgroup_size=family.subgroup_size,
        requirements=("Vulkan 1.3",),
        push_words=PUSH_WORDS,
        notes=notes,
    )
