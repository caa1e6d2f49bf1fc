"""A picture of a report: for each case a bar for each contender, beside the reference's."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any

from stepforge.runtime.files import write_atomically
from stepforge.tools.bench.result import CaseResult, Report
from stepforge.tools.errors import ToolError

WIDTH, ROW, MARGIN = 8.0, 0.22, 0.7
COLOURS = {"stepforge": "tab:orange", "memory limit": "tab:gray"}


def plot_report(path: Path, report: Report) -> None:
    """Write a `.png` or `.svg`. Raises ToolError as `check_plot`, and for an empty report."""
    check_plot(path)
    kind = path.suffix
    drawn = [case for case in report.cases if any(row.measures for row in case.rows)]
    if not drawn:
        raise ToolError("--plot: nothing was measured")
    heights = [MARGIN + ROW * sum(bool(row.measures) for row in case.rows) for case in drawn]
    figure = _matplotlib("figure").Figure((WIDTH, sum(heights)), layout="constrained")
    columns = figure.subplots(len(drawn), squeeze=False, height_ratios=heights)
    for axes, case in zip(columns[:, 0], drawn, strict=True):
        _draw(axes, case)
    stream = io.BytesIO()
    # Without the date, the same numbers give the same picture; text that stays text is small.
    metadata = {"Date": None} if kind == ".svg" else {}
    with _matplotlib("").rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none"}):
        figure.savefig(stream, format=kind[1:], dpi=120, metadata=metadata)
    write_atomically(path, [stream.getvalue()], force=True)


def check_plot(path: Path) -> None:
    """Raises ToolError for a path that is no picture's, or without matplotlib."""
    if path.suffix not in (".png", ".svg"):
        raise ToolError(f"--plot: expected a path that ends in .png or .svg, got {path}")
    _matplotlib("figure")


def _draw(axes: Any, case: CaseResult) -> None:
    """Milliseconds, with the quartiles as a line; what stepforge is has a colour of its own."""
    rows = [row for row in case.rows if row.measures]
    found = [row.measures["seconds"] for row in rows]
    colours = [
        next((c for name, c in COLOURS.items() if row.name.startswith(name)), "tab:blue")
        for row in rows
    ]
    spread = [
        [1e3 * (s.median - s.lower) for s in found],
        [1e3 * (s.upper - s.median) for s in found],
    ]
    names = [row.name for row in rows]
    axes.barh(names, [1e3 * s.median for s in found], xerr=spread, color=colours)
    axes.invert_yaxis()
    axes.set_title(case.title, fontsize="medium", loc="left")
    axes.set_xlabel("ms")
    axes.grid(axis="x", alpha=0.3)


def _matplotlib(module: str) -> Any:
    try:
        return import_module(f"matplotlib.{module}".rstrip("."))
    except ImportError as error:
        raise ToolError(
            "--plot needs matplotlib, which is not installed: pip install 'stepforge[plot]'"
        ) from error
