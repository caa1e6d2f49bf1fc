"""docs/convert.md is run, and its tables are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import pages
from stepforge.runtime.peers import ADAMW, LIBRARIES, spelled

PAGE = "convert.md"


@pytest.mark.compiler
def test_the_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(pages.fence(PAGE, "State of other libraries", "python"), PAGE, "exec"), names)
    assert (tmp_path / "run.safetensors").exists()
    tensors = names["tensors"]
    assert isinstance(tensors, dict)
    assert tensors["w.step"] == 13


def test_the_names_are_those_of_the_code() -> None:
    table = {row[0]: row[1:] for row in pages.rows(PAGE) if row[0] in LIBRARIES}
    assert set(table) == set(LIBRARIES)
    for name, library in LIBRARIES.items():
        rule = library.rules[ADAMW]
        filled = {"path": "/NAME", "owner": rule.owner}
        parameters, slots, counts = (cell.replace("FLAT", "NAME") for cell in table[name])
        assert f"`{spelled(library.parameter, path='/NAME')}`" == parameters
        for kind in rule.slots.values():
            assert f"`{spelled(library.slot, kind=kind, **filled)}`" in slots
        assert f"`{spelled(library.count, **filled)}`" in counts


def test_what_is_refused_is_what_the_code_refuses() -> None:
    table = {row[0]: row[1:] for row in pages.rows(PAGE) if len(row) == 5}
    rows = {
        "`adam`, `adamw`": ("adam:", "adamw:"),
        "`adamax`": ("adamax:",),
        "`rmsprop`": ("rmsprop:",),
        "`sgd` without `decay`": ("sgd: lr*g",),
        "`sgd`": ("sgd: lr/sqrt",),
    }
    assert set(table) == set(rows)
    for title, cells in table.items():
        for library, cell in zip(LIBRARIES.values(), cells, strict=True):
            refused = {
                bool(rule.refused)
                for formula, rule in library.rules.items()
                if formula.startswith(rows[title])
            }
            assert refused == {cell.startswith("no")}, (title, library.name)
