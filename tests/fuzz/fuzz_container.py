"""An artifact with a digest that fits: what stands between its bytes and its entries."""

from __future__ import annotations

from stepforge.runtime.container import read_artifact
from stepforge.runtime.errors import ArtifactError
from stepforge.runtime.seal import COMMENT, LOCAL_MAGIC, sealed
from support import fuzzing


def one(data: bytes) -> None:
    """`data`: the file between its first four bytes and the comment."""
    try:
        read_artifact(sealed(LOCAL_MAGIC + data + COMMENT))
    except ArtifactError:
        return


if __name__ == "__main__":
    fuzzing.run(one, "stepforge.runtime", "zipfile")
