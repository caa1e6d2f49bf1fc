"""The logical form that passes rely on, as FileCheck cases over small programs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stepforge.frontend import ops
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.program import Argument, EntryPoint, Result
from stepforge.frontend.scalars import ScalarProgram
from support.emitted import NO_SCALARS, function, program
from support.op_cases import OP_CASES

pytestmark = pytest.mark.compiler
emission = pytest.importorskip("stepforge.frontend.emit")

SHAPE = (4, 3)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def in_order(text: str, *expected: str) -> None:
    """Each expected line follows the one before; values match whatever their names are."""
    rest = [re.sub(r"%\w+", "%", line) for line in lines(text)]
    for wanted in expected:
        assert wanted in rest, f"no line {wanted!r} (in this place) in\n{text}"
        rest = rest[rest.index(wanted) + 1 :]


def sgd() -> EntryPoint:
    """p - rate * g, and one more step; skipped where the gradient is not finite."""
    graph = Graph()
    p, g = (graph.input(name, "float32", SHAPE) for name in ("p", "g"))
    rate, step = graph.input("rate", "float32"), graph.input("step", "int64")
    new_step = step + 1
    keep = ops.reduce_all(ops.is_finite(g))
    new_p = ops.where(ops.broadcast_to(keep, SHAPE), p - g * (rate / ops.cast(new_step, "f32")), p)
    arguments = (
        Argument("/w", "parameter", p, "device", result=0),
        Argument("/w", "gradient", g, "device"),
        Argument("/optimizers/learning_rate", "hyperparameter", rate, "host"),
        Argument("/global_step", "counter", step, "host", result=1),
    )
    results = (Result("/w", "state", new_p), Result("/global_step", "state", new_step))
    return EntryPoint("step", graph, arguments, results, "arguments", NO_SCALARS)


def text_of(*outputs: Node) -> str:
    return emission.emit(program(function("f", outputs)))


def test_a_step() -> None:
    text = emission.emit(program(sgd()))
    assert lines(text)[0] == "module attributes {stepforge.abi = 1 : i64} {"
    (signature,) = (line for line in lines(text) if line.startswith("func.func"))
    tensor = "tensor<4x3xf32>"
    for part in (
        f'@step(%arg0: {tensor} {{stepforge.name = "/w", stepforge.result = 0 : index, '
        'stepforge.role = "parameter"}',
        f'%arg1: {tensor} {{stepforge.name = "/w", stepforge.role = "gradient"}}',
        '%arg2: f32 {stepforge.name = "/optimizers/learning_rate", '
        'stepforge.role = "hyperparameter"}',
        '%arg3: i64 {stepforge.name = "/global_step", stepforge.result = 1 : index, '
        'stepforge.role = "counter"}',
        f"-> ({tensor}, i64)",
    ):
        assert part in signature
    in_order(
        text,
        "% = tensor.from_elements % : tensor<f32>",
        "% = tensor.from_elements % : tensor<i64>",
        "% = arith.constant dense<1> : tensor<i64>",
        "% = arith.addi %, % : tensor<i64>",
        "% = arith.bitcast % : tensor<4x3xf32> to tensor<4x3xi32>",
        "% = arith.constant dense<2139095040> : tensor<4x3xi32>",
        "% = arith.andi %, % : tensor<4x3xi32>",
        "% = arith.cmpi ne, %, % : tensor<4x3xi32>",
        "% = arith.extui % : tensor<4x3xi1> to tensor<4x3xi32>",
        "% = linalg.fill ins(% : i32) outs(% : tensor<i32>) -> tensor<i32>",
        "% = linalg.reduce { arith.andi } ins(% : tensor<4x3xi32>) outs(% : tensor<i32>) "
        "dimensions = [0, 1]",
        "% = arith.cmpi ne, %, % : tensor<i32>",
        "% = linalg.broadcast ins(% : tensor<i1>) outs(% : tensor<4x3xi1>) dimensions = [0, 1]",
        "% = arith.sitofp % : tensor<i64> to tensor<f32>",
        "% = arith.divf %, % : tensor<f32>",
        "% = linalg.broadcast ins(% : tensor<f32>) outs(% : tensor<4x3xf32>) dimensions = [0, 1]",
        "% = arith.mulf %, % : tensor<4x3xf32>",
        "% = arith.subf %, % : tensor<4x3xf32>",
        "% = arith.select %, %, % : tensor<4x3xi1>, tensor<4x3xf32>",
        "% = tensor.extract %[] : tensor<i64>",
        "return %, % : tensor<4x3xf32>, i64",
    )


def test_a_table_of_scalars() -> None:
    entry = sgd()
    (scaled,) = (x for x in entry.graph.nodes if x.op == "div")
    rows = ScalarProgram("float32", (), (0,), ())
    entry = replace(entry, scalars="table", table=(scaled,), scalar_program=rows)
    text = emission.emit(program(entry))
    assert (
        '%arg2: tensor<1xf32> {stepforge.name = "scalars", stepforge.role = "scalars"}) '
        "-> tensor<4x3xf32> {" in text
    )
    assert " i64" not in text.replace("1 : i64", "")
    in_order(
        text,
        "% = tensor.extract_slice %[0] [1] [1] : tensor<1xf32> to tensor<f32>",
        "% = linalg.broadcast ins(% : tensor<f32>) outs(% : tensor<4x3xf32>) dimensions = [0, 1]",
        "return % : tensor<4x3xf32>",
    )


def test_a_table_holds_no_integers() -> None:
    entry = sgd()
    step = entry.arguments[-1].node
    entry = replace(entry, scalars="table", table=(step,))
    with pytest.raises(emission.EmitError, match="holds floats, bools, and i32"):
        emission.emit(program(entry))


def test_bools_cross_the_boundary_as_bytes() -> None:
    graph = Graph()
    text = text_of(ops.logical_not(graph.input("x", "bool", SHAPE)))
    assert "(%arg0: tensor<4x3xi8>" in text
    in_order(
        text,
        "% = arith.cmpi ne, %, % : tensor<4x3xi8>",
        "% = arith.xori %, % : tensor<4x3xi1>",
        "% = arith.extui % : tensor<4x3xi1> to tensor<4x3xi8>",
        "return % : tensor<4x3xi8>",
    )


@pytest.mark.parametrize(("short", "dtype"), [("f16", "float16"), ("bf16", "bfloat16")])
def test_a_16_bit_float_is_widened_once_and_rounded_once(short: str, dtype: str) -> None:
    graph = Graph()
    x = graph.input("x", dtype, SHAPE)
    text = text_of(ops.cast(ops.cast(x, "float32") * 2.0, dtype))
    in_order(
        text,
        f"% = arith.extf % : tensor<4x3x{short}> to tensor<4x3xf32>",
        "% = arith.mulf %, % : tensor<4x3xf32>",
        f"% = arith.truncf % : tensor<4x3xf32> to tensor<4x3x{short}>",
    )
    assert text.count("arith.") == 4, "the two lines, the product and its constant"


def test_bfloat16_is_rounded_between_two_ops() -> None:
    graph = Graph()
    x = graph.input("x", "bfloat16", SHAPE)
    in_order(
        text_of(x * x + x),
        "% = arith.mulf %, % : tensor<4x3xf32>",
        "% = arith.bitcast % : tensor<4x3xf32> to tensor<4x3xi32>",
        "% = arith.constant dense<-65536> : tensor<4x3xi32>",
        "% = arith.bitcast % : tensor<4x3xi32> to tensor<4x3xf32>",
        "% = arith.addf %, % : tensor<4x3xf32>",
        "% = arith.truncf % : tensor<4x3xf32> to tensor<4x3xbf16>",
    )


def test_a_reshape_is_one_op_where_it_can_be() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (4, 3, 2))
    assert "tensor.expand_shape" not in text_of(ops.reshape(x, (12, 2)))
    assert "tensor.collapse_shape" not in text_of(ops.reshape(x, (2, 2, 3, 2, 1)))
    in_order(
        text_of(ops.reshape(x, (6, 2, 2))),
        "% = tensor.collapse_shape % [[0, 1], [2]] : tensor<4x3x2xf32> into tensor<12x2xf32>",
        "% = tensor.expand_shape % [[0, 1], [2]] output_shape [6, 2, 2] : "
        "tensor<12x2xf32> into tensor<6x2x2xf32>",
    )


def test_a_constant_divisor_needs_no_guard() -> None:
    graph = Graph()
    x = graph.input("x", "int64")
    assert "arith.select" not in text_of(ops.rem(x, 7), ops.div(x, 7))
    assert "arith.select" in text_of(ops.rem(x, x), ops.div(x, -1))


def test_locations_are_the_users_lines() -> None:
    entry = sgd()
    assert "loc(" not in emission.emit(program(entry))
    assert 'loc("test_emit_text.py":' in emission.emit(program(entry), locations=True)


def test_two_entry_points_make_two_functions() -> None:
    first, second = sgd(), replace(sgd(), name="other")
    text = emission.emit(program(first, second))
    assert re.findall(r"func\.func @(\w+)", text) == ["step", "other"]
    assert text == emission.emit(program(first, second))


def test_no_argument_is_an_output_operand() -> None:
    """IREE overwrites an argument that is the `outs` of a named op."""
    for case in OP_CASES:
        _, node = case.graph(case.dtypes[0])
        outs = re.findall(r"outs\((%\w+)", text_of(node))
        assert not [x for x in outs if x.startswith("%arg")], case.name
