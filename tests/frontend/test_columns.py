"""Columns: what is written is read again, canonically, and within the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepforge.frontend.columns import (
    Budget,
    names_to_data,
    progressions,
    read_names,
    read_progressions,
    read_repeats,
    repeats,
    table_of,
)
from stepforge.frontend.errors import SerializeError

LAYERS = [f"/layer{i}/w" for i in range(100)]
SLOTS = [f"/Adam{name}_m" for name in LAYERS]


@given(st.lists(st.integers(-3, 3)))
def test_integers_survive(values: list[int]) -> None:
    data: Any = progressions(values)
    assert read_progressions(data, Budget()) == values
    assert sum(count for _, _, count in data) == len(values)


def test_progressions_are_short() -> None:
    assert progressions([*range(7, 70), -1, -1]) == [[7, 1, 63], [-1, 0, 2]]


def test_equal_values_of_other_types_stay_apart() -> None:
    values = [1, 1, 1.0, True, None, "a", "a"]
    data: Any = repeats(values)
    assert [count for _, count in data] == [2, 1, 1, 1, 2]
    assert [repr(x) for x in read_repeats(data, lambda x: x, Budget())] == list(map(repr, values))


def test_slots_are_made_of_their_parameters() -> None:
    names: list[str | None] = [*LAYERS, *SLOTS]
    owners = [None] * 100 + LAYERS
    data = names_to_data(names, table_of([*LAYERS, *SLOTS]), owners, within=True)
    assert data[100:] == [["/Adam", "_m", 0, 1, 100]]
    assert read_names(data, None, Budget()) == names


@given(st.lists(st.none() | st.text("ab/", max_size=3), max_size=12), st.booleans(), st.data())
def test_names_survive(names: list[str | None], within: bool, data: st.DataObject) -> None:
    table = [x for x in names if x is not None]
    names = list[str | None](table) if within else names
    owners = [data.draw(st.none() | st.sampled_from(table)) for _ in names] if table else names
    text = names_to_data(names, table_of(table), owners, within=within)
    assert read_names(text, None if within else table, Budget()) == names


@pytest.mark.parametrize(
    "entry", [["", "", 0, 1, 10**9], [None, 10**9], ["", "", 0, 1, 0], ["", "", -1, 0, 1], [1], 7]
)
def test_wrong_names(entry: Any) -> None:
    with pytest.raises(SerializeError):
        read_names([entry], LAYERS, Budget())


def test_names_do_not_grow_without_end() -> None:
    data: list[Any] = ["x" * 600, ["x" * 500, "", 0, 0, 1]]
    with pytest.raises(SerializeError, match="at most 1024 characters"):
        read_names(data, None, Budget())


def test_a_budget_is_one_for_all_columns() -> None:
    budget = Budget(10)
    read_progressions([[0, 0, 6]], budget)
    with pytest.raises(SerializeError, match="stands for too much"):
        read_repeats([["a", 5]], str, budget)
