"""Reports as files of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stepforge.runtime.files import write_atomically
from stepforge.tools.bench.cases import CASES
from stepforge.tools.bench.result import CaseResult, Report, Row, Spread, Verdict
from stepforge.tools.errors import CorruptInputError
from stepforge.tools.verb import json_text

FORMAT = 1


def write_report(path: Path, report: Report) -> None:
    """Cases that the file holds already and `report` does not stay, if the machine is the same.

    They stand in the order of the built-in table.
    """
    write_atomically(path, [f"{json_text(_joined(path, report))}\n".encode()], force=True)


def read_report(path: Path) -> Report:
    """What `write_report` wrote. Raises CorruptInputError for anything else, and OSError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise CorruptInputError(
                f"{path} has format {found['format']!r}; this version reads {FORMAT}"
            )
        return Report(
            machine=dict(found["machine"]),
            versions=dict(found["versions"]),
            cases=_all(found["cases"], _case),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptInputError(f"{path} is no report of stepforge bench: {error!r}") from error


def _joined(path: Path, report: Report) -> Report:
    if not path.exists():
        return report
    before = read_report(path)
    if before.machine != report.machine:
        return report
    found = {case.name: case for case in (*before.cases, *report.cases)}
    order = [*(name for name in CASES if name in found), *(n for n in found if n not in CASES)]
    return replace(report, cases=tuple(found[name] for name in order))


def _case(found: Mapping[str, Any]) -> CaseResult:
    plain = {**found}
    rows, verdicts = plain.pop("rows"), plain.pop("verdicts")
    return CaseResult(**plain, rows=_all(rows, _row), verdicts=_all(verdicts, _verdict))


def _row(found: Mapping[str, Any]) -> Row:
    ratio = found["ratio"]
    return Row(
        name=found["name"],
        unavailable=found["unavailable"],
        measures={key: Spread(**value) for key, value in found["measures"].items()},
        facts=found["facts"],
        ratio=None if ratio is None else Spread(**ratio),
    )


def _verdict(found: Mapping[str, Any]) -> Verdict:
    return Verdict(**found)


def _all(found: Sequence[Any], read: Callable[[Mapping[str, Any]], Any]) -> tuple[Any, ...]:
    return tuple(map(read, found))
