"""Terms of sums, spelled so that IREE's code generator for CUDA and ROCm takes them for sums.

It takes the sum of x * scalar for a contraction and fails ("failed to distribute"). That of -x
becomes a difference, for which it knows no start value. It looks at the loop that makes the terms
too, which IREE copies into the sum even where others read it.
"""

from __future__ import annotations

from collections.abc import Iterator

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import arith, ir, math

#: The backends that misread them.
BACKENDS = ("cuda", "rocm")
_MISREAD = ("arith.mulf", "arith.negf")
_VIEWS = ("tensor.collapse_shape", "tensor.expand_shape")


def spell(reduction: ir.Operation) -> None:
    """Make fma(x, y, -0.0), the same bits, of each product or negation that becomes a term."""
    for value in _terms(reduction):
        made_by = bindings.producer(value)
        if made_by is not None and made_by.name in _MISREAD:
            _spell(made_by)


def _terms(reduction: ir.Operation) -> Iterator[ir.Value]:
    """The scalars that the body combines, and those that element-wise loops yield to it."""
    combiner = bindings.producer(_yielded(reduction)[0])
    if combiner is not None:
        yield from combiner.operands
    for operand in reduction.operands:
        loop = bindings.producer(operand)
        while loop is not None and loop.name in _VIEWS:
            operand = loop.operands[0]
            loop = bindings.producer(operand)
        if loop is not None and rewriting.is_elementwise_generic(loop):
            yield _yielded(loop)[list(loop.results).index(operand)]


def _yielded(loop: ir.Operation) -> list[ir.Value]:
    return list(bindings.operations(loop.regions[0].blocks[0])[-1].operands)


def _spell(op: ir.Operation) -> None:
    result = op.results[0]
    with ir.InsertionPoint(op), op.location:
        zero, minus_one = (
            arith.ConstantOp(result.type, ir.FloatAttr.get(result.type, number)).result
            for number in (-0.0, -1.0)
        )
        factors = [*op.operands, minus_one][:2]
        result.replace_all_uses_with(math.fma(factors[0], factors[1], zero))
    op.erase()
