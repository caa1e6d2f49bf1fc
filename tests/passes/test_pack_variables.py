"""Packed modules compute, in each variable's part of an arena, the bits of the variables alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge.passes import arenas, bindings, pass_base
from stepforge.passes.arguments import NAME
from stepforge.passes.bindings import func
from stepforge.runtime import manifest as to
from stepforge.runtime.arenas import members
from support.lowered import EXACT_TARGET, random_arguments, run_text
from support.pass_cases import Case, all_cases

pytestmark = pytest.mark.compiler

PACKED = ("two_variables", "two_groups", "shared_scalar", "functions_agree")
CASES = [case for case in all_cases() if case.path.stem in PACKED]


def keys(function: func.FuncOp) -> list[tuple[str, str]]:
    attributes = bindings.argument_attributes(function)
    return [(arenas.kind_of(a), bindings.text(a[NAME]) or "") for a in attributes]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parts_of_arenas_are_the_variables(case: Case) -> None:
    module = bindings.parse(case.text)
    before = bindings.functions(module)
    old = {f.name.value: keys(f) for f in before}
    shapes = {
        key: tuple(argument.type.shape)
        for function in before
        for key, argument in zip(keys(function), function.arguments, strict=True)
        if key[1] != "/rate"
    }
    pass_base.apply(case.step, module)
    packed = {(a.kind, a.name): a for a in arenas.of_module(module)}
    assert packed
    for function in bindings.functions(module):
        name = function.name.value
        given = random_arguments(case.text)[name]
        values = dict(zip(old[name], given, strict=True))
        new = [
            _arena(packed[key], shapes, values) if key in packed else values[key]
            for key in keys(function)
        ]
        expected = run_text(case.text, name, given, EXACT_TARGET)
        found = run_text(str(module), name, new, EXACT_TARGET)
        states = [key for key in old[name] if key[0] == "state" and shapes.get(key)]
        parts = dict[tuple[str, str], Any]()
        for key, flat in zip([k for k in keys(function) if k[0] == "state"], found, strict=False):
            for variable, start in _members(packed[key], shapes):
                size = int(np.prod(variable.shape))
                parts["state", variable.name] = flat[start : start + size].reshape(variable.shape)
        assert states
        for key, value in zip(states, expected, strict=True):
            np.testing.assert_array_equal(parts[key], value)


def _members(arena: arenas.Arena, shapes: Any) -> list[tuple[to.Variable, int]]:
    table = {
        name: to.Variable(name, "parameter", "float32", shapes[arena.kind, name])
        for name in arena.members
    }
    held = to.Arena(arena.name, arena.kind, "float32", arena.size, arena.align, arena.members)
    return list(members(held, table))


def _arena(arena: arenas.Arena, shapes: Any, values: Any) -> np.ndarray:
    flat = np.zeros(arena.size, np.float32)
    for variable, start in _members(arena, shapes):
        value = values[arena.kind, variable.name]
        flat[start : start + value.size] = value.reshape(-1)
    return flat


@pytest.mark.parametrize(
    ("sizes", "align", "expected"),
    [
        ([1], 16, 16),
        ([16, 17], 16, 48),
        ([7, 30], 64, 128),
        ([65_536], 16, 65_536),
        ([65_537], 16, 69_632),
        ([40_000, 40_000], 32, 81_920),
    ],
)
def test_lengths_are_whole_lines_and_of_long_ones_whole_tiles(
    sizes: list[int], align: int, expected: int
) -> None:
    assert arenas.length(sizes, align) == expected
