"""Products of two matrices, as `linalg.contract` spells them."""

from __future__ import annotations

from dataclasses import dataclass

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import ir, linalg


@dataclass(frozen=True, slots=True)
class Product:
    """`rows` x `columns` sums of so many terms."""

    rows: int
    columns: int
    terms: int
    left_transposed: bool
    """The left operand is stored as terms x rows."""
    right_transposed: bool
    """The right operand is stored as columns x terms."""


def read(op: ir.Operation) -> Product | None:
    """A product of float32 matrices into a float32 matrix; None for anything else."""
    if op.name != "linalg.contract":
        return None
    if any(str(bindings.element_type(value)) != "f32" for value in op.operands):
        return None
    maps = rewriting.indexing_maps(op)
    if maps[0].n_dims != 3:
        return None
    row, column, term = (ir.AffineExpr.get_dim(d) for d in range(3))
    left, right, result = ([*map_.results] for map_ in maps)
    if result != [row, column] or left not in ([row, term], [term, row]):
        return None
    if right not in ([term, column], [column, term]):
        return None
    sizes, other = bindings.shape(op.results[0]), bindings.shape(op.operands[0])
    if sizes is None or other is None:
        return None
    left_transposed = left == [term, row]
    return Product(
        rows=sizes[0],
        columns=sizes[1],
        terms=other[0 if left_transposed else 1],
        left_transposed=left_transposed,
        right_transposed=right == [column, term],
    )


def transposed(value: ir.Value) -> ir.Value:
    """A matrix stored the other way round, made before what reads it; at the insertion point."""
    shape = bindings.shape(value)
    assert shape is not None, "`read` knows the sizes of a product"
    out = rewriting.empty(shape[::-1], bindings.element_type(value))
    made = linalg.transpose(value, outs=[out], permutation=[1, 0])
    return rewriting.barrier(made.results[0])


def with_right(op: ir.Operation, right: ir.Value) -> None:
    """Replace a product whose right operand lies transposed by one of `right`, which does not."""
    left, _, start = op.operands
    first, _, result = op.attributes["indexing_maps"]
    row_major = ir.AffineMap.get(3, 0, [ir.AffineExpr.get_dim(2), ir.AffineExpr.get_dim(1)])
    maps = ir.ArrayAttr.get([first, ir.AffineMapAttr.get(row_major), result])
    made = linalg.contract(left, right, outs=[start], indexing_maps=maps)
    op.results[0].replace_all_uses_with(made)
    op.erase()
