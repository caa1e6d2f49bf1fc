"""Which variables a step of any length has: from arrays, or from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stepforge.runtime.any_length import PATTERN, define, shapes_of
from stepforge.runtime.arrays import Array, as_array, checked, numpy_dtype
from stepforge.runtime.checkpoint import entry_name
from stepforge.runtime.errors import ArtifactFormatError, CheckpointError, InputError
from stepforge.runtime.json_reader import Reader, parse
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.safetensors_file import MAX_HEADER, MAX_RANK


def of_arrays(pattern: Manifest, parameters: object) -> tuple[Manifest, dict[str, Array]]:
    """The manifest for parameters that are given by name, and their arrays by path.

    Raises InputError for what is no mapping of names to arrays of the pattern's dtype.
    """
    if not isinstance(parameters, Mapping):
        got = "nothing" if parameters is None else f"a {type(parameters).__name__}"
        raise InputError(
            "initialize: an artifact of any length gets its variables from the parameters: "
            f"expected a mapping of names to arrays, got {got}"
        )
    given: dict[str, Array] = {}
    for name, value in cast(Mapping[object, Any], parameters).items():
        if not isinstance(name, str):
            raise InputError(f"initialize: expected strings as names, got {name!r}")
        path = name if name.startswith("/") else f"/{name}"
        if path in given:
            raise InputError(f"initialize: {path[1:]!r} is given twice")
        given[path] = _parameter(pattern, path, value)
    if not given:
        raise InputError("initialize: expected at least one parameter, got an empty mapping")
    return define(pattern, {path: array.shape for path, array in given.items()}), given


def _parameter(pattern: Manifest, path: str, value: Any) -> Array:
    dtype = numpy_dtype(pattern.variables[0].dtype)
    where = f"initialize: parameter {path[1:]!r}"
    array = as_array(value, where, dtype, ())
    return checked(array, where, dtype, array.shape)


def manifest_for(manifest: Manifest, path: str | os.PathLike[str]) -> Manifest:
    """What a checkpoint is read by: the manifest or, of any length, that for its parameters.

    Raises as `of_checkpoint` does.
    """
    return manifest if manifest.length is None else of_checkpoint(manifest, path)


def of_checkpoint(pattern: Manifest, path: str | os.PathLike[str]) -> Manifest:
    """The manifest for the parameters of a checkpoint, of which only the header is read.

    Raises CheckpointError, and OSError when the file cannot be read.
    """
    where = f"checkpoint {os.fspath(path)}"
    folder = entry_name(pattern.variables[0]).removesuffix(PATTERN)
    try:
        header = _header(Path(path), where)
        shapes = {
            name.removeprefix(folder): _shape(Reader(row, f"{where}: {name}"))
            for name, row in header.items()
            if name.startswith(f"{folder}/")
        }
        if not shapes:
            raise InputError("it has no parameters")
        return define(pattern, shapes)
    except (ArtifactFormatError, InputError) as error:
        raise CheckpointError(f"{where} is damaged or no checkpoint: {error}") from error


def _header(path: Path, where: str) -> dict[str, Any]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        found = parse(file.read(min(size, MAX_HEADER)), where).value
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _shape(row: Reader) -> tuple[int, ...]:
    return row.fields("data_offsets", "dtype", "shape")["shape"].each(MAX_RANK, Reader.integer)


def same_variables(a: Manifest, b: Manifest) -> bool:
    """Whether two definitions of one pattern have the same parameters, in whatever order."""
    return dict(shapes_of(a)) == dict(shapes_of(b))
