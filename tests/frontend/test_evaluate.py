"""The interpreter: inputs, precision, IEEE results without warnings, and what it refuses."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import ops
from stepforge.frontend.dtypes import bfloat16
from stepforge.frontend.errors import DTypeError, EvaluateError
from stepforge.frontend.evaluate import evaluate, reachable
from stepforge.frontend.graph import Graph


def test_only_what_the_outputs_need_is_evaluated() -> None:
    graph = Graph()
    x, y = graph.input("x", "f32", (2,)), graph.input("y", "f32", (2,))
    wanted, _ = x * 2.0, y + 1.0
    (got,) = evaluate([wanted], {"x": np.ones(2, np.float32), "other": np.ones(9)})
    assert got.tolist() == [2.0, 2.0]
    assert y not in reachable([wanted])


def test_outputs_are_new_arrays_in_the_order_asked_for() -> None:
    graph = Graph()
    x = graph.input("x", "f32", (2,))
    row = ops.broadcast_to(graph.constant(3.0, "f32"), (2,))
    given = np.array([1.0, 2.0], np.float32)
    a, b, c, d = evaluate([row, x, x + row, x], {"x": given})
    assert [v.tolist() for v in (a, b, c, d)] == [[3, 3], [1, 2], [4, 5], [1, 2]]
    for value in (a, b, c, d):
        value += 1
    assert given.tolist() == [1.0, 2.0]
    assert b is not d


@pytest.mark.parametrize("short", ["f64", "f32", "f16", "bf16"])
def test_ieee_results_without_warnings(short: str) -> None:
    graph = Graph()
    x = graph.input("x", short, (3,))
    big = graph.constant(3e4, short)
    nodes = [1.0 / x, ops.log(x), x / x, ops.sqrt(-1.0 - x), ops.exp(big * (x + 1.0))]
    got = evaluate(nodes, {"x": np.zeros(3, x.dtype.numpy)})
    values = [float(v[0]) for v in got]
    np.testing.assert_array_equal(values, [np.inf, -np.inf, np.nan, np.nan, np.inf])


def test_integers_wrap_and_divide_towards_zero() -> None:
    x = Graph().input("x", "i8", (4,))
    a = np.array([127, -128, 7, -7], np.int8)
    nodes = [x + 1, -x, abs(x), x / 2, ops.rem(x, 2), x / -1, x * x]
    got = [v.tolist() for v in evaluate(nodes, {"x": a})]
    assert got[0] == [-128, -127, 8, -6]
    assert got[1] == [-127, -128, -7, 7]
    assert got[2] == [127, -128, 7, 7]
    assert got[3] == [63, -64, 3, -3]
    assert got[4] == [1, 0, 1, -1]
    assert got[5] == [-127, -128, -7, 7]
    assert got[6] == [1, 0, 49, 49]
    assert evaluate([ops.reduce_sum(x), ops.cumsum(x)], {"x": a})[1].dtype == np.int8


def test_division_by_integer_zero_does_not_warn() -> None:
    x = Graph().input("x", "i32", (1,))
    evaluate([x / 0, ops.rem(x, 0)], {"x": np.ones(1, np.int32)})


def test_each_16_bit_operation_rounds_once() -> None:
    x = Graph().input("x", "bf16", (1,))
    product = x * x * x
    (got,) = evaluate([product], {"x": np.array([1.1], bfloat16.numpy)})
    once = np.float32(bfloat16.numpy.type(1.1))
    square = np.float32(bfloat16.numpy.type(once * once))
    assert got[0] == bfloat16.numpy.type(square * once)


def test_a_16_bit_mean_does_not_overflow() -> None:
    x = Graph().input("x", "f16", (4000,))
    (got,) = evaluate([ops.reduce_mean(x)], {"x": np.full(4000, 100, np.float16)})
    assert (got.dtype, float(got)) == (np.float16, 100.0)


def test_a_float32_sum_is_rounded_once() -> None:
    values = np.full(1_000_001, 0.1, np.float32)
    x = Graph().input("x", "f32", values.shape)
    (got,) = evaluate([ops.reduce_sum(x)], {"x": values})
    assert got == np.float32(1_000_001 * float(np.float32(0.1)))


def test_reductions_of_nothing() -> None:
    graph = Graph()
    x, c = graph.input("x", "f32", (2, 0)), graph.input("c", "bool", (0,))
    i = graph.input("i", "i8", (0,))
    nodes = [ops.reduce_sum(x, 1), ops.reduce_prod(x, 1), ops.reduce_max(x), ops.reduce_min(x)]
    nodes += [ops.reduce_all(c), ops.reduce_any(c), ops.reduce_max(i), ops.reduce_mean(x)]
    inputs = {"x": np.ones((2, 0), np.float32), "c": np.ones(0, bool), "i": np.ones(0, np.int8)}
    got = [v.tolist() for v in evaluate(nodes, inputs)]
    assert got[:7] == [[0, 0], [1, 1], -np.inf, np.inf, True, False, -128]
    assert np.isnan(got[7])


def test_nan_reaches_the_result() -> None:
    x = Graph().input("x", "f32", (3,))
    nodes = [ops.maximum(x, 0.0), ops.clip(x, -1.0, 1.0), ops.reduce_max(x), ops.reduce_min(x)]
    got = evaluate([*nodes, ops.sign(x)], {"x": np.array([1, np.nan, -3], np.float32)})
    assert [np.isnan(v).any() for v in got] == [True] * 5


def test_precision_replaces_every_float_dtype() -> None:
    graph = Graph()
    x = graph.input("x", "bf16", (2,))
    third = ops.cast(ops.cast(x, "f16") / 3.0, "f32") + ops.iota(graph, "f32", (2,)) * 1e-9
    wide = ops.cast(third, "i32")
    value = np.array([1.0, 10.0])
    exact, whole = evaluate([third, wide], {"x": value}, precision="float64")
    assert exact.tolist() == [1.0 / 3.0, 10.0 / 3.0 + 1e-9]
    assert (whole.dtype, whole.tolist()) == (np.int32, [0, 3])
    assert evaluate([third], {"x": value}, precision="float32")[0].dtype == np.float32


def test_precision_is_a_float_dtype() -> None:
    with pytest.raises(DTypeError, match=r"(?s)precision must be a float dtype.*int32"):
        evaluate([], {}, precision="int32")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, r"(?s)input 'x' has no value.*got: no inputs"),
    ({"y": 1}, r"(?s)input 'x' has no value.*got: 'y'"),
    ({"x": np.ones(3, np.float32)}, r"(?s)wrong shape.*expected: f32\[2\].*float32\[3\]"),
    ({"x": np.ones(2)}, r"(?s)wrong dtype.*f32\[2\].*float64\[2\].*\.astype\('float32'\)"),
    ({"x": np.ones(2, np.int32)}, r"(?s)wrong dtype.*int32\[2\]"),
    ({"x": np.ones(2, ">f4")}, r"(?s)wrong dtype.*>f4\[2\]"),
    ({"x": np.array([None, "a"])}, r"(?s)wrong dtype.*object\[2\]"),
]


@pytest.mark.parametrize(("inputs", "text"), WRONG)
def test_wrong_inputs(inputs: dict[str, Any], text: str) -> None:
    x = Graph().input("x", "f32", (2,))
    with pytest.raises(EvaluateError, match=text):
        evaluate([x + 1.0], inputs)


def test_integers_do_not_enter_float_inputs_at_a_precision() -> None:
    x = Graph().input("x", "f32", (2,))
    with pytest.raises(EvaluateError, match="wrong dtype"):
        evaluate([x], {"x": np.ones(2, np.int64)}, precision="float64")


def test_memory_of_a_long_chain_does_not_grow_with_its_length() -> None:
    size, length = 100_000, 60
    x = Graph().input("x", "f32", (size,))
    y = x
    for _ in range(length):
        y = y * 1.01
    tracemalloc.start()
    evaluate([y], {"x": np.ones(size, np.float32)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 4 * size
