"""Scalar math as IREE computes it right, for the host and for the bodies of loops.

IREE's VM runs host scalars, and the kernels of the `vmvx` backend. In 3.13 it compares wrongly with
NaN (`one`, `oge`, `uge`, `ord`), rounds where it should truncate (`fptosi`, `fptoui`) or should
divide with truncation (`remf`, on Vulkan inexact too: the frontend spells it otherwise), and on the
host drops a NaN that is the second operand of `maximumf` and `minimumf`. Each is spelled here by
operations that are right everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stepforge.passes import bindings
from stepforge.passes.bindings import arith, ir, math

#: What the VM computes right, or does as it is spelled below: tests compare each with NumPy.
HOST_OPERATIONS = frozenset(
    f"arith.{name}"
    for name in (
        *("addf", "subf", "mulf", "divf", "remf", "negf", "maximumf", "minimumf", "cmpf", "select"),
        *("addi", "subi", "muli", "divsi", "remsi", "maxsi", "minsi", "cmpi"),
        *("andi", "ori", "xori", "shli", "shrsi", "shrui"),
        *("sitofp", "uitofp", "fptosi", "fptoui", "extsi", "extui", "trunci", "bitcast"),
    )
) | frozenset(
    f"math.{name}"
    for name in (
        *("absf", "absi", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "powf"),
        *("sin", "cos", "tanh", "floor", "ceil", "round", "roundeven", "trunc"),
    )
)
HOST_TYPES = ("f32", "i64", "i32", "i8", "i1")

# The predicates of arith.cmpf, as the attribute numbers them.
_OGT, _OGE, _OLT, _OLE, _ONE, _ORD = 2, 3, 4, 5, 6, 7
_UGE, _ULE, _UNO = 10, 12, 14


def emit(op: ir.Operation, operands: Sequence[ir.Value], *, on_host: bool) -> ir.Value:
    """The math of `op` on single elements, at the insertion point."""
    spelled = (_ON_HOST if on_host else _EVERYWHERE).get(op.name)
    result = None if spelled is None else spelled(op, operands)
    return bindings.scalar_operation(op, operands) if result is None else result


def runs_on_host(op: ir.Operation) -> bool:
    values = [*op.operands, *op.results]
    types = [str(bindings.element_type(value)) for value in values]
    return op.name in HOST_OPERATIONS and all(type_ in HOST_TYPES for type_ in types)


def _compare(op: ir.Operation, operands: Sequence[ir.Value]) -> ir.Value | None:
    a, b = operands
    predicate = bindings.integer(op.attributes["predicate"])
    if predicate == _OGE:
        return _cmpf(_OLE, b, a)
    if predicate == _UGE:
        return _cmpf(_ULE, b, a)
    if predicate == _ONE:
        return arith.OrIOp(_cmpf(_OLT, a, b), _cmpf(_OGT, a, b)).result
    if predicate == _ORD:
        true = arith.ConstantOp(ir.IntegerType.get_signless(1), 1).result
        return arith.XOrIOp(_cmpf(_UNO, a, b), true).result
    return None


def _cmpf(predicate: int, a: ir.Value, b: ir.Value) -> ir.Value:
    return arith.CmpFOp(predicate, a, b).result


def _to_integer(op: ir.Operation, operands: Sequence[ir.Value]) -> ir.Value:
    return bindings.scalar_operation(op, [_truncated(operands[0])])


def _truncate(op: ir.Operation, operands: Sequence[ir.Value]) -> ir.Value:
    return _truncated(operands[0])


def _truncated(x: ir.Value) -> ir.Value:
    zero = arith.ConstantOp(x.type, 0.0).result
    negative = _cmpf(_OLT, x, zero)
    return arith.SelectOp(negative, _ceil(x), math.FloorOp(x).result).result


def _ceil(x: ir.Value) -> ir.Value:
    """Of float64 by floor: baseline x86-64 has nothing to link the other with."""
    if not isinstance(x.type, ir.F64Type):
        return math.CeilOp(x).result
    return arith.NegFOp(math.FloorOp(arith.NegFOp(x).result).result).result


def _remainder(op: ir.Operation, operands: Sequence[ir.Value]) -> ir.Value:
    """C's fmod from the remainder to the nearest quotient, which is exact; right for both."""
    a, b = operands
    size, zero = math.AbsFOp(b).result, arith.ConstantOp(a.type, 0.0).result
    rest = bindings.scalar_operation(op, [a, size])
    below = arith.AndIOp(_cmpf(_OGT, a, zero), _cmpf(_OLT, rest, zero)).result
    above = arith.AndIOp(_cmpf(_OLT, a, zero), _cmpf(_OGT, rest, zero)).result
    rest = arith.SelectOp(below, arith.AddFOp(rest, size).result, rest).result
    return arith.SelectOp(above, arith.SubFOp(rest, size).result, rest).result


def _with_nan(op: ir.Operation, operands: Sequence[ir.Value]) -> ir.Value:
    a, b = operands
    extreme = bindings.scalar_operation(op, operands)
    # A sum with a NaN is that NaN.
    return arith.SelectOp(_cmpf(_UNO, a, b), arith.AddFOp(a, b).result, extreme).result


_Spelling = Callable[[ir.Operation, Sequence[ir.Value]], "ir.Value | None"]
_EVERYWHERE: Mapping[str, _Spelling] = {
    "arith.cmpf": _compare,
    "arith.fptosi": _to_integer,
    "arith.fptoui": _to_integer,
}
_ON_HOST: Mapping[str, _Spelling] = {
    **_EVERYWHERE,
    "arith.maximumf": _with_nan,
    "arith.minimumf": _with_nan,
    "arith.remf": _remainder,
    "math.trunc": _truncate,
}
