"""Numbers of a loop body under construction: Python's operators append `arith` operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stepforge.passes.bindings import arith, ir

# The predicates of arith.cmpf and arith.cmpi, as the attributes number them. Only those that VMVX
# gets right for NaN.
_OEQ, _OGT, _OLT = 1, 2, 4
_EQ, _SLT = 0, 2

SIGN_BIT: Final = -(2**31)
INFINITY_BITS: Final = 0x7F800000
SMALLEST_NORMAL_BITS: Final = 0x00800000


@dataclass(frozen=True, slots=True, eq=False)
class Flag:
    """An i1."""

    value: ir.Value

    def select(self, yes: Float | float, no: Float | float) -> Float:
        return Float(arith.SelectOp(self.value, _float(yes), _float(no)).result)


@dataclass(frozen=True, slots=True, eq=False)
class Integer:
    """An i32; wraps around."""

    value: ir.Value

    def __add__(self, other: Integer | int) -> Integer:
        return Integer(arith.AddIOp(self.value, _integer(other)).result)

    def __sub__(self, other: Integer | int) -> Integer:
        return Integer(arith.SubIOp(self.value, _integer(other)).result)

    def __neg__(self) -> Integer:
        return Integer(arith.SubIOp(_integer(0), self.value).result)

    def __and__(self, other: Integer | int) -> Integer:
        return Integer(arith.AndIOp(self.value, _integer(other)).result)

    def __xor__(self, other: Integer | int) -> Integer:
        return Integer(arith.XOrIOp(self.value, _integer(other)).result)

    def __lshift__(self, count: int) -> Integer:
        return Integer(arith.ShLIOp(self.value, _integer(count)).result)

    def __rshift__(self, count: int) -> Integer:
        """The sign comes in from the left."""
        return Integer(arith.ShRSIOp(self.value, _integer(count)).result)

    def __lt__(self, other: Integer | int) -> Flag:
        return Flag(arith.CmpIOp(_SLT, self.value, _integer(other)).result)

    def equals(self, other: Integer | int) -> Flag:
        return Flag(arith.CmpIOp(_EQ, self.value, _integer(other)).result)

    def at_most(self, limit: int) -> Integer:
        return Integer(arith.MinSIOp(self.value, _integer(limit)).result)

    def number(self) -> Float:
        return Float(arith.SIToFPOp(ir.F32Type.get(), self.value).result)

    def as_bits(self) -> Float:
        """The float of these bits."""
        return Float(arith.BitcastOp(ir.F32Type.get(), self.value).result)


@dataclass(frozen=True, slots=True, eq=False)
class Float:
    """An f32."""

    value: ir.Value

    def __add__(self, other: Float | float) -> Float:
        return Float(arith.AddFOp(self.value, _float(other)).result)

    def __radd__(self, other: float) -> Float:
        return Float(arith.AddFOp(_float(other), self.value).result)

    def __sub__(self, other: Float | float) -> Float:
        return Float(arith.SubFOp(self.value, _float(other)).result)

    def __rsub__(self, other: float) -> Float:
        return Float(arith.SubFOp(_float(other), self.value).result)

    def __mul__(self, other: Float | float) -> Float:
        return Float(arith.MulFOp(self.value, _float(other)).result)

    def __rmul__(self, other: float) -> Float:
        return self * other

    def __truediv__(self, other: Float | float) -> Float:
        return Float(arith.DivFOp(self.value, _float(other)).result)

    def __lt__(self, other: Float | float) -> Flag:
        return Flag(arith.CmpFOp(_OLT, self.value, _float(other)).result)

    def __gt__(self, other: Float | float) -> Flag:
        return Flag(arith.CmpFOp(_OGT, self.value, _float(other)).result)

    def equals(self, other: Float | float) -> Flag:
        return Flag(arith.CmpFOp(_OEQ, self.value, _float(other)).result)

    def bits(self) -> Integer:
        i32 = ir.IntegerType.get_signless(32)
        return Integer(arith.BitcastOp(i32, self.value).result)

    def between(self, low: float, high: float) -> Float:
        """Clamped; NaN stays."""
        below = (self > high).select(high, self)
        return (below < low).select(low, below)

    def size(self) -> Float:
        """|x|"""
        return (self.bits() & ~SIGN_BIT).as_bits()

    def with_sign_of(self, other: Float) -> Float:
        """The sign of `other` on a number that has none, -0 and NaN included."""
        return (self.bits() ^ (other.bits() & SIGN_BIT)).as_bits()


def polynomial(x: Float, coefficients: Sequence[float]) -> Float:
    """By Horner, the constant first."""
    *rest, last = coefficients
    total = x * last + rest.pop()
    for coefficient in reversed(rest):
        total = total * x + coefficient
    return total


#: 1.5 * 2^23: added to a number below 2^22 it leaves the nearest whole number in the last bits.
_ROUNDER: Final = 12582912.0
_ROUNDER_BITS: Final = 0x4B400000


def nearest_integer(x: Float) -> Integer:
    """While |x| < 2^22; anything for other numbers. Reads bits, as no driver may simplify."""
    return (x + _ROUNDER).bits() - _ROUNDER_BITS


def power_of_two(exponent: Integer) -> Float:
    """2^exponent, from -126 to 127."""
    return ((exponent + 127) << 23).as_bits()


def _float(x: Float | float) -> ir.Value:
    return x.value if isinstance(x, Float) else arith.ConstantOp(ir.F32Type.get(), float(x)).result


def _integer(x: Integer | int) -> ir.Value:
    if isinstance(x, Integer):
        return x.value
    return arith.ConstantOp(ir.IntegerType.get_signless(32), x).result
