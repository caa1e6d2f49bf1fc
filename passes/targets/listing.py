"""What `stepforge targets` prints: one row per target or group of targets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stepforge.passes import session
from stepforge.passes.errors import UnknownTargetError
from stepforge.passes.targets import cpu, gpu, vulkan
from stepforge.passes.targets.target import Backend, Target

#: How the text after the first colon (None without one) becomes a target.
_BACKENDS: Mapping[Backend, Callable[[str | None], Target]] = {
    "cpu": cpu.cpu,
    "vulkan": vulkan.vulkan,
    "cuda": gpu.cuda,
    "rocm": gpu.rocm,
    "metal": gpu.metal,
    "vmvx": gpu.vmvx,
}

#: IREE's names of the code generators.
_GENERATORS: Mapping[Backend, str] = {
    "cpu": "llvm-cpu",
    "vulkan": "vulkan-spirv",
    "cuda": "cuda",
    "rocm": "rocm",
    "metal": "metal-spirv",
    "vmvx": "vmvx",
}

_NEEDS: Mapping[Backend, str] = {
    "cpu": "nothing more",
    "vulkan": "a Vulkan 1.3 driver (on Debian, mesa-vulkan-drivers and libvulkan1)",
    "cuda": "an NVIDIA driver",
    "rocm": "AMD's HIP runtime, and the GPU it names",
    "metal": "macOS",
    "vmvx": "nothing more",
}


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target; `compiles` says whether this build of IREE has its code generator."""

    name: str
    backend: Backend
    hardware: str
    compiles: bool
    needs: str
    """What is needed to run it; whether it is here is the runtime's to say."""
    dtypes: tuple[str, ...]
    notes: tuple[str, ...]


def parse_target(text: str) -> Target:
    """The target of a name such as `cpu`, `cpu:aarch64:cortex-a72`, `vulkan:adreno`, `cuda:sm_86`.

    Raises `UnknownTargetError`, with the nearest names.
    """
    cleaned = text.strip().lower()
    backend, colon, rest = cleaned.partition(":")
    for name, build in _BACKENDS.items():
        if backend == name:
            if colon and not rest:
                raise UnknownTargetError(f"target {text!r} ends in a colon; leave it out, or name")
            return build(rest if colon else None)
    raise UnknownTargetError(
        f"there is no target {text!r}{_near(cleaned)}; targets are {', '.join(_BACKENDS)}, "
        "followed by what they are for: cpu:aarch64, vulkan:adreno, cuda:sm_86"
    )


def targets() -> tuple[TargetRow, ...]:
    """Every target that has a name of its own, the portable ones first."""
    generators = session.backends()
    rows = list[TargetRow]()
    for name in target_names():
        target = parse_target(name)
        rows.append(
            TargetRow(
                name=target.name,
                backend=target.backend,
                hardware=target.hardware,
                compiles=_GENERATORS[target.backend] in generators,
                needs=_needs(target),
                dtypes=("f32", "i32", *target.features),
                notes=target.notes,
            )
        )
    return tuple(rows)


def target_names() -> tuple[str, ...]:
    return (
        "cpu",
        *(f"cpu:{name}" for name in cpu.ARCHITECTURES),
        "vulkan",
        *(f"vulkan:{name}" for name in vulkan.FAMILIES),
        "cuda",
        *(f"cuda:{name}" for name in gpu.CUDA),
        *(f"rocm:{name}" for name in gpu.ROCM),
        "metal",
        "vmvx",
    )


def _needs(target: Target) -> str:
    if target.backend == "cpu" and target.name != "cpu":
        return f"a processor with {_extensions(target)}"
    return _NEEDS[target.backend]


def _extensions(target: Target) -> str:
    listed = ", ".join(feature.removeprefix("+") for feature in target.cpu_features)
    return f"{target.arch} and {listed}" if listed else target.arch


def _near(text: str) -> str:
    aliases = (*vulkan.ALIASES, *vulkan.FAMILIES)
    bare: Sequence[str] = (*cpu.ARCHITECTURES, *aliases, *gpu.CUDA, *gpu.ROCM)
    if text in bare:  # `adreno` for `vulkan:adreno`
        whole = [name for name in target_names() if name.endswith(f":{text}")]
        whole = whole or [f"vulkan:{text}"]
        return f"; did you mean {' or '.join(whole)}?"
    found = difflib.get_close_matches(text, target_names(), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(found)}?" if found else ""
