"""expand-math: its table, row by row, and what its functions give at the ends.

Their errors everywhere else are measured in tests/frontend/emit/test_emit_accuracy.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from stepforge.passes import bindings, compile_module, pass_base
from stepforge.passes.expand_math import EXPANDED, EXPANSIONS, ExpandMath
from stepforge.passes.fuse_step_math import FuseStepMath
from stepforge.passes.targets.target import Backend
from stepforge.runtime.executor import Module
from support.accuracy import promised

pytestmark = pytest.mark.compiler

BACKENDS: tuple[Backend, ...] = get_args(Backend)
BAR = 8

INF, NAN, TINY = math.inf, math.nan, 2.0**-126
#: Pairs of an argument and the exact value.
ENDS: Mapping[str, Sequence[tuple[float, float]]] = {
    "exp": [(0, 1), (-0.0, 1), (TINY, 1), (-200, 0), (-INF, 0), (89, INF), (1e30, INF), (INF, INF)],
    "expm1": [(-INF, -1), (-1e30, -1), (-20, -1), (TINY, TINY), (89, INF), (INF, INF)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (-1, NAN), (-INF, NAN), (INF, INF)],
    "log1p": [(-1, -INF), (-1.5, NAN), (-INF, NAN), (TINY, TINY), (INF, INF)],
    "sin": [(-TINY, -TINY), (INF, NAN), (-INF, NAN)],
    "cos": [(0, 1), (-0.0, 1), (TINY, 1), (INF, NAN), (-INF, NAN)],
    "tanh": [(-TINY, -TINY), (30, 1), (-30, -1), (INF, 1), (-INF, -1)],
    "erf": [(30, 1), (-30, -1), (INF, 1), (-INF, -1)],
    "powf": [(0, 1), (TINY, 1), (1, 1), (100, INF), (INF, INF)],  # x to the power of x
}
#: Zero to zero, of the same sign.
ODD = ("expm1", "log1p", "sin", "tanh", "erf")
COUNT = 16


def loop(name: str) -> str:
    type_ = f"tensor<{COUNT}xf32>"
    function = name.removeprefix("math.")
    operands = "%x, %x" if function == "powf" else "%x"
    return (
        f"func.func @{function}(%x: {type_}) -> {type_} {{\n"
        f"  %y = {name} {operands} : {type_}\n  return %y : {type_}\n}}\n"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_table_names_is_expanded_and_nothing_else(backend: Backend) -> None:
    module = bindings.parse("".join(map(loop, EXPANSIONS)))
    pass_base.apply(FuseStepMath(), module)
    pass_base.apply(ExpandMath(backend=backend), module)
    left = [name for name in EXPANSIONS if f"{name} %" in str(module)]
    assert left == [name for name in EXPANSIONS if name not in EXPANDED[backend]]


def test_without_a_backend_nothing_is_expanded() -> None:
    module = bindings.parse("".join(map(loop, EXPANSIONS)))
    pass_base.apply(FuseStepMath(), module)
    before = str(module)
    pass_base.apply(ExpandMath(), module)
    assert str(module) == before


def test_every_function_is_within_the_bar_wherever_it_was_measured() -> None:
    bounds = promised()
    for name in EXPANSIONS:
        op = name.removeprefix("math.").replace("powf", "pow")
        assert all(error <= BAR for error in bounds[op].values()), op


@pytest.mark.parametrize(
    ("target", "device"),
    [
        ("cpu", "local-sync"),
        ("vmvx", "local-sync"),
        pytest.param("vulkan", "vulkan", marks=pytest.mark.vulkan),
    ],
)
def test_the_ends(target: Backend, device: str, tmp_path: Path) -> None:
    text = "".join(map(loop, EXPANSIONS))
    module = Module(compile_module(text, target, dump_ir=tmp_path).vmfb, device)
    (dumped,) = tmp_path.glob("*-expand-math.mlir")
    assert not [name for name in EXPANDED[target] if f"{name} %" in dumped.read_text()]
    for function, pairs in ENDS.items():
        zeros = [(0.0, 0.0), (-0.0, -0.0)] if function in ODD else []
        arguments, values = np.array([*pairs, *zeros, (NAN, NAN)], np.float32).T
        given = np.ones(COUNT, np.float32)
        given[: len(arguments)] = arguments
        got = module.call(function, [given])[0][: len(arguments)]
        np.testing.assert_array_equal(got, values, function)
        is_zero = (values == 0) & (f"math.{function}" in EXPANDED[target])
        assert (np.signbit(got) == np.signbit(values))[is_zero].all(), function
