"""The other side of `isolated`: `python -m stepforge.passes.isolated_worker FOLDER`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stepforge.passes.build import build_all
from stepforge.passes.errors import CompileError, PassError
from stepforge.passes.isolated import ANSWER, MODULE, REQUEST
from stepforge.passes.targets import parse_target


def _answer(folder: Path) -> dict[str, Any]:
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    text = (folder / MODULE).read_text(encoding="utf-8")
    dump = None if request["dump_ir"] is None else Path(request["dump_ir"])
    try:
        target = parse_target(request["target"])
        how = request["layout"], request["update"]
        made = build_all(text, target, request["builds"], dump, *how)
    except PassError as error:
        row: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
        if isinstance(error, CompileError):
            row |= {"diagnostics": [asdict(d) for d in error.diagnostics], "log": error.log}
        return {"error": row}
    rows = list[dict[str, Any]]()
    for index, compiled in enumerate(made):
        (folder / f"{index}.vmfb").write_bytes(compiled.vmfb)
        rows.append(
            {
                "statistics": asdict(compiled.statistics),
                "info": compiled.info,
                "warnings": [asdict(warning) for warning in compiled.warnings],
                "arenas": [asdict(arena) for arena in compiled.arenas],
            }
        )
    return {"builds": rows}


def main(folder: Path) -> None:
    answer = json.dumps(_answer(folder))
    (folder / ANSWER).write_text(answer, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
