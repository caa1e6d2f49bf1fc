"""fold-hyperparameters: scalar math on settables and counters moves to the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings
from stepforge.passes.bindings import arith, ir, tensor
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.pass_base import Pass


def host_scalar(value: ir.Value) -> ir.Value | None:
    """The SSA scalar inside a rank-0 tensor that the host knows; None where only the device does.

    A constant becomes a scalar constant at the current insertion point.
    """
    op = bindings.producer(value)
    if op is None or bindings.shape(value) != ():
        return None
    if op.name == "tensor.from_elements":
        return op.operands[0]
    constant = bindings.splat(op)
    return None if constant is None else arith.ConstantOp(constant.type, constant).result


def is_rank0_math(op: ir.Operation) -> bool:
    return is_math(op) and bindings.shape(op.results[0]) == ()


def is_math(op: ir.Operation) -> bool:
    """One result, each element of it a function of the same element of every operand."""
    return op.name.startswith(("arith.", "math.")) and op.name != "arith.constant"


def rank0_math_on_host_scalars(op: ir.Operation) -> list[ir.Value] | None:
    if not is_rank0_math(op):
        return None
    if any(bindings.shape(v) == () and not _is_host(v) for v in op.operands):
        return None
    operands = [host_scalar(v) if bindings.shape(v) == () else v for v in op.operands]
    result = bindings.scalar_operation(op, operands)
    return [tensor.FromElementsOp(op.results[0].type, [result]).result]


def _is_host(value: ir.Value) -> bool:
    op = bindings.producer(value)
    if op is None:
        return False
    return op.name == "tensor.from_elements" or bindings.splat(op) is not None


@dataclass(frozen=True, slots=True)
class FoldHyperparameters(Pass):
    """Rank-0 tensor math whose inputs the host knows becomes scalar math, constants folded.

    The host computes it once per step, on every backend alike; a dispatch receives the scalar as
    a push constant. Results that are scalars are returned as the host computed them.
    """

    name: ClassVar[str] = "fold-hyperparameters"

    def run(self, module: ir.Module) -> None:
        ops = [
            op for f in bindings.functions(module) for op in bindings.operations(bindings.body(f))
        ]
        names = dict.fromkeys(op.name for op in ops if is_rank0_math(op))
        bindings.apply_greedily(module, {name: rank0_math_on_host_scalars for name in names})

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
    if is_rank0_math(op) and rank0_is_host(op):
        raise PassError(f"{op.name} at {bindings.where(op)} should have moved to the host")


def rank0_is_host(op: ir.Operation) -> bool:
    return all(bindings.shape(v) != () or _is_host(v) for v in op.operands)
