"""Host scalars: every op against NumPy in float64, special values included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stepforge.runtime.errors import ArtifactFormatError
from stepforge.runtime.manifest import Argument, Function, Row, ScalarProgram
from stepforge.runtime.scalar_ops import CASTS, OPS
from stepforge.runtime.scalars import compile_program, evaluate_scalars, inputs

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 1e-300, 710.0, -745.0, 1e308, math.inf, -math.inf,
          math.nan]  # fmt: skip
INTEGERS = [0, 1, -1, 7, -7, 2**62, -(2**63), 2**63 - 1]
NUMPY: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "rem": np.fmod,
    "pow": np.power, "maximum": np.maximum, "minimum": np.minimum, "neg": np.negative,
    "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin,
    "cos": np.cos, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "floor": np.floor, "ceil": np.ceil, "round": np.round, "equal": np.equal,
    "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal, "is_finite": np.isfinite,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "logical_not": np.logical_not, "where": np.where,
}  # fmt: skip
INTEGER_OPS = ["add", "sub", "mul", "rem", "maximum", "minimum", "neg", "abs", "sign", "less"]


def run(*rows: Row, values: dict[str, Any] | None = None) -> Any:
    """The value of the last row."""
    program = ScalarProgram("float64", rows, (len(rows) - 1,))
    return compile_program(program).run(values or {})[0][0]


def test_every_op_is_compared() -> None:
    assert OPS.keys() == NUMPY.keys()


@pytest.mark.parametrize("name", sorted(OPS))
def test_floats_follow_ieee(name: str) -> None:
    arity = OPS[name][0]
    grids = [FLOATS] if arity == 1 else [FLOATS, FLOATS]
    if name == "where":
        grids = [[True, False], [1.0], [math.nan]]
    for operands in np.array(np.meshgrid(*grids, indexing="ij"), object).reshape(len(grids), -1).T:
        rows: list[Row] = [("constant", x) for x in operands]
        got = run(*rows, (name, *range(arity)))
        with np.errstate(all="ignore"):
            expected = NUMPY[name](*[np.asarray(x) for x in operands])
        np.testing.assert_allclose(got, expected, 1e-15, 1e-300, err_msg=str(operands))
        if isinstance(got, float) and name not in ("maximum", "minimum"):
            assert math.copysign(1, got) == np.copysign(1, expected) or got != got, operands


def test_negative_zero_is_the_smaller() -> None:
    """As MLIR's maximumf and minimumf have it; NumPy gives either."""
    for a, b in ((0.0, -0.0), (-0.0, 0.0)):
        zeros: list[Row] = [("constant", a), ("constant", b)]
        assert math.copysign(1, run(*zeros, ("maximum", 0, 1))) == 1
        assert math.copysign(1, run(*zeros, ("minimum", 0, 1))) == -1


@pytest.mark.parametrize("name", INTEGER_OPS)
def test_integers_wrap_as_int64(name: str) -> None:
    for a in INTEGERS:
        for b in INTEGERS:
            operands = [a] if OPS[name][0] == 1 else [a, b]
            rows: list[Row] = [("constant", x) for x in operands]
            got = run(*rows, (name, *range(len(operands))))
            with np.errstate(all="ignore"):
                expected = NUMPY[name](*[np.int64(x) for x in operands])
            assert got == expected, operands
            assert type(got) is type(expected.item())


@pytest.mark.parametrize(("a", "b", "expected"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (1, 0, 0)])
def test_integer_division_truncates(a: int, b: int, expected: int) -> None:
    assert run(("constant", a), ("constant", b), ("div", 0, 1)) == expected


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (2.9, "int64", 2),
        (-2.9, "int32", -2),
        (math.nan, "int64", -(2**63)),
        (3, "float32", 3.0),
        (0.1, "float32", 0.1),
        (0.1, "float16", 0.1),
        (True, "float64", 1.0),
        (2, "bool", True),
        (math.nan, "bool", True),
    ],
)
def test_casts(value: Any, dtype: str, expected: Any) -> None:
    """Narrow floats stay float64: what leaves the program is rounded once."""
    got = run(("constant", value), ("cast", 0, dtype))
    assert got == expected
    assert type(got) is type(expected)
    assert dtype in CASTS


def test_bias_correction_is_accurate_for_every_step() -> None:
    rows: tuple[Row, ...] = (
        ("input", "/t"),
        ("cast", 0, "float64"),
        ("constant", 0.999),
        ("log", 2),
        ("mul", 1, 3),
        ("expm1", 4),
        ("neg", 5),
    )
    for t in (1, 10, 1000, 10**6, 10**9):
        exact = -math.expm1(t * math.log(0.999))
        assert run(*rows, values={"/t": t}) == exact


def test_results_and_table() -> None:
    rows: tuple[Row, ...] = (
        ("input", "/t"),
        ("constant", 1),
        ("add", 0, 1),
        ("cast", 2, "float64"),
        ("input", "/lr"),
        ("div", 4, 3),
    )
    program = ScalarProgram("float32", rows, (5, 2), (("/t", 2), ("/lr", 5)))
    function = Function("step", (Argument("scalars", "scalars", "float32", (2,)),), (), program)
    found = evaluate_scalars(function, {"/t": 3, "/lr": 0.1, "/other": True})
    (table,) = found.arguments
    assert isinstance(table, np.ndarray)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, np.array([0.025, 4], np.float32))
    assert found.next_values == {"/t": 4, "/lr": 0.1 / 4, "/other": True}
    assert inputs(program) == ("/t", "/lr")


def test_derived_arguments_keep_float64() -> None:
    """1 - beta from a float32 beta would be off by 2e-5; from the float64 it is not."""
    arguments = tuple(
        Argument("/beta", "hyperparameter", "float32", derive=derive)
        for derive in ("value", "one_minus", "log")
    )
    function = Function("step", (*arguments, Argument("/t", "counter", "int64")), ())
    found = evaluate_scalars(function, {"/beta": 0.999, "/t": 5})
    assert found.arguments == (0.999, 1 - 0.999, math.log(0.999), 5)


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ((("input", "/t"), ("constant", 1), ("add", 0, 1)), True),
        ((("constant", 2), ("input", "/t"), ("add", 0, 1)), True),
        ((("input", "/u"), ("constant", 1), ("add", 0, 1)), False),
        ((("input", "/t"), ("constant", 1.5), ("add", 0, 1)), False),
        ((("input", "/t"), ("constant", 1), ("sub", 0, 1)), False),
        ((("input", "/t"), ("constant", 1), ("constant", 4)), False),
    ],
)
def test_counting_takes_the_short_way(rows: tuple[Row, ...], counts: bool) -> None:
    program = ScalarProgram("float32", rows, (), (("/t", 2),))
    evaluator = compile_program(program)
    assert (evaluator.increments is not None) is counts
    values: dict[str, Any] = {"/t": 2**63 - 1, "/u": 5}
    slow = compile_program(ScalarProgram("float32", rows, (2,), (("/t", 2),)))
    assert evaluator.run(values)[1] == slow.run(values)[1]


@pytest.mark.parametrize(
    "rows",
    [
        (("add", 0, 1),),
        (("constant", 1), ("add", 0)),
        (("constant", 1), ("add", 0, -1)),
        (("constant", 1), ("add", 0, True)),
        (("constant", 1), ("add", 0, 0.0)),
        (("constant", "1"),),
        (("input", 1),),
        (("cast", 0, "int64"),),
        (("constant", 1), ("cast", 0, "f8")),
        (("eval", 0),),
        ((),),
    ],
)
def test_bad_rows(rows: tuple[Row, ...]) -> None:
    with pytest.raises(ArtifactFormatError, match="scalar program"):
        compile_program(ScalarProgram("float32", rows))
