"""A loop that copies, in a form that IREE does not see through.

IREE replaces a loop that only yields its inputs by those inputs. Where they are state that another
loop replaces, or were made out of the state that the copy goes to, that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import arith, ir, util


def emit(values: Sequence[ir.Value]) -> ir.Operation:
    """One loop at the insertion point that copies tensors of one shape, bit by bit."""
    number = ir.IntegerType.get_signless(32)
    zero = arith.ConstantOp(number, 0).result
    unknown = util.OptimizationBarrierOp([number], [zero]).results[0]
    shape = list(values[0].type.shape)
    identity = ir.AffineMap.get_identity(len(shape))

    def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        return [_same(scalar, unknown) for scalar in arguments[: len(values)]]

    return rewriting.build_generic(
        inputs=[(value, identity) for value in values],
        outputs=[(rewriting.empty(shape, bindings.element_type(v)), identity) for v in values],
        iterator_types=["parallel"] * len(shape),
        fill=fill,
    )


def _same(scalar: ir.Value, zero: ir.Value) -> ir.Value:
    """`scalar`, as the exclusive or of its bits with a zero that only the host knows to be one."""
    type_ = scalar.type
    bits = ir.IntegerType.get_signless(type_.width)
    if not isinstance(type_, ir.IntegerType):
        scalar = arith.BitcastOp(bits, scalar).result
    if bits.width < zero.type.width:
        zero = arith.TruncIOp(bits, zero).result
    if bits.width > zero.type.width:
        zero = arith.ExtUIOp(bits, zero).result
    same = arith.XOrIOp(scalar, zero).result
    return same if isinstance(type_, ir.IntegerType) else arith.BitcastOp(type_, same).result
