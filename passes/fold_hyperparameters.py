"""fold-hyperparameters: scalar math on settables and counters moves to the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings, rewriting, scalar_math
from stepforge.passes.bindings import ir, tensor, util
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.pass_base import Pass

BARRIER = "util.optimization_barrier"


def rank0_math_on_host_scalars(op: ir.Operation) -> list[ir.Value] | None:
    if not belongs_on_host(op):
        return None
    operands = [rewriting.host_scalar(value) for value in op.operands]
    result = scalar_math.emit(op, operands, on_host=True)
    return [tensor.FromElementsOp(op.results[0].type, [result]).result]


def keep_on_host(block: ir.Block) -> None:
    """Put a barrier on each computed scalar that a tensor reads.

    Without it IREE moves scalar `arith` into the dispatch: i64 and all, once per workgroup.
    """
    kept = dict[ir.Value, ir.Value]()
    for op in bindings.operations(block):
        if op.name != "tensor.from_elements" or len(op.operands) != 1:
            continue
        scalar = op.operands[0]
        made_by = bindings.producer(scalar)
        if made_by is None or made_by.name in ("arith.constant", BARRIER):
            continue
        if scalar not in kept:
            with ir.InsertionPoint(op), op.location:
                kept[scalar] = util.OptimizationBarrierOp([scalar.type], [scalar]).results[0]
        op.operands[0] = kept[scalar]


def hoist(block: ir.Block) -> None:
    """Move the scalar math in front of the tensors: in between it would split the submission."""
    ops = bindings.operations(block)[:-1]
    scalars = [op for op in ops if _is_scalar(op)]
    first = next((op for op in ops if not _is_scalar(op)), None)
    if first is not None:
        for op in scalars:
            op.move_before(first)


def _is_scalar(op: ir.Operation) -> bool:
    if not op.name.startswith(("arith.", "math.", BARRIER)):
        return False
    return not any(isinstance(v.type, ir.RankedTensorType) for v in (*op.operands, *op.results))


def belongs_on_host(op: ir.Operation) -> bool:
    """What the VM cannot do stays rank-0 math, and runs inside the loop that reads it."""
    if not rewriting.is_rank0_math(op) or not scalar_math.runs_on_host(op):
        return False
    return all(rewriting.knows_on_host(value) for value in op.operands)


@dataclass(frozen=True, slots=True)
class FoldHyperparameters(Pass):
    """Rank-0 tensor math whose inputs the host knows becomes scalar math, constants folded.

    Equal operations are merged first.

    The host computes it once per step, on every backend alike; a dispatch receives the scalar as
    a push constant. Results that are scalars are returned as the host computed them.
    """

    name: ClassVar[str] = "fold-hyperparameters"

    def run(self, module: ir.Module) -> None:
        bindings.simplify(module)
        ops = [
            op for f in bindings.functions(module) for op in bindings.operations(bindings.body(f))
        ]
        names = dict.fromkeys(op.name for op in ops if rewriting.is_rank0_math(op))
        bindings.apply_greedily(module, {name: rank0_math_on_host_scalars for name in names})
        for function in bindings.functions(module):
            keep_on_host(bindings.body(function))
            hoist(bindings.body(function))

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for op in bindings.operations(bindings.body(function)):
                _check(op)


def _check(op: ir.Operation) -> None:
    if op.name == "tensor.extract":
        raise UnsupportedUpdateError(
            f"a host result depends on values of the device, at {bindings.where(op)}: the host "
            "would wait for the device in every step. Keep it a device variable"
        )
    if belongs_on_host(op):
        raise PassError(f"{op.name} at {bindings.where(op)} should have moved to the host")
