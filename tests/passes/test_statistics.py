"""Counts per function, against IREE's own sums; and reads that come too late."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepforge.passes import (
    FunctionStatistics,
    Statistics,
    bindings,
    parse_target,
    run_pipeline,
    statistics,
)
from stepforge.passes.session import Lowering, open_session
from support.adamw_module import adamw

pytestmark = pytest.mark.compiler

TARGET = parse_target("cpu:x86_64")

# The sum reads %b, whose new value is written over it before the sum is dispatched: IREE gives no
# diagnostic, and the sum is that of the new values.
LATE = """
func.func @late(%a: tensor<64xf32> {iree.abi.output = 0 : index}) -> (tensor<64xf32>, tensor<f32>) {
  %0 = arith.addf %a, %a : tensor<64xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %s = linalg.reduce { arith.addf } ins(%a : tensor<64xf32>) outs(%i : tensor<f32>) dimensions = [0]
  return %0, %s : tensor<64xf32>, tensor<f32>
}
func.func @early(%a: tensor<64xf32> {iree.abi.output = 0 : index}) -> tensor<64xf32> {
  %0 = arith.addf %a, %a : tensor<64xf32>
  return %0 : tensor<64xf32>
}
func.func @apart(%a: tensor<64xf32>, %s: f32) -> (tensor<64xf32>, tensor<32xf32>) {
  %e = tensor.empty() : tensor<64xf32>
  %b = linalg.fill ins(%s : f32) outs(%e : tensor<64xf32>) -> tensor<64xf32>
  %0 = arith.addf %a, %b : tensor<64xf32>
  %t = tensor.extract_slice %a[32] [32] [1] : tensor<64xf32> to tensor<32xf32>
  return %0, %t : tensor<64xf32>, tensor<32xf32>
}
func.func @nothing(%a: tensor<64xf32>) -> tensor<8x8xf32> {
  %0 = tensor.expand_shape %a [[0, 1]] output_shape [8, 8] : tensor<64xf32> into tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func @any_length(%a: tensor<?xf32>) -> tensor<?xf32> {
  %0 = arith.addf %a, %a : tensor<?xf32>
  return %0 : tensor<?xf32>
}
"""


def counted(text: str, report: Path | None = None) -> Statistics:
    """Compile text that needs no passes, up to the phase that is counted, and on."""
    flags = list(TARGET.flags)
    if report is not None:
        flags.append("--iree-scheduling-dump-statistics-format=json")
        flags.append(f"--iree-scheduling-dump-statistics-file={report}")
    with open_session(flags) as session:
        module = bindings.parse(text, session.context)
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("stream")
            found = statistics.collect(module)
            lowering.advance("end")
            return statistics.with_bytecode(found, lowering.bytecode())


def test_the_sums_are_those_of_iree(tmp_path: Path) -> None:
    report = tmp_path / "statistics.json"
    static = LATE.partition("func.func @any_length")[0]  # IREE leaves sizes it does not know out
    found = counted(static, report)
    execution = json.loads(report.read_text())["stream-aggregate"]["execution"]
    functions = found.functions.values()
    assert execution["dispatch-count"] == sum(f.dispatches for f in functions) > 3
    assert execution["copy-count"] == sum(f.copies for f in functions) > 0
    assert execution["fill-count"] == sum(f.fills for f in functions)
    assert execution["submission-count"] == sum(f.submissions for f in functions)
    assert execution["transient-memory-size"] == sum(f.transient_bytes or 0 for f in functions)


def test_counts_are_per_function() -> None:
    found = counted(LATE)
    assert list(found.functions) == ["late", "early", "apart", "nothing", "any_length"]
    assert found["early"] == FunctionStatistics(dispatches=1, submissions=1, buffers=1)
    assert found["nothing"] == FunctionStatistics()
    assert found["apart"].push_words == 1
    assert found["apart"].copies == 1
    assert found["apart"].allocates
    assert found["any_length"].transient_bytes is None
    assert found["any_length"].allocations == 1
    assert found.initializer == FunctionStatistics()
    assert found.imports_allocation


def test_a_read_after_the_write_in_place_is_counted() -> None:
    found = counted(LATE)
    assert {name: f.late_reads for name, f in found.functions.items()} == {
        "late": 1,
        "early": 0,
        "apart": 0,
        "nothing": 0,
        "any_length": 0,
    }


def test_a_step_in_place_imports_no_allocation() -> None:
    _, _, early = LATE.partition("func.func @early")
    found = counted("func.func @early" + early.partition("func.func @apart")[0])
    assert found.imports_allocation is False
    assert not found["early"].allocates


@pytest.mark.parametrize("count", [1, 3, 12])
def test_adamw_has_one_dispatch_per_tensor_and_nothing_else(count: int) -> None:
    shapes = [(16 + i, 8) for i in range(count)]
    with open_session(TARGET.flags) as session:
        module = bindings.parse(adamw(shapes), session.context)
        run_pipeline(module, layout="separate")
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("stream")
            found = statistics.collect(module)["step"]
    assert found == FunctionStatistics(
        dispatches=count, submissions=1, buffers=4, push_words=found.push_words
    )
    assert found.push_words <= 16
