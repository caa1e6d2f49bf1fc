"""Every op case, emitted, compiled and run on every backend, against its exact value.

One module per backend and family of ops. All dtypes run with `-m slow`; the rest of the time only
float32, int32 and bool run every op, and the others what has a rule of its own for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stepforge.frontend.dtypes import DType
from support import op_cases
from support.accuracy import promised
from support.backends import BACKENDS, CPU_BASELINE, Backend
from support.emitted import Row, compile_expanded
from support.op_case import OpCase
from support.ulp import ulp_distance

pytestmark = pytest.mark.compiler

FAMILIES = {
    "sources": op_cases.SOURCES,
    "arithmetic": op_cases.ARITHMETIC,
    "unary": op_cases.UNARY,
    "logic": op_cases.LOGIC,
    "casts": op_cases.CASTS,
    "shapes": op_cases.SHAPES,
    "reductions": op_cases.REDUCTIONS,
    "contractions": (*op_cases.CONTRACTIONS, *op_cases.INDEXING),
}
ALWAYS = frozenset({"f32", "i32", "i1"})
OWN_WAY: dict[str, frozenset[str]] = {
    "bf16": frozenset({"iota", "constant", "sign", "rem", "less", "where", "pad", "reduce_sum"}),
    "i8": frozenset({"iota", "constant", "sign", "div", "less", "pad", "reduce_max", "cumsum"}),
    "f16": frozenset({"iota", "constant", "is_finite", "reduce_sum"}),
    "f64": frozenset(
        {"erf", "expm1", "log1p", "sin", "cos", "tanh", "pow", "rem", "is_finite", "iota"}
    ),
    "i64": frozenset({"iota", "constant", "div", "rem", "reduce_max"}),
}
"""Ops that have a rule, or a part of one, for these dtypes alone."""


def is_quick(family: str, case: OpCase, dtype: DType) -> bool:
    if family == "casts":
        return case.result_dtype(dtype).short in ("f32", "i32", "bf16", "i8")
    return dtype.short in ALWAYS or case.op in OWN_WAY[dtype.short]


def rows(family: str, backend: Backend, *, quick: bool) -> list[Row]:
    every = [
        Row.make(f"{case.op}_{i}_{dtype.short}", case, dtype, backend)
        for i, case in enumerate(FAMILIES[family])
        for dtype in case.dtypes
        if not quick or is_quick(family, case, dtype)
    ]
    return [row for row in every if not row.dtypes & backend.refused]


def tolerance(row: Row, backend: Backend) -> float:
    case, result = row.case, row.node.dtype
    promise = backend.promise(promised(), case.op)
    if result.is_half:
        return max(case.ulp, 0.501 + promise / 2**13)
    if result.itemsize == 8:
        return max(case.ulp, {"pow": 16.0, "erf": 5.0}.get(case.op, 3.0))
    return max(case.ulp, promise, 0.501)


def error(row: Row, got: np.ndarray, exact: np.ndarray) -> float:
    """In ULP of the result; inf if wrong."""
    if not row.node.dtype.is_float:
        return 0.0 if np.array_equal(got, exact) else np.inf
    distance = ulp_distance(got, exact, row.node.dtype.numpy)
    return float(np.max(distance, initial=0))


def check(selected: Sequence[Row], backend: Backend) -> None:
    compiled = compile_expanded([row.entry for row in selected], backend)
    wrong: dict[str, str] = {}
    for row in selected:
        inputs = row.case.inputs(row.dtype)
        got, exact = row.run(compiled, inputs), row.case.expected(inputs, row.dtype)
        worst = error(row, got, exact)
        if not worst <= tolerance(row, backend):
            wrong[row.entry.name] = f"{worst} ULP: {got.ravel()[:8]} for {exact.ravel()[:8]}"
    assert not wrong, wrong


ON_EACH = [pytest.param(backend, marks=backend.marks, id=str(backend)) for backend in BACKENDS]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", ON_EACH)
def test_ops_on_the_device(backend: Backend, family: str) -> None:
    check(rows(family, backend, quick=True), backend)


@pytest.mark.parametrize("family", ["arithmetic", "unary", "casts"])
def test_ops_on_a_baseline_cpu(family: str) -> None:
    """It lacks instructions, and functions to link with in their place."""
    floats = [r for r in rows(family, CPU_BASELINE, quick=True) if r.dtypes & {"f32", "f64"}]
    check([r for r in floats if not r.dtypes & {"bf16", "f16", "i8"}], CPU_BASELINE)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", ON_EACH)
def test_ops_of_every_dtype_on_the_device(backend: Backend, family: str) -> None:
    check(rows(family, backend, quick=False), backend)
