"""The report of `stepforge bench --case`: ratios, JSON, text, Markdown, and the committed page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stepforge.tools.bench.case import Bar, Case
from stepforge.tools.bench.plot import plot_report
from stepforge.tools.bench.report import as_markdown, as_text, update_page
from stepforge.tools.bench.result import (
    CaseResult,
    Report,
    Row,
    Spread,
    Verdict,
    judge,
    rows_of,
    spread,
)
from stepforge.tools.bench.stored import read_report, write_report
from stepforge.tools.errors import CorruptInputError, ToolError

DOCS = Path(__file__).resolve().parents[2] / "docs"
SAMPLES = {
    "stepforge a": [{"seconds": s} for s in (0.002, 0.001, 0.003)],
    "torch fused": [{"seconds": s} for s in (0.004, 0.004, 0.004)],
    "torch fused, 1 thread": [{"seconds": s} for s in (0.005, 0.005, 0.005)],
    "memory limit": [{"seconds": s} for s in (0.001, 0.001, 0.001)],
}
FACTS = {"stepforge a": {"threads": 2, "dispatches": 1}}
CASE = Case(
    name="made-up",
    title="Made up",
    shapes={"w": (1000, 1000)},
    contenders=(),
    bars=(
        Bar(most=1.0, against="torch fused", aim=0.4),
        Bar(most=1 / 0.9, against="memory limit"),
        Bar(most=1, measure="dispatches"),
        Bar(most=1.0, against="JAX"),
    ),
    traffic={"reads": ("float32",), "updates": ("float32", "bfloat16", "int8")},
)


def report() -> Report:
    names = (*SAMPLES, "optax")
    rows = rows_of(names, FACTS, {"optax": "jax is not installed"}, SAMPLES, CASE.reference)
    case = CaseResult(
        name=CASE.name,
        title=CASE.title,
        parameters=CASE.parameters,
        bytes_per_parameter=CASE.bytes_per_parameter,
        reference=CASE.reference,
        date="2026-01-31",
        rows=rows,
        verdicts=judge(CASE, rows),
    )
    machine = {
        "processor": "Some CPU",
        "architecture": "x86_64",
        "cores": 2,
        "memory_bytes": 2**34,
        "system": "Linux",
    }
    return Report(machine=machine, versions={"python": "3.11.9"}, cases=(case,))


def test_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5.0]) == Spread(5.0, 5.0, 5.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0)


def test_ratios_are_to_the_best_of_the_reference() -> None:
    rows = {row.name: row for row in report().cases[0].rows}
    assert rows["stepforge a"].ratio == Spread(0.5, 0.375, 0.625)
    assert rows["torch fused"].ratio == Spread(1.0, 1.0, 1.0)
    assert rows["optax"].ratio is None


def test_verdicts() -> None:
    assert [(v.value, v.met) for v in report().cases[0].verdicts] == [
        (0.5, True),
        (2.0, False),
        (1, True),
        (None, None),
    ]


def test_a_bar_for_every_contender_is_judged_by_the_worst() -> None:
    case = replace(CASE, bars=(Bar(most=2.0), Bar(most=2.0, every=True)))
    rows = [
        Row(name=f"stepforge {s}", measures={"seconds": spread([s])}, facts={}) for s in (1.0, 3.0)
    ]
    best, every = judge(case, rows)
    assert (best.value, best.met) == (1.0, True)
    assert (every.value, every.met) == (3.0, False)


def test_text() -> None:
    assert as_text(report().cases[0]).splitlines() == [
        "made-up: Made up (1,000,000 parameters, at least 18 bytes moved for each)",
        "contender              threads  median  quartiles         GB/s  of the limit"
        "  x torch fused        dispatches",
        "stepforge a            2        2 ms    1.5 ms to 2.5 ms  9     0.50        "
        "  0.50 (0.38 to 0.62)  1",
        "torch fused                     4 ms    4 ms to 4 ms      4.5   0.25        "
        "  1.00 (1.00 to 1.00)",
        "torch fused, 1 thread           5 ms    5 ms to 5 ms      3.6   0.20        "
        "  1.25 (1.25 to 1.25)",
        "memory limit                    1 ms    1 ms to 1 ms      18    1.00        "
        "  0.25 (0.25 to 0.25)",
        "  optax: jax is not installed",
        "  met: time at most 1.00 x torch fused (aim 0.4), is 0.5",
        "  MISSED: at least 0.90 of the speed of the memory limit, is 0.50",
        "  met: dispatches at most 1, is 1",
        "  not judged: time at most 1.00 x JAX, is missing",
    ]


def test_markdown() -> None:
    lines = as_markdown(report()).splitlines()
    assert lines[0] == (
        "Measured on Some CPU (x86_64), 2 cores, 16 GiB, Linux, with python 3.11.9."
    )
    assert "| made-up | dispatches at most 1 | 1 | met |" in lines
    assert "| stepforge a | 2 | 2 ms | 1.5 ms to 2.5 ms | 9 | 0.50 | 0.50 (0.38 to 0.62) | 1 |" in (
        lines
    )
    assert "- optax: jax is not installed" in lines


def test_json_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_report(path, report())
    assert read_report(path) == report()
    found = json.loads(path.read_text())
    assert found.keys() == {"format", "machine", "versions", "cases"}
    assert found["cases"][0].keys() == {
        "name",
        "title",
        "parameters",
        "bytes_per_parameter",
        "reference",
        "date",
        "rows",
        "verdicts",
    }


def test_other_cases_of_the_file_stay(tmp_path: Path) -> None:
    path, first = tmp_path / "r.json", report()
    write_report(path, first)
    renamed = replace(first.cases[0], name="other")
    write_report(path, replace(first, cases=(renamed,)))
    again = replace(first.cases[0], date="2026-02-01")
    write_report(path, replace(first, cases=(again,)))
    assert read_report(path).cases == (again, renamed)


def test_those_of_another_machine_do_not(tmp_path: Path) -> None:
    path, first = tmp_path / "r.json", report()
    write_report(path, first)
    elsewhere = replace(first, machine={**first.machine, "cores": 3}, cases=())
    write_report(path, elsewhere)
    assert read_report(path) == elsewhere


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "machine": 3}'])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(CorruptInputError, match=r"r\.json"):
        read_report(path)


def test_a_page_is_updated_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = "<!-- stepforge bench: begin -->", "<!-- stepforge bench: end -->"
    page.write_text(f"# A\n\n{begin}\nold\n{end}\n\nafter\n")
    update_page(page, report())
    update_page(page, report())
    assert page.read_text() == f"# A\n\n{begin}\n\n{as_markdown(report())}\n\n{end}\n\nafter\n"
    page.write_text(f"{end}\n{begin}\n")
    with pytest.raises(ToolError, match="replaces what stands between two lines"):
        update_page(page, report())


def test_the_committed_page_shows_the_committed_report() -> None:
    found = read_report(DOCS / "benchmarks.json")
    assert as_markdown(found) in (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def test_the_same_report_gives_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        plot_report(path, report())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_empty_report_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="nothing was measured"):
        plot_report(tmp_path / "a.png", replace(report(), cases=()))


def test_a_verdict_without_reference_is_not_judged() -> None:
    assert report().cases[0].verdicts[3] == Verdict(
        measure="seconds", against="JAX", most=1.0, aim=None, value=None, met=None
    )
