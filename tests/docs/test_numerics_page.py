"""docs/numerics.md: its bars are those that tests hold, its tests exist, its figures are inside."""

from __future__ import annotations

import re

import pytest

from docs import pages
from parity.cases import PLACES, ROWS
from parity.figures import TITLES, bar

PAGE = "numerics.md"
ROOT = pages.DOCS.parent
DEFAULTS = {row.optimizer: row for row in ROWS if row.setting.name == "default"}
FIGURES = [row for row in pages.rows(PAGE) if len(row) == 6]


def test_every_optimizer_and_quantity_has_a_row() -> None:
    slots = {"m": "first moment", "v": "second moment"}
    expected = {
        (f"`{name}`", title)
        for name, row in DEFAULTS.items()
        for title in (*(slots[s] for s in row.oracle.slots), "update")
    }
    assert {row[:2] for row in FIGURES} == expected


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_figures_stand_beside_their_bars(row: tuple[str, ...]) -> None:
    optimizer = DEFAULTS[row[0].strip("`")]
    (quantity,) = [key for key, title in TITLES.items() if title == row[1]]
    for place, cell in zip(PLACES, row[2:], strict=True):
        measured, allowed = map(float, cell.split(" of "))
        assert allowed == bar(optimizer, quantity, place)
        assert 0 < measured <= allowed


def test_the_tests_that_it_names_exist() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)`", pages.read(PAGE))
    assert len(named) > 8
    assert [path for path in named if not (ROOT / path).is_file()] == []
