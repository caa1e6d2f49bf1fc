"""Every op against NumPy references of its own: the type rule, the value, and both as JSON."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend import ops
from stepforge.frontend.dtypes import DType, float32, float64
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.ops import OPS
from stepforge.frontend.serialize import DECODERS, from_json, to_json
from stepforge.frontend.verify import verify
from support.op_case import Array, OpCase
from support.op_cases import OP_CASES
from support.ulp import ulp_distance

ROUNDED = 0.501
"""Half a unit, and what the wider computation of a narrow dtype may add to it."""

EXACT = frozenset({"input", "constant", "broadcast", "reshape", "cast"})

CASES = [
    pytest.param(case, dtype, id=f"{case.name}-{dtype.short}")
    for case in OP_CASES
    for dtype in case.dtypes
]


def assert_close(got: Array, exact: Array, dtype: DType, ulp: float) -> None:
    if not dtype.is_float:
        np.testing.assert_array_equal(got, exact)
        return
    worst = np.max(ulp_distance(got, exact, dtype.numpy), initial=0)
    assert worst <= ulp, f"{worst} ULP: {got} against {exact}"


@pytest.mark.parametrize(("case", "dtype"), CASES)
def test_value(case: OpCase, dtype: DType) -> None:
    graph, node = case.graph(dtype)
    inputs = case.inputs(dtype)
    (got,) = evaluate([node], inputs)
    exact, result = case.expected(inputs, dtype), case.result_dtype(dtype)
    assert (node.dtype, node.shape) == (result, exact.shape)
    assert (got.dtype, got.shape) == (result.numpy, exact.shape)
    roundings = sum(x.op not in EXACT for x in graph.nodes)
    single = dtype != float64 and roundings <= 1
    assert_close(got, exact, result, ROUNDED if single else max(case.ulp, ROUNDED))


@pytest.mark.parametrize(("case", "dtype"), CASES)
def test_type_rule_is_the_type_numpy_gives(case: OpCase, dtype: DType) -> None:
    graph, _ = case.graph(dtype)
    verify(graph)
    for node in graph.nodes:
        arrays = [np.ones(x.shape, x.dtype.numpy) for x in node.inputs]
        if node.op == "input" or any(x.dtype.is_half for x in node.inputs):
            continue  # 16-bit floats are computed in float32 and converted by `evaluate`
        value = OPS[node.op].numpy(*arrays, **node.attributes)
        assert (value.dtype, value.shape) == (node.dtype.numpy, node.shape)


@pytest.mark.parametrize(
    "case", [case for case in OP_CASES if float32 in case.dtypes], ids=lambda case: case.name
)
def test_precision_float64(case: OpCase) -> None:
    _, node = case.graph(float32)
    inputs = case.inputs(float32)
    (got,) = evaluate([node], inputs, precision="float64")
    result = float64 if node.dtype.is_float else node.dtype
    assert got.dtype == result.numpy
    assert_close(got, case.expected(inputs, float32), result, max(case.ulp, ROUNDED))


@pytest.mark.parametrize(("case", "dtype"), CASES)
def test_json_round_trip(case: OpCase, dtype: DType) -> None:
    graph, node = case.graph(dtype)
    text = to_json([graph], {"result": node})
    (copy,), named = from_json(text)
    assert to_json([copy], named) == text
    assert [x.type for x in copy.nodes] == [x.type for x in graph.nodes]
    inputs = case.inputs(dtype)
    for a, b in zip(evaluate([node], inputs), evaluate([named["result"]], inputs), strict=True):
        assert a.tobytes() == b.tobytes()


UNARY = [case for case in OP_CASES if len(case.domains) == 1 and OPS[case.op].elementwise]


@pytest.mark.parametrize("case", UNARY, ids=lambda case: case.name)
@pytest.mark.parametrize("short", ["f16", "bf16"])
def test_every_16_bit_float(case: OpCase, short: str) -> None:
    dtype = next((dtype for dtype in case.dtypes if dtype.short == short), None)
    if dtype is None or case.op == "cast":
        return  # a cast to integers is specified inside their range only
    patterns = np.arange(2**16, dtype=np.uint16).view(dtype.numpy).reshape(256, 256)
    if case.name == "sigmoid" or not case.result_dtype(dtype).is_float:
        patterns = np.where(np.isnan(patterns.astype(np.float32)), patterns[:1, :1], patterns)
    graph = Graph(case.name)
    node = case.build(graph.input("x0", dtype, patterns.shape))
    (got,) = evaluate([node], {"x0": patterns})
    result = case.result_dtype(dtype)
    assert_close(got, case.expected({"x0": patterns}, dtype), result, ROUNDED)


def test_every_op_has_its_rows() -> None:
    assert {case.op for case in OP_CASES} == set(OPS)
    assert len({(case.name, dtype) for case in OP_CASES for dtype in case.dtypes}) == len(CASES)
    assert all(name == op.name for name, op in OPS.items())
    assert {key for op in OPS.values() for key in op.attributes} == set(DECODERS)


def test_every_op_has_a_function() -> None:
    renamed = {"broadcast": "broadcast_to"}
    missing = [name for name in OPS if not callable(getattr(ops, renamed.get(name, name), None))]
    assert missing == ["input"], "an input is made by Graph.input"


def test_every_case_is_of_the_op_it_names() -> None:
    for case in OP_CASES:
        graph, _ = case.graph(case.dtypes[0])
        assert case.op in {node.op for node in graph.nodes}, case.name
