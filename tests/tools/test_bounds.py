"""The error bounds behind `verify`: they hold for every op, and they are tight."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend import Graph, evaluate, ops
from stepforge.frontend.dtypes import bfloat16, convert, float32
from stepforge.frontend.ops import OPS
from stepforge.tools.bounds import HOST, Accuracy, evaluate_bounded
from stepforge.tools.error_rules import PROPAGATION
from support.op_case import OpCase
from support.op_cases import OP_CASES

FLOAT_CASES = [case for case in OP_CASES if float32 in case.dtypes]


def test_every_op_has_a_rule() -> None:
    sources = {"input", "constant", "unfolded_constant", "iota"}
    assert PROPAGATION.keys() | sources | {"cast"} == OPS.keys()


@pytest.mark.parametrize("case", FLOAT_CASES, ids=str)
@pytest.mark.parametrize("exact_inputs", [True, False], ids=["exact", "rounded"])
def test_float32_stays_within_the_bound(case: OpCase, exact_inputs: bool) -> None:
    """Exact operands test an op's own rounding; rounded ones what it makes of their errors."""
    graph, node = case.graph(float32)
    rng = np.random.default_rng(7)
    wide = {}
    for index, domain in enumerate(case.domains):
        values = domain.draw(rng, domain.dtype or float32, special=False)
        if values.dtype == np.float32 and not exact_inputs:
            values = values * (1 + rng.uniform(-(2.0**-25), 2.0**-25, values.shape))
        wide[f"x{index}"] = values
    narrow = {name: convert(x, graph.inputs[name].dtype) for name, x in wide.items()}
    (got,) = evaluate([node], narrow)
    (bounded,) = evaluate_bounded([node], wide, Accuracy())
    off = np.abs(np.float64(got) - np.float64(bounded.value))
    same = (got == bounded.value) | (np.isnan(got) & np.isnan(bounded.value))
    assert np.all(same | (off <= bounded.error))


def test_whole_numbers_have_no_error() -> None:
    graph = Graph()
    n = graph.input("n", "int64", ())
    (bounded,) = evaluate_bounded([ops.rem(n + 1, n * 0 + 3)], {"n": np.asarray(7)}, Accuracy())
    assert (bounded.value, bounded.error) == (2, 0)


def test_cancellation_is_allowed_for() -> None:
    """1 + x - 1 is exact to float32's roundoff of 1, not of x."""
    graph = Graph()
    x = graph.input("x", "float32", (2,))
    values = np.array([1e-6, 0.5], np.float32)
    (bounded,) = evaluate_bounded([x + 1.0 - 1.0], {"x": values}, Accuracy())
    assert bounded.error[0] / bounded.value[0] > 1e-2
    assert bounded.error[1] / bounded.value[1] < 1e-6


def test_a_choice_that_hangs_on_rounding_is_in_doubt() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (3,))
    limit = graph.input("limit", "float32", (3,))
    node = ops.where(ops.less(x * x, limit), x, -x)
    values = {"x": np.array([0.1, 0.1, 0.1]), "limit": np.array([0.01, 0.02, 0.0])}
    (bounded,) = evaluate_bounded([node], values, Accuracy())
    assert bounded.error[0] > 0.19
    assert np.all(bounded.error[1:] < 1e-7)


def test_halves_are_rounded_more() -> None:
    graph = Graph()
    x = graph.input("x", "float32", ())
    (bounded,) = evaluate_bounded(
        [ops.cast(x, bfloat16)], {"x": np.asarray(np.float32(0.1))}, Accuracy()
    )
    assert 2.0**-9 * 0.1 < bounded.error < 2.0**-7 * 0.1


def test_a_number_that_float32_cannot_hold_is_off_by_its_rounding() -> None:
    graph = Graph()
    rate = graph.input("rate", "float32", ())
    (bounded,) = evaluate_bounded([rate], {"rate": np.asarray(0.1)}, Accuracy())
    assert bounded.value == 0.1
    assert bounded.error == abs(np.float64(np.float32(0.1)) - 0.1)


def test_host_scalars_have_the_accuracy_of_the_host() -> None:
    graph = Graph()
    x = graph.input("x", "float32", ())
    node = ops.exp(x)
    values = {"x": np.asarray(np.float32(1.0))}
    (device,) = evaluate_bounded([node], values, Accuracy(functions=512.0))
    (host,) = evaluate_bounded([node], values, Accuracy(functions=512.0), host_inputs=[x])
    assert host.error < device.error / 50
    assert host.error >= HOST.functions * 2.0**-24 * np.e
