"""A file of parameters: names, shapes and dtypes. The first byte says which kind of file it is."""

from __future__ import annotations

import tempfile
from pathlib import Path

from stepforge.frontend.build.parameters import parameter_specs
from stepforge.frontend.errors import FrontendError
from stepforge.tools.errors import ToolError
from stepforge.tools.parameters import READERS, read_parameters
from support import fuzzing

_FOLDER = Path(tempfile.mkdtemp(prefix="stepforge-fuzz-"))
KINDS = tuple(READERS)


def one(data: bytes) -> None:
    kind = KINDS[data[0] % len(KINDS)] if data else ".json"
    path = _FOLDER / f"parameters{kind}"
    path.write_bytes(data[1:])
    try:
        parameter_specs(read_parameters(path).specs)
    except (ToolError, FrontendError):
        return


if __name__ == "__main__":
    fuzzing.run(one, "stepforge.tools", "stepforge.frontend", "tomllib", "zipfile", "numpy.lib")
