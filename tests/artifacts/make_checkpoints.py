"""How the checkpoints of this folder were made: `python -m artifacts.make_checkpoints`, in tests/.

They are never made anew: what was written by a release is what has to be read. A new format version
gets files of its own, beside these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.runtime.arrays import BFLOAT16
from stepforge.runtime.checkpoint import Origin, Snapshot
from stepforge.runtime.checkpoint_match import FORMAT
from stepforge.runtime.safetensors_file import Tensors, encode
from support import handmade

FOLDER = Path(__file__).resolve().parent
ADAM = FOLDER / "checkpoint-1-adam.safetensors"
EVERY_DTYPE = FOLDER / "checkpoint-1-dtypes.safetensors"
NOTE = {"note": 'zwei\nZeilen: "ü" \\ 𝄞'}

Arrays = dict[str, NDArray[Any]]


def adam_values() -> Arrays:
    """A state of `handmade.adam()`, by path."""
    found: Arrays = {}
    for index, (name, shape) in enumerate(handmade.SHAPES.items()):
        count = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        found[name] = (count - 3) / 8 + index
        found[f"/AdamOptimizer{name}_1st_moment"] = (count - 5) / 1024
        found[f"/AdamOptimizer{name}_2nd_moment"] = (count + 1) / 2**20
    found[handmade.LEARNING_RATE] = np.asarray(0.1)
    found[handmade.GLOBAL_STEP] = np.asarray(2**40 + 7, np.int64)
    return found


def every_dtype() -> Arrays:
    """By the names in the file."""
    floats = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 2.0**-14])
    return {
        "state/f64": floats * 1.1,
        "state/f32": floats.astype(np.float32),
        "params/f16": floats.astype(np.float16),
        "params/bf16": floats.astype(BFLOAT16),
        "state/i64": np.array([[-(2**63), 2**63 - 1]]),
        "state/i32": np.array([-(2**31), 2**31 - 1], np.int32),
        "slots/i16": np.array([-(2**15), 2**15 - 1], np.int16),
        "slots/i8": np.arange(-128, 128, 51, dtype=np.int8),
        "slots/bool": np.array([True, False, True]),
        "slots/ü \"quoted\" 'name'": np.zeros((0, 3), np.float32),
        "state/scalar": np.asarray(0.1),
    }


def write(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:  # and never over another
        stream.write(data)


def main() -> None:
    texts = {"stepforge.format": FORMAT, **NOTE}
    write(EVERY_DTYPE, b"".join(encode(Tensors(every_dtype(), texts))))
    artifact = handmade.adam()
    snapshot = Snapshot(adam_values(), Origin(artifact.manifest, artifact.sha256))
    assert not ADAM.exists()
    snapshot.write(ADAM, NOTE)


if __name__ == "__main__":
    main()
