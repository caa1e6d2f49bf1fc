"""Names, shapes and dtypes of parameters, read from files without their values.

`.safetensors` and `.npz` give up their headers only; `.json` and `.toml` hold specs.
"""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from stepforge.frontend.rules import matches, nearest_names
from stepforge.tools.arrays import DAMAGED_NPZ, damaged_or_unreadable
from stepforge.tools.errors import NO_TOML, CorruptInputError, ToolError

# The bound that the safetensors format itself sets.
MAX_HEADER_BYTES = 100_000_000
MAX_NPY_HEADER = 65_536
"""What NumPy reads by itself at most is 10,000 bytes."""
MAX_RANK = 64

FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NOT_FLOATS = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")

Spec = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotFloat:
    """An integer or bool tensor of a file, which no optimizer updates."""

    dtype: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A tensor of a file whose dtype no parameter has, and those that one has there."""

    dtype: str
    expected: str
    instead: str
    """What to do, beside leaving it out."""


Found = Mapping[str, Spec | NotFloat | Unsupported]
"""What a file holds, by name, before any name was chosen."""


@dataclass(frozen=True, slots=True)
class ParameterFile:
    """`specs`: name -> spec as `compile_optimizer` takes it, in the file's order.

    `left_out`: (name, dtype) of the integer and bool tensors among the names that were chosen.
    """

    specs: Mapping[str, Spec]
    left_out: tuple[tuple[str, str], ...] = ()


def read_parameters(
    path: Path, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> ParameterFile:
    """The parameters of `path` that match a glob of `include` (none: all) and none of `exclude`.

    Names are chosen first, so that a tensor of any dtype can be left out. Raises ToolError for an
    unknown kind of file, a spec of the wrong form, a dtype that no parameter has or an empty
    choice, and CorruptInputError for a damaged file.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ToolError(
            f"parameters are read from {', '.join(READERS)}: {path} is none of these; rename it, "
            "or write its names and shapes as JSON"
        )
    return choose(reader(path), str(path), include, exclude)


def choose(
    found: Found, where: str, include: Sequence[str], exclude: Sequence[str]
) -> ParameterFile:
    """The parameters whose names match; `where` they were found is for messages."""
    specs: dict[str, Spec] = {}
    left_out: list[tuple[str, str]] = []
    for name in _chosen(tuple(found), include, exclude):
        entry = found[name]
        if isinstance(entry, Unsupported):
            raise ToolError(
                f"parameters are {entry.expected}: {name!r} in {where} has dtype {entry.dtype}; "
                f"leave it out with --exclude, or {entry.instead}"
            )
        if isinstance(entry, NotFloat):
            left_out.append((name, entry.dtype))
        else:
            specs[name] = entry
    if not specs:
        floats = sum(not isinstance(entry, NotFloat) for entry in found.values())
        raise ToolError(
            f"no parameter is left: {where} holds {floats} floating-point tensors, "
            f"--include {list(include)} and --exclude {list(exclude)} leave none"
        )
    return ParameterFile(specs, tuple(left_out))


def _chosen(
    names: Sequence[str], include: Sequence[str], exclude: Sequence[str]
) -> tuple[str, ...]:
    """The names that match; a glob that matches no name at all is an error, as it is a typo."""
    for option, globs in (("--include", include), ("--exclude", exclude)):
        for glob in globs:
            if not any(matches(name, glob) for name in names):
                raise ToolError(
                    f"{option} {glob!r} matches none of the {len(names)} parameters, such as "
                    f"{nearest_names(glob, names)}"
                )
    return tuple(
        name
        for name in names
        if (not include or _matches(name, include)) and not _matches(name, exclude)
    )


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(matches(name, glob) for glob in globs)


def _read_safetensors(path: Path) -> Found:
    with path.open("rb") as file:
        header = _safetensors_header(path, file)
    return {
        name: _safetensors_found(*_safetensors_entry(path, name, entry))
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _safetensors_found(dtype: str, shape: list[int]) -> Spec | NotFloat | Unsupported:
    if dtype in FLOATS:
        return {"shape": shape, "dtype": FLOATS[dtype]}
    if dtype in NOT_FLOATS:
        return NotFloat(dtype.lower())
    return Unsupported(dtype, ", ".join(FLOATS.values()), "convert it")


def _safetensors_header(path: Path, file: IO[bytes]) -> Mapping[str, Any]:
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise CorruptInputError(
            f"a safetensors file starts with the length of its header: {path} says {length} bytes "
            f"and has {size}; it is truncated or no safetensors file"
        )
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"the header of {path} is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise CorruptInputError(f"the header of {path} is no mapping")
    return cast("dict[str, Any]", header)


def _safetensors_entry(path: Path, name: str, entry: Any) -> tuple[str, list[int]]:
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    dtype, shape = fields.get("dtype"), fields.get("shape")
    if not isinstance(dtype, str) or not _is_shape(shape):
        raise CorruptInputError(f"the entry of {name!r} in {path} lacks a dtype or a shape")
    return dtype, cast("list[int]", shape)


def _is_shape(value: object) -> bool:
    if not isinstance(value, list) or len(cast("list[Any]", value)) > MAX_RANK:
        return False
    return all(type(item) is int and item >= 0 for item in cast("list[Any]", value))


def _read_npz(path: Path) -> Found:
    found: dict[str, Spec | NotFloat | Unsupported] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                with archive.open(entry) as file:
                    shape, dtype = _npy_header(file)
                found[entry.removesuffix(".npy")] = _npz_found(dtype, shape)
    except DAMAGED_NPZ as error:
        raise CorruptInputError(f"{path} is no whole .npz file: {error}") from error
    except OSError as error:
        raise damaged_or_unreadable(path, error) from error
    return found


def _npz_found(dtype: np.dtype[Any], shape: tuple[int, ...]) -> Spec | NotFloat | Unsupported:
    if dtype.kind in "iub":
        return NotFloat(dtype.name)
    if dtype.name in FLOATS.values() and dtype.isnative:
        return {"shape": list(shape), "dtype": dtype.name}
    expected = "float64, float32 or float16 in an .npz file"
    return Unsupported(dtype.str, expected, "use .safetensors")


def _npy_header(entry: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    # Not from the entry itself: NumPy takes as much memory as the header says that it is long.
    file = io.BytesIO(entry.read(MAX_NPY_HEADER))
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    return shape, dtype


def _read_json(path: Path) -> Found:
    try:
        return specs_of(str(path), json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{path} is no JSON: {error}") from error


def _read_toml(path: Path) -> Found:
    try:
        return specs_of(str(path), tomllib.loads(path.read_text(encoding="utf-8")))
    except NO_TOML as error:
        raise CorruptInputError(f"{path} is no TOML: {error}") from error


def specs_of(where: str, value: Any) -> Found:
    """A mapping of specs as it is; the compiler checks each (`"64x32xf32"`, shape and dtype)."""
    if not isinstance(value, dict):
        raise ToolError(
            f"{where} must be a mapping of names to specs such as "
            '{"encoder/w": {"shape": [64, 32], "dtype": "float32"}}, also "64x32xf32"'
        )
    return cast("dict[str, Spec]", value)


READERS: Mapping[str, Callable[[Path], Found]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".json": _read_json,
    ".toml": _read_toml,
}
