"""Which dtypes a target can be trusted with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stepforge.passes.errors import UnsupportedDTypeError
from stepforge.passes.targets.target import UNIVERSAL, Target

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

#: Elements narrower than the word that every GPU can store.
_BYTES: Mapping[str, int] = {"bf16": 2, "f16": 2, "i16": 2, "i8": 1}

#: Per backend and dtype: why not, and what to do instead.
_REASONS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("vulkan", "f16"): (
        "its GPUs need not have 16-bit floats in buffers, and IREE would compute garbage",
        "name a GPU family that has them (--target vulkan:adreno), or store bfloat16 or float32",
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
        "IREE has no valid 8-bit code for it",
        "use int32 in place of int8 and bool, or --target vulkan",
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


def check_whole_words(target: Target, label: str, dtype: str, count: int) -> None:
    """Raise `UnsupportedDTypeError` unless narrow elements fill whole 32-bit words on `target`.

    GPUs without 16-bit stores are written a word at a time, and IREE 3.13 drops what is left of the
    last one: `count` elements of `dtype` ("bf16") would keep an old value at their end.
    """
    size = _BYTES.get(dtype, 4)
    if target.device != "vulkan" or target.has("f16") or size * count % 4 == 0:
        return
    raise UnsupportedDTypeError(
        f"target {target.name} stores {dtype} in 32-bit words, which tensors must fill: {label} "
        f"has {count} elements, expected a multiple of {4 // size}; store float32, pad it, or "
        "name a GPU family that has 16-bit stores (--target vulkan:adreno)"
    )
