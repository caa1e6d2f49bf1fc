"""Host scalars: each operation through the pass and IREE's VM, against NumPy, at the edges too."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from stepforge.passes import bindings, pass_base
from stepforge.passes.fold_hyperparameters import FoldHyperparameters
from stepforge.passes.scalar_math import HOST_OPERATIONS
from stepforge.runtime.executor import Module
from support.lowered import compile_text

pytestmark = pytest.mark.compiler

FLOATS = (0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 3.7, -3.7, 1e-40, 3e38, 8388609.0)
FLOATS = (*FLOATS, float("inf"), float("-inf"), float("nan"))
INTEGERS = (0, 1, -1, 5, -7, 2**31, 16_777_217, 2**40 + 1, 2**63 - 1, -(2**63))
SMALL = (1, 2, 3, 7, -5, 60)

# NumPy spells what MLIR computes; comparisons by their names.
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "oeq": lambda a, b: a == b,
    "one": lambda a, b: (a < b) | (a > b),
    "olt": lambda a, b: a < b,
    "ole": lambda a, b: a <= b,
    "ogt": lambda a, b: a > b,
    "oge": lambda a, b: a >= b,
    "ueq": lambda a, b: ~((a < b) | (a > b)),
    "une": lambda a, b: a != b,
    "ult": lambda a, b: ~(a >= b),
    "ule": lambda a, b: ~(a > b),
    "ugt": lambda a, b: ~(a <= b),
    "uge": lambda a, b: ~(a < b),
    "uno": lambda a, b: np.isnan(a) | np.isnan(b),
    "ord": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "arith.negf": np.negative,
    "math.absf": np.abs,
    "math.sqrt": np.sqrt,
    "math.rsqrt": lambda x: 1 / np.sqrt(x),
    "math.exp": np.exp,
    "math.expm1": np.expm1,
    "math.log": np.log,
    "math.log1p": np.log1p,
    "math.sin": np.sin,
    "math.cos": np.cos,
    "math.tanh": np.tanh,
    "math.floor": np.floor,
    "math.ceil": np.ceil,
    "math.round": lambda x: np.copysign(np.floor(np.abs(x) + np.float32(0.5)), x),
    "math.roundeven": np.rint,
    "math.trunc": np.trunc,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.remf": np.fmod,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
}
INTEGER: dict[str, Callable[[int, int], int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.divsi": lambda a, b: int(a / b),
    "arith.remsi": lambda a, b: a - b * int(a / b),
    "arith.maxsi": max,
    "arith.minsi": min,
    "arith.andi": lambda a, b: a & b,
    "arith.ori": lambda a, b: a | b,
    "arith.xori": lambda a, b: a ^ b,
}


def host_function(arguments: Sequence[str], result: str, lines: Sequence[str]) -> Module:
    """`f` of scalars %a, %b of these types; the lines compute the rank-0 tensor %r from %x, %y."""
    names = list(zip("ab", "xy", arguments, strict=False))
    declared = ", ".join(f"%{a}: {type_}" for a, _, type_ in names)
    enter = [f"%{x} = tensor.from_elements %{a} : tensor<{type_}>" for a, x, type_ in names]
    body = "\n".join([*enter, *lines])
    module = bindings.parse(
        f"func.func @f({declared}) -> {result} {{\n{body}\n"
        f"%out = tensor.extract %r[] : tensor<{result}>\nreturn %out : {result}\n}}"
    )
    pass_base.apply(FoldHyperparameters(), module)
    return Module(compile_text(str(module)))


def call(module: Module, *arguments: float | int) -> Any:
    return module.call("f", list(arguments))[0]


@pytest.mark.parametrize("predicate", COMPARE)
def test_comparisons(predicate: str) -> None:
    lines = [
        f"%c = arith.cmpf {predicate}, %x, %y : tensor<f32>",
        "%r = arith.extui %c : tensor<i1> to tensor<i64>",
    ]
    module = host_function(["f32", "f32"], "i64", lines)
    for a, b in itertools.product(FLOATS, FLOATS):
        expected = bool(COMPARE[predicate](np.float32(a), np.float32(b)))
        assert bool(call(module, a, b)) == expected, (predicate, a, b)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_float(name: str) -> None:
    module = host_function(["f32"], "f32", [f"%r = {name} %x : tensor<f32>"])
    with np.errstate(all="ignore"):
        for a in FLOATS:
            expected = UNARY[name](np.float32(a))
            np.testing.assert_allclose(np.float32(call(module, a)), expected, rtol=3e-7)


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_floats(name: str) -> None:
    module = host_function(["f32", "f32"], "f32", [f"%r = {name} %x, %y : tensor<f32>"])
    with np.errstate(all="ignore"):
        for a, b in itertools.product(FLOATS, FLOATS):
            expected = BINARY[name](np.float32(a), np.float32(b))
            found = np.float32(call(module, a, b))
            assert found == expected or (np.isnan(found) and np.isnan(expected)), (name, a, b)


def test_powers() -> None:
    module = host_function(["f32", "f32"], "f32", ["%r = math.powf %x, %y : tensor<f32>"])
    for a, b in itertools.product((0.5, 0.9, 1.0, 2.0, 10.0), (0.0, 0.5, 1.0, 7.0, -3.0)):
        expected = np.float32(a) ** np.float32(b)
        np.testing.assert_allclose(np.float32(call(module, a, b)), expected, rtol=3e-7)


@pytest.mark.parametrize("name", INTEGER)
def test_functions_of_two_integers(name: str) -> None:
    module = host_function(["i64", "i64"], "i64", [f"%r = {name} %x, %y : tensor<i64>"])
    for a, b in itertools.product(SMALL, SMALL):
        assert call(module, a, b) == INTEGER[name](a, b), (name, a, b)


def test_shifts_and_absolute_integers() -> None:
    one = "%one = arith.constant dense<1> : tensor<i64>"
    for name, expected in (("shli", -14), ("shrsi", -4), ("shrui", 2**63 - 4)):
        module = host_function(["i64"], "i64", [one, f"%r = arith.{name} %x, %one : tensor<i64>"])
        assert call(module, -7) == expected
    module = host_function(["i64"], "i64", ["%r = math.absi %x : tensor<i64>"])
    assert call(module, -7) == 7


@pytest.mark.parametrize("predicate", ["eq", "ne", "slt", "sle", "sgt", "sge"])
def test_integer_comparisons_and_choices(predicate: str) -> None:
    lines = [
        f"%c = arith.cmpi {predicate}, %x, %y : tensor<i64>",
        "%r = arith.select %c, %x, %y : tensor<i1>, tensor<i64>",
    ]
    module = host_function(["i64", "i64"], "i64", lines)
    rule = getattr(
        np,
        {"eq": "equal", "ne": "not_equal", "slt": "less", "sle": "less_equal"}.get(
            predicate, {"sgt": "greater", "sge": "greater_equal"}.get(predicate, "")
        ),
    )
    for a, b in itertools.product(SMALL, SMALL):
        assert call(module, a, b) == (a if rule(a, b) else b)


@pytest.mark.parametrize("name", ["fptosi", "fptoui"])
def test_floats_are_truncated_to_integers(name: str) -> None:
    module = host_function(["f32"], "i64", [f"%r = arith.{name} %x : tensor<f32> to tensor<i64>"])
    for a in (
        0.0,
        0.5,
        1.5,
        2.5,
        3.7,
        8388609.0,
        *((-0.5, -1.5, -3.7) if name == "fptosi" else ()),
    ):
        assert call(module, a) == int(a)


@pytest.mark.parametrize("name", ["sitofp", "uitofp"])
def test_integers_are_rounded_to_floats(name: str) -> None:
    module = host_function(["i64"], "f32", [f"%r = arith.{name} %x : tensor<i64> to tensor<f32>"])
    for a in INTEGERS:
        value = a if name == "sitofp" else a % 2**64
        assert call(module, a) == float(np.float32(value))


def test_widths_and_bits() -> None:
    narrow = "%n = arith.trunci %x : tensor<i64> to tensor<i8>"
    for name, expected in (("extsi", -56), ("extui", 200)):
        lines = [narrow, f"%r = arith.{name} %n : tensor<i8> to tensor<i64>"]
        assert call(host_function(["i64"], "i64", lines), 200) == expected
    bits = ["%b = arith.bitcast %x : tensor<f32> to tensor<i32>"]
    bits.append("%r = arith.extsi %b : tensor<i32> to tensor<i64>")
    assert call(host_function(["f32"], "i64", bits), 1.5) == np.float32(1.5).view(np.int32)


def test_every_operation_that_may_run_on_the_host_is_tested_here() -> None:
    tested = {*UNARY, *BINARY, *INTEGER, "math.powf", "math.absi", "arith.bitcast"}
    tested |= {f"arith.{n}" for n in ("cmpf", "cmpi", "select", "shli", "shrsi", "shrui")}
    tested |= {f"arith.{n}" for n in ("fptosi", "fptoui", "sitofp", "uitofp")}
    tested |= {f"arith.{n}" for n in ("extsi", "extui", "trunci")}
    assert tested == HOST_OPERATIONS
