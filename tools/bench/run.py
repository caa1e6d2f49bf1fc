"""What `stepforge bench --case` does: choosing cases, measuring them, and showing the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import click

from stepforge.runtime.names import nearest
from stepforge.tools.bench.case import Case, Family
from stepforge.tools.bench.cases import CASES
from stepforge.tools.bench.host import machine, versions
from stepforge.tools.bench.measure import Settings, measure_case
from stepforge.tools.bench.plot import check_plot, plot_report
from stepforge.tools.bench.report import as_text, marked, update_page
from stepforge.tools.bench.result import CaseResult, Report
from stepforge.tools.bench.stored import read_report, write_report
from stepforge.tools.errors import ToolError
from stepforge.tools.verb import end_progress, print_json, progress, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the report goes, beside the terminal."""

    json: bool
    output: Path | None
    plot: Path | None
    markdown: Path | None


def list_cases() -> str:
    return table([(case.name, case.title) for case in CASES.values()], ("case", "what"))


def chosen(names: Sequence[str]) -> tuple[Case, ...]:
    """The cases of these names, in the table's order. Raises ToolError for an unknown one."""
    for name in names:
        if name != "all" and name not in CASES:
            raise ToolError(
                f"--case {name!r} is none of the built-in cases{nearest(name, CASES)}; "
                "stepforge bench --list shows them"
            )
    return tuple(case for case in CASES.values() if "all" in names or case.name in names)


def parse_pythons(assignments: Sequence[str]) -> dict[str, str]:
    """`FAMILY=PATH` pairs. Raises ToolError for an unknown family."""
    found: dict[str, str] = {}
    for text in assignments:
        family, equals, path = text.partition("=")
        if not equals or family not in get_args(Family):
            raise ToolError(
                f"--python takes FAMILY=PATH, where FAMILY is one of "
                f"{', '.join(get_args(Family))}; got {text!r}"
            )
        found[family] = path
    return found


def measure_all(cases: Sequence[Case], settings: Settings, outputs: Outputs) -> None:
    """Measure, and show each case as soon as it is done. What was measured is kept on the way."""
    _check(outputs)
    here = Report(machine=machine(), versions=versions(), cases=())
    measured = list[CaseResult]()
    for result in _measured(cases, settings):
        measured.append(result)
        if not outputs.json:
            click.echo(f"{as_text(result)}\n")
        if outputs.output is not None:
            write_report(outputs.output, replace(here, cases=(result,)))
    report = replace(here, cases=tuple(measured))
    if outputs.json:
        print_json(report)
    _write(outputs, report)


def show(path: Path, outputs: Outputs) -> None:
    """A report that was measured before."""
    report = read_report(path)
    if outputs.json:
        print_json(report)
    else:
        click.echo("\n\n".join(map(as_text, report.cases)))
    _write(outputs, report)


def _check(outputs: Outputs) -> None:
    """Refuse what could not be written before minutes are spent. Raises ToolError, OSError."""
    if outputs.plot is not None:
        check_plot(outputs.plot)
    if outputs.markdown is not None:
        marked(outputs.markdown)
    if outputs.output is not None and outputs.output.exists():
        read_report(outputs.output)


def _measured(cases: Sequence[Case], settings: Settings) -> Iterator[CaseResult]:
    for case in cases:
        result = measure_case(case, settings, progress)
        end_progress()
        yield result


def _write(outputs: Outputs, report: Report) -> None:
    """The picture and the page show all that `--output` holds."""
    whole = report if outputs.output is None else read_report(outputs.output)
    if outputs.plot is not None:
        plot_report(outputs.plot, whole)
    if outputs.markdown is not None:
        update_page(outputs.markdown, whole)
