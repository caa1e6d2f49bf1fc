"""Arrays by name, read from .npz and .safetensors files."""

from __future__ import annotations

import errno
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

from stepforge.tools.errors import CorruptInputError, ToolError

Arrays = dict[str, NDArray[Any]]

DAMAGED_NPZ = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,
)
"""What zipfile (RuntimeError: an encrypted entry) and NumPy raise for a damaged .npz: the header of
an array is a Python literal, and says how much memory the array takes."""


def read_arrays(path: Path) -> Arrays:
    """Every array of the file. Raises ToolError, and CorruptInputError for a damaged file."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ToolError(f"arrays are read from {', '.join(_READERS)}: {path} is neither")
    return reader(path)


def _read_npz(path: Path) -> Arrays:
    try:
        # Opened here: NumPy leaves a damaged file open that it opened itself.
        with path.open("rb") as file:
            # Without pickles: an array of objects is refused.
            archive: Any = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise CorruptInputError(f"{path} is one bare array; expected an .npz of several")
            return {name: archive[name] for name in archive.files}
    except DAMAGED_NPZ as error:
        raise CorruptInputError(f"{path} is no whole .npz file: {error}") from error
    except OSError as error:
        raise damaged_or_unreadable(path, error) from error


def damaged_or_unreadable(path: Path, error: OSError) -> Exception:
    """What an OSError from within an .npz file means: an offset in it may lead before its start."""
    if error.errno != errno.EINVAL:
        return error
    return CorruptInputError(f"{path} is no whole .npz file: it refers to what is not in it")


def _read_safetensors(path: Path) -> Arrays:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CorruptInputError(f"{path} is no whole safetensors file: {error}") from error


_READERS: Mapping[str, Callable[[Path], Arrays]] = {
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
}
