"""Copies that IREE does not see through.

IREE replaces a result that a loop yields as it read it by what it read. Where that is state that
another loop replaces, or was made out of the state that the copy goes to, the step goes wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import arith, ir, util


def emit(values: Sequence[ir.Value]) -> ir.Operation:
    """One loop at the insertion point that copies tensors of one shape, bit by bit."""
    zero = unknown_zero(ir.InsertionPoint.current.block)
    shape = list(values[0].type.shape)
    identity = ir.AffineMap.get_identity(len(shape))

    def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        return [same(scalar, zero) for scalar in arguments[: len(values)]]

    return rewriting.build_generic(
        inputs=[(value, identity) for value in values],
        outputs=[(rewriting.empty(shape, bindings.element_type(v)), identity) for v in values],
        iterator_types=["parallel"] * len(shape),
        fill=fill,
    )


def unknown_zero(block: ir.Block) -> ir.Value:
    """A zero that only the host knows to be one, made at the start of a block."""
    number = ir.IntegerType.get_signless(32)
    with ir.InsertionPoint.at_block_begin(block):
        zero = arith.ConstantOp(number, 0).result
        return util.OptimizationBarrierOp([number], [zero]).results[0]


def same(scalar: ir.Value, zero: ir.Value) -> ir.Value:
    """`scalar`, as the exclusive or of its bits with an unknown zero."""
    type_ = scalar.type
    bits = ir.IntegerType.get_signless(type_.width)
    if not isinstance(type_, ir.IntegerType):
        scalar = arith.BitcastOp(bits, scalar).result
    if bits.width < zero.type.width:
        zero = arith.TruncIOp(bits, zero).result
    if bits.width > zero.type.width:
        zero = arith.ExtUIOp(bits, zero).result
    result = arith.XOrIOp(scalar, zero).result
    return result if isinstance(type_, ir.IntegerType) else arith.BitcastOp(type_, result).result


def hide(loop: ir.Operation, position: int) -> None:
    """Make one result of a loop that yields an input no longer look like it."""
    with loop.location:
        zero = unknown_zero(loop.block)
    result = bindings.operations(loop.regions[0].blocks[0])[-1]
    with ir.InsertionPoint(result), loop.location:
        result.operands[position] = same(result.operands[position], zero)
