"""CUDA, ROCm and Metal, and VMVX beside them: targets with no more to them than a name."""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.passes.errors import UnknownTargetError
from stepforge.passes.targets import names
from stepforge.passes.targets.target import Target

_ALL = ("bf16", "f16", "f64", "i8", "i16", "i64")
_PUSH_WORDS = 64  # what IREE's local devices and Metal take; no smaller limit is known elsewhere

CUDA_DEFAULT = "sm_80"

#: The compute capabilities IREE generates PTX for. A driver compiles PTX for any newer GPU.
CUDA: Mapping[str, str] = {
    "sm_60": "NVIDIA Pascal and newer",
    "sm_61": "NVIDIA Pascal (GeForce 10) and newer",
    "sm_70": "NVIDIA Volta and newer",
    "sm_75": "NVIDIA Turing and newer",
    "sm_80": "NVIDIA Ampere and newer",
    "sm_86": "NVIDIA Ampere (GeForce 30) and newer",
    "sm_87": "NVIDIA Ampere (Jetson Orin) and newer",
    "sm_89": "NVIDIA Ada and newer",
    "sm_120": "NVIDIA Blackwell (GeForce 50) and newer",
    "sm_121": "NVIDIA Blackwell (GB10) and newer",
}

#: Families by name, and those that IREE 3.13 has no code for: their drivers take older PTX.
CUDA_ALIASES: Mapping[str, str] = {
    "pascal": "sm_60",
    "volta": "sm_70",
    "turing": "sm_75",
    "ampere": "sm_80",
    "ada": "sm_89",
    "sm_90": "sm_89",
    "sm_90a": "sm_89",
    "hopper": "sm_89",
    "sm_100": "sm_89",
    "sm_103": "sm_89",
}
_WITHOUT_CODE = ("sm_90", "sm_90a", "hopper", "sm_100", "sm_103")

#: AMD's architectures that IREE generates native code for; each runs on itself alone.
ROCM: Mapping[str, str] = {
    "gfx908": "AMD Instinct MI100",
    "gfx90a": "AMD Instinct MI210, MI250",
    "gfx942": "AMD Instinct MI300, MI325",
    "gfx950": "AMD Instinct MI350, MI355",
    "gfx1100": "AMD Radeon RX 7900, PRO W7800, W7900",
    "gfx1101": "AMD Radeon RX 7700, RX 7800, PRO W7700",
    "gfx1103": "AMD Radeon 780M",
    "gfx1150": "AMD Strix Point",
    "gfx1151": "AMD Strix Halo",
    "gfx1200": "AMD Radeon RX 9060",
    "gfx1201": "AMD Radeon RX 9070, AI PRO R9700",
}
_WAVE64 = ("gfx908", "gfx90a", "gfx942", "gfx950")


def cuda(text: str | None) -> Target:
    """`text`: what follows `cuda:`; None for the default."""
    chosen = text or CUDA_DEFAULT
    if chosen not in CUDA and chosen not in CUDA_ALIASES:
        raise UnknownTargetError(names.unknown(f"cuda:{chosen}", "cuda", (*CUDA, *CUDA_ALIASES)))
    architecture = CUDA_ALIASES.get(chosen, chosen)
    notes = list[str]()
    if chosen in _WITHOUT_CODE:
        notes.append(
            f"cuda:{chosen} is compiled as {architecture}, which its driver takes: "
            f"IREE 3.13 generates no code for {chosen}"
        )
    return Target(
        name="cuda" if text is None else f"cuda:{chosen}",
        backend="cuda",
        device="cuda",
        hardware=CUDA[architecture],
        flags=("--iree-hal-target-device=cuda", f"--iree-cuda-target={architecture}"),
        features=_ALL,
        iree_target=architecture,
        subgroup_size=32,
        requirements=(f"compute capability {_capability(architecture)} or newer",),
        push_words=_PUSH_WORDS,
        notes=tuple(notes),
    )


def _capability(architecture: str) -> str:
    digits = architecture.removeprefix("sm_")
    return f"{digits[:-1]}.{digits[-1]}"


def rocm(text: str | None) -> Target:
    if text is None:
        raise UnknownTargetError(
            "rocm needs the architecture of the GPU, which code for ROCm runs on alone: "
            f"one of {', '.join(f'rocm:{name}' for name in ROCM)}"
        )
    if text not in ROCM:
        raise UnknownTargetError(names.unknown(f"rocm:{text}", "rocm", tuple(ROCM)))
    return Target(
        name=f"rocm:{text}",
        backend="rocm",
        device="hip",
        hardware=ROCM[text],
        flags=("--iree-hal-target-device=hip", f"--iree-rocm-target={text}"),
        features=_ALL,
        iree_target=text,
        subgroup_size=64 if text in _WAVE64 else 32,
        requirements=(f"an AMD GPU of architecture {text}",),
        push_words=_PUSH_WORDS,
        notes=("no ROCm device was ever tried",),
    )


def metal(text: str | None) -> Target:
    if text is not None:
        raise UnknownTargetError(f"metal takes no further name, got metal:{text}; use metal")
    return Target(
        name="metal",
        backend="metal",
        device="metal",
        hardware="Apple GPUs",
        # Without Apple's tools the source travels, and the driver compiles it.
        flags=("--iree-hal-target-device=metal", "--iree-metal-compile-to-metallib=false"),
        features=("bf16", "f16", "i8", "i16", "i64"),
        iree_target="apple",
        subgroup_size=32,
        requirements=("Metal 3",),
        push_words=_PUSH_WORDS,
        notes=(
            "no Metal device was ever tried",
            "IREE has Metal compile with its fast mathematics, which may lose NaN and infinity",
        ),
    )


def vmvx(text: str | None) -> Target:
    if text is not None:
        raise UnknownTargetError(f"vmvx takes no further name, got vmvx:{text}; use vmvx")
    return Target(
        name="vmvx",
        backend="vmvx",
        device="local",
        hardware="any processor, interpreted: portable, and about 60 times slower than cpu",
        flags=(
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=vmvx",
        ),
        features=("bf16", "f64", "i8", "i16", "i64"),
        push_words=_PUSH_WORDS,
    )
