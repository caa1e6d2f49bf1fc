"""Gradients, and gradients of gradients, against differences in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend.evaluate import evaluate, reachable
from stepforge.frontend.gradient import (
    GRADIENTS,
    NotDifferentiable,
    elementwise,
    reductions,
    shaping,
)
from stepforge.frontend.graph import Node
from stepforge.frontend.ops import OPS
from stepforge.frontend.verify import verify
from support.gradient_cases import COMPILED_CASES, GRADIENT_CASES, GradientCase, differences

Array = NDArray[Any]

HERE = {**elementwise.RULES, **shaping.RULES, **reductions.RULES}
"""Contractions, convolutions and indexing have cases in files of their own."""


def test_every_op_has_a_row_or_a_reason() -> None:
    assert GRADIENTS.keys() == OPS.keys()
    reasons = [row.reason for row in GRADIENTS.values() if isinstance(row, NotDifferentiable)]
    assert all(reasons)


def test_every_rule_has_a_case() -> None:
    tested = {node.op for case in COMPILED_CASES for node in reachable([case.graphs().output])}
    rules = {name for name, row in HERE.items() if not isinstance(row, NotDifferentiable)}
    assert rules <= tested


def assert_close(output: Node, slopes: Sequence[Node], values: Mapping[str, Array]) -> None:
    """To 1e-6 of each derivative, or of the largest one where they are tiny beside it."""
    expected = differences(output, values)
    for name, got in zip(expected, evaluate(slopes, values, "float64"), strict=True):
        scale = max(1e-2, float(np.max(np.abs(expected[name]), initial=0)))
        np.testing.assert_allclose(got, expected[name], rtol=1e-6, atol=1e-8 * scale, err_msg=name)


@pytest.mark.parametrize("case", GRADIENT_CASES, ids=str)
def test_first_derivatives(case: GradientCase) -> None:
    graphs = case.graphs()
    verify(graphs.output.graph)
    assert [x.type for x in graphs.first] == [x.type for x in graphs.inputs]
    assert_close(graphs.output, graphs.first, case.values())


@pytest.mark.parametrize("case", GRADIENT_CASES, ids=str)
def test_second_derivatives(case: GradientCase) -> None:
    graphs = case.graphs()
    assert_close(graphs.again, graphs.second, case.values())
