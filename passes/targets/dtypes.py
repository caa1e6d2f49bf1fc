"""Which dtypes a target can be trusted with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stepforge.passes.errors import UnsupportedDTypeError
from stepforge.passes.targets.target import UNIVERSAL, Target

_FAMILY = "name a GPU family that has them (--target vulkan:adreno), or store float32"

#: Names as variables carry them -> what the module stores them as.
_STORED: Mapping[str, str] = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "bool": "i8",
    "i1": "i8",
}

#: Per backend and dtype: why not, and what to do instead.
_REASONS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("vulkan", "f16"): (
        "its GPUs need not have 16-bit floats in buffers, and IREE would compute garbage",
        _FAMILY,
    ),
    ("vulkan", "bf16"): (
        "its GPUs need not have 16-bit elements in buffers, and IREE would compute garbage",
        _FAMILY,
    ),
    ("vulkan", "f64"): (
        "its GPUs need not have 64-bit floats",
        "use --target cpu, cuda or vmvx, or float32",
    ),
    ("vulkan", "i64"): (
        "its GPUs need not have 64-bit integers",
        "use int32, or --target cpu, cuda or vmvx",
    ),
    ("vulkan", "i8"): (
        "IREE has no right 8-bit code for it",
        "use int32 in place of int8 and bool, or name a GPU family (--target vulkan:rdna3)",
    ),
    ("vmvx", "f16"): (
        "IREE cannot compile 16-bit floats for it",
        "store bfloat16 or float32, or use --target cpu",
    ),
    ("metal", "f64"): (
        "Apple's GPUs have no 64-bit floats",
        "use float32, or --target cpu",
    ),
}


def check_dtypes(target: Target, dtypes: Iterable[str]) -> None:
    """Raise `UnsupportedDTypeError` unless `target` has every dtype ("float16", or "f16")."""
    for dtype in sorted(set(dtypes)):
        stored = _STORED.get(dtype, dtype)
        if target.has(stored):
            continue
        has = ", ".join((*UNIVERSAL, *target.features))
        why, instead = _REASONS.get(
            (target.backend, stored), ("IREE has no code for it there", "use float32")
        )
        raise UnsupportedDTypeError(
            f"target {target.name} cannot hold {dtype}: {why}; it has {has}, got {dtype}; {instead}"
        )
