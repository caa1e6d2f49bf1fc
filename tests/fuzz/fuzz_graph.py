"""`graph.json` of an artifact: what stands between its bytes and a `Program`."""

from __future__ import annotations

from stepforge.frontend.errors import SerializeError
from stepforge.frontend.program_json import program_from_json
from support import fuzzing


def one(data: bytes) -> None:
    try:
        program_from_json(data)
    except SerializeError:
        return


if __name__ == "__main__":
    fuzzing.run(one, "stepforge.frontend")
