"""A report as text and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stepforge.runtime.files import write_atomically
from stepforge.tools.bench.result import CaseResult, Report, Row, Spread, Verdict
from stepforge.tools.errors import ToolError
from stepforge.tools.verb import duration, file_size, table

BEGIN, END = "<!-- stepforge bench: begin -->", "<!-- stepforge bench: end -->"
LIMIT = "memory limit"
MARKS = {True: "met", False: "MISSED", None: "not judged"}

Cells = tuple[str, ...]


def as_text(case: CaseResult) -> str:
    """The case's title, its contenders, and its bars."""
    headings, rows = contenders(case)
    lines = [f"{case.name}: {_title(case)}", table(rows, headings) if rows else ""]
    lines += [f"  {row.name}: {row.unavailable}" for row in case.rows if row.unavailable]
    lines += [f"  {MARKS[v.met]}: {_bar(v)}, is {_value(v)}" for v in case.verdicts]
    return "\n".join(filter(None, lines))


def as_markdown(report: Report) -> str:
    """A table of the bars, then one of the contenders for each case."""
    bars = [
        (case.name, _bar(verdict), _value(verdict), MARKS[verdict.met])
        for case in report.cases
        for verdict in case.verdicts
    ]
    parts = [_where(report), _pipes(("case", "bar", "measured", ""), bars)]
    for case in report.cases:
        headings, rows = contenders(case)
        parts.append(f"### {case.name}\n\n{_title(case)}, {case.date}.")
        if rows:
            parts.append(_pipes(headings, rows))
        missing = [f"- {row.name}: {row.unavailable}" for row in case.rows if row.unavailable]
        if missing:
            parts.append("\n".join(missing))
    return "\n\n".join(parts)


def update_page(page: Path, report: Report) -> None:
    """Put the report's Markdown between the page's two marks. Raises ToolError without them."""
    before, after = marked(page)
    text = f"{before}{BEGIN}\n\n{as_markdown(report)}\n\n{END}{after}"
    write_atomically(page, [text.encode()], force=True)


def marked(page: Path) -> tuple[str, str]:
    """What stands before and after the two marks of a page. Raises ToolError without them."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ToolError(
            f"--markdown replaces what stands between two lines of a page: {page} lacks "
            f"{BEGIN!r}, or {END!r} after it; add both where the tables belong"
        )
    return before, after


def contenders(case: CaseResult) -> tuple[Cells, list[Cells]]:
    """Headings, and a row for each contender that ran; a column that no row fills is left out."""
    limit = min((_seconds(r) for r in case.rows if r.name.startswith(LIMIT) and _ran(r)), default=0)
    shown = [row for row in case.rows if _ran(row)]
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("contender", lambda row: row.name),
        ("threads", lambda row: str(row.facts.get("threads") or "")),
        ("median", lambda row: duration(_seconds(row))),
        ("quartiles", lambda row: _quartiles(row.measures["seconds"])),
        ("GB/s", lambda row: _bandwidth(case, row)),
        ("of the limit", lambda row: f"{limit / _seconds(row):.2f}" if limit else ""),
        (f"x {case.reference}", lambda row: "" if row.ratio is None else _ratio(row.ratio)),
        ("dispatches", lambda row: str(row.facts.get("dispatches", ""))),
        ("resident", lambda row: _size(row, "resident")),
        ("artifact", lambda row: _size(row, "artifact_bytes")),
    ]
    filled = [(title, [cell(row) for row in shown]) for title, cell in columns]
    kept = [(title, cells) for title, cells in filled if any(cells)]
    headings = tuple(title for title, _ in kept)
    return headings, [tuple(cells[i] for _, cells in kept) for i in range(len(shown))]


def _ran(row: Row) -> bool:
    return "seconds" in row.measures


def _seconds(row: Row) -> float:
    return row.measures["seconds"].median


def _quartiles(found: Spread) -> str:
    return f"{duration(found.lower)} to {duration(found.upper)}"


def _ratio(found: Spread) -> str:
    return f"{found.median:.2f} ({found.lower:.2f} to {found.upper:.2f})"


def _bandwidth(case: CaseResult, row: Row) -> str:
    if case.bytes_per_parameter is None:
        return ""
    return f"{case.parameters * case.bytes_per_parameter / _seconds(row) / 1e9:.3g}"


def _size(row: Row, measure: str) -> str:
    found = row.number(measure)
    return "" if found is None else file_size(int(found))


def _title(case: CaseResult) -> str:
    each = case.bytes_per_parameter
    moved = "" if each is None else f", at least {each} bytes moved for each"
    return f"{case.title} ({case.parameters:,} parameters{moved})"


WHAT = {
    "seconds": "time",
    "resident": "resident memory",
    "dispatches": "dispatches",
    "artifact_bytes": "artifact",
    "transient_bytes_per_parameter": "bytes allocated in a step for each parameter",
    "state_bytes_per_parameter": "bytes of state for each parameter",
}
UNITS: dict[str, Callable[[float], str]] = {
    "seconds": duration,
    "resident": lambda value: file_size(int(value)),
    "artifact_bytes": lambda value: file_size(int(value)),
}


def _bar(verdict: Verdict) -> str:
    what = WHAT[verdict.measure]
    if verdict.against == LIMIT:
        return f"at least {1 / verdict.most:.2f} of the speed of the memory limit"
    aim = "" if verdict.aim is None else f" (aim {verdict.aim:g})"
    if verdict.against is not None:
        return f"{what} at most {verdict.most:.2f} x {verdict.against}{aim}"
    return f"{what} at most {_number(verdict, verdict.most)}{aim}"


def _value(verdict: Verdict) -> str:
    if verdict.value is None:
        return "missing"
    if verdict.against == LIMIT:
        return f"{1 / verdict.value:.2f}"
    return _number(verdict, verdict.value)


def _number(verdict: Verdict, value: float) -> str:
    if verdict.against is not None:
        return f"{value:.3g}"
    return UNITS.get(verdict.measure, "{:.3g}".format)(value)


def _where(report: Report) -> str:
    facts = report.machine
    memory = int(facts["memory_bytes"]) / 2**30
    peers = {
        name: version
        for case in report.cases
        for row in case.rows
        for name, version in row.facts.get("versions", {}).items()
    }
    named = ", ".join(f"{k} {v}" for k, v in {**report.versions, **peers}.items())
    return (
        f"Measured on {facts['processor']} ({facts['architecture']}), {facts['cores']} cores, "
        f"{memory:.0f} GiB, {facts['system']}, with {named}."
    )


def _pipes(headings: Cells, rows: Sequence[Cells]) -> str:
    rule = tuple("---" for _ in headings)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))
