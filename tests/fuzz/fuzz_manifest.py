"""`stepforge.json` of an artifact: what stands between its bytes and a `Manifest`."""

from __future__ import annotations

from stepforge.runtime.errors import ArtifactFormatError, VersionMismatchError
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_encode import to_json
from stepforge.runtime.manifest_parse import from_json
from support import fuzzing


def one(data: bytes) -> None:
    try:
        manifest = from_json(data)
        check(manifest)
    except (ArtifactFormatError, VersionMismatchError):
        return
    assert from_json(to_json(manifest)) == manifest


if __name__ == "__main__":
    fuzzing.run(one, "stepforge.runtime")
