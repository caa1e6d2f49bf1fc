"""Programs as JSON: the same program comes back, and nothing else does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stepforge.frontend.errors import EvaluateError, SerializeError
from stepforge.frontend.optimizers import Adam, AdamW, RMSProp
from stepforge.frontend.program import EntryPoint, Program
from stepforge.frontend.program_json import program_from_json, program_to_json
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from support.programs import context, draw, program

SETTABLE = {"clip_step_by_value": Settable(0.1), "adam_beta1": Settable(0.5), "nanlogger": True}
PROGRAMS = {
    "plain": program(AdamW()),
    "table": program(AdamW(), {**SETTABLE, "adam_dtype": "float64"}),
    "two": trace(
        {"a": Adam(), "b": RMSProp(scope="Second")},
        context({"cosine_schedule_cycles": 3, "clip_nan": True}),
    ),
}


def shown(entry: EntryPoint) -> list[Any]:
    """Everything of an entry point, with nodes as their ids."""
    arguments = [
        (x.name, x.role, x.node.id, x.storage, x.derive, x.result) for x in entry.arguments
    ]
    results = [(x.name, x.role, x.node.id) for x in entry.results]
    table = [node.id for node in entry.table]
    return [entry.name, arguments, results, entry.scalars, entry.scalar_program, table]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_survives(name: str) -> None:
    before = PROGRAMS[name]
    text = program_to_json(before)
    after = program_from_json(text)
    assert program_to_json(after) == text
    assert [shown(e) for e in after.entry_points] == [shown(e) for e in before.entry_points]
    assert (after.variables, after.groups) == (before.variables, before.groups)
    assert after.hyperparameters == before.hyperparameters
    assert (after.formula, after.nan_tracing) == (before.formula, before.nan_tracing)


def test_what_comes_back_steps_the_same() -> None:
    before = PROGRAMS["plain"]
    after = program_from_json(program_to_json(before, locations=True))
    results: list[np.ndarray] = []
    for one in (before, after):
        reference = ReferenceStep(one)
        reference.initialize(draw(1, dtype="float32"))
        reference.step(draw(2, dtype="float32"))
        results.append(reference.variables["/b"])
    np.testing.assert_array_equal(results[0], results[1])


def test_equal_programs_give_equal_text() -> None:
    assert program_to_json(program(AdamW())) == program_to_json(program(AdamW()))


def test_locations_are_left_out_unless_asked_for() -> None:
    before: Program = PROGRAMS["plain"]
    assert "programs.py" not in program_to_json(before)
    assert "programs.py:" in program_to_json(before, locations=True)


ARGUMENTS: list[tuple[str, Any]] = [
    ("node", [[10**6, 0, 1]]),
    ("node", [[-1, 0, 1]]),
    ("node", [[0, 0, 10**12]]),
    ("name", [["", "", 0, 0, 10**12]]),
    ("name", [["x" * 2000, "", 0, 0, 1]]),
    ("name", [["", "", 10**6, 0, 1]]),
    ("name", [[None, 1]]),
    ("role", [["parameter", 10**12]]),
    ("role", [["parameter", 0]]),
    ("result", [[0, 1]]),
]
"""Columns that stand for too much, or for what is not there."""
RESULTS = ARGUMENTS[:-1]


def damaged() -> list[str]:
    text = program_to_json(PROGRAMS["table"])
    whole = json.loads(text)
    texts = ["", "[]", "3", "null", "{}", text[:-1], text + "x", "[" * 100_000]
    for key in whole:
        texts.append(json.dumps({k: v for k, v in whole.items() if k != key}))
        texts.append(json.dumps({**whole, key: 7}))
        texts.append(json.dumps({**whole, key: [7]}))
    entry = whole["entry_points"][0]
    for key in entry:
        for wrong in (7, None, [7], {"a": 1}):
            texts.append(json.dumps({**whole, "entry_points": [{**entry, key: wrong}]}))
    for key, columns in (("arguments", ARGUMENTS), ("results", RESULTS)):
        for name, wrong in columns:
            column = {**entry[key], name: wrong}
            texts.append(json.dumps({**whole, "entry_points": [{**entry, key: column}]}))
    for name in whole["variables"]:
        for wrong in (7, [7], [[7, 10**12]], [[None, 10**12]], [["", "", 0, 0, 10**12]]):
            texts.append(json.dumps({**whole, "variables": {**whole["variables"], name: wrong}}))
    return texts


@pytest.mark.parametrize("text", damaged())
def test_any_other_text_is_refused(text: str) -> None:
    try:
        back = program_from_json(text)
    except SerializeError:
        return
    # What is read in spite of the damage must be a program that can be written.
    assert program_to_json(back)


def test_a_reference_step_says_what_it_needs() -> None:
    reference = ReferenceStep(PROGRAMS["plain"])
    with pytest.raises(EvaluateError, match="no such variables"):
        reference.initialize({"nothing": np.zeros(3)})
    reference.initialize(draw(1))
    with pytest.raises(EvaluateError, match="no gradient for '/b'"):
        reference.step({"encoder/w": draw(1)["encoder/w"]})
