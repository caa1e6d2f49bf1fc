"""Sums of products over axes of two tensors: dot_general, matmul, einsum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stepforge.frontend.dtypes import Array, TensorType
from stepforge.frontend.errors import DTypeError, ShapeError
from stepforge.frontend.ops.apply import apply
from stepforge.frontend.ops.axes import Integers, as_axis
from stepforge.frontend.ops.op import NUMBER, Attributes, Op, Types, check_kind, show
from stepforge.frontend.ops.reduce import reduce_sum
from stepforge.frontend.ops.shape import transpose

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node

Pairs: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Axes of a, and axes of b that they belong to."""


def free_axes(rank: int, *used: Sequence[int]) -> tuple[int, ...]:
    """The axes that are in none of `used`, in order."""
    taken = {axis for axes in used for axis in axes}
    return tuple(axis for axis in range(rank) if axis not in taken)


def _infer_dot_general(types: Types, attributes: Attributes) -> TensorType:
    a, b = types
    contract: Pairs = attributes["contract"]
    batch: Pairs = attributes["batch"]
    if a.dtype != b.dtype:
        raise DTypeError(
            "dot_general: operands must have the same dtype, there is no implicit promotion",
            expected=a.dtype.name,
            got=show(types),
            hint=f'convert one side, for example with ops.cast(x, "{a.dtype.name}")',
        )
    check_kind("dot_general", a.dtype, NUMBER)
    for what, pairs in (("contract", contract), ("batch", batch)):
        _check_pairs(what, pairs, a, b)
    for side, type_ in enumerate(types):
        used = (*batch[side], *contract[side])
        if len(set(used)) != len(used) or any(not 0 <= axis < type_.rank for axis in used):
            expected = f"each axis of {type_} at most once"
            raise ShapeError("dot_general: axes of an operand", expected=expected, got=used)
    kept = [a.shape[axis] for axis in (*batch[0], *free_axes(a.rank, batch[0], contract[0]))]
    kept += [b.shape[axis] for axis in free_axes(b.rank, batch[1], contract[1])]
    return TensorType(a.dtype, tuple(kept))


def _check_pairs(what: str, pairs: Pairs, a: TensorType, b: TensorType) -> None:
    ours, theirs = pairs
    if len(ours) != len(theirs):
        rule = f"dot_general: {what} pairs an axis of one operand with one of the other"
        raise ShapeError(rule, expected="as many axes of both", got=pairs)
    for i, j in zip(ours, theirs, strict=True):
        if i < a.rank and j < b.rank and a.shape[i] != b.shape[j]:
            raise ShapeError(
                f"dot_general: the sizes of {what} axes must be equal",
                expected=f"axis {i} of {a} as axis {j} of {b}",
                got=f"{a.shape[i]} and {b.shape[j]}",
            )


def _dot_general(a: Array, b: Array, contract: Pairs, batch: Pairs) -> Array:
    """One product of stacked matrices [batch, free a, contracted] x [batch, contracted, free b]."""
    ours = free_axes(a.ndim, batch[0], contract[0])
    theirs = free_axes(b.ndim, batch[1], contract[1])
    left = np.transpose(a, (*batch[0], *ours, *contract[0]))
    right = np.transpose(b, (*batch[1], *contract[1], *theirs))
    stacked = [a.shape[i] for i in batch[0]]
    rows, columns = [a.shape[i] for i in ours], [b.shape[i] for i in theirs]
    terms = math.prod(a.shape[i] for i in contract[0])
    product = np.matmul(
        left.reshape(*stacked, math.prod(rows), terms),
        right.reshape(*stacked, terms, math.prod(columns)),
    )
    return product.reshape([*stacked, *rows, *columns])


DOT_GENERAL = Op(
    "dot_general", _infer_dot_general, _dot_general, 2, attributes=("contract", "batch"), wide=True
)

OPS: tuple[Op, ...] = (DOT_GENERAL,)


def dot_general(
    a: Node,
    b: Node,
    *,
    contract: tuple[Integers, Integers],
    batch: tuple[Integers, Integers] = ((), ()),
) -> Node:
    """Products of a and b, summed over paired axes.

    contract: axes of a and of b that are summed over, in pairs of equal sizes. batch: axes that
    both have, in pairs too. The result's axes are the batch axes in the order given, then the other
    axes of a, then those of b. Numbers only; integers wrap; 16-bit floats are summed in float32.
    The order of a float sum is unspecified. Raises ShapeError, DTypeError.
    """
    return apply(DOT_GENERAL, a, b, contract=_pairs(a, b, contract), batch=_pairs(a, b, batch))


def _pairs(a: Node, b: Node, axes: tuple[Integers, Integers]) -> Pairs:
    ours = tuple(as_axis("dot_general", axis, a.type) for axis in axes[0])
    return ours, tuple(as_axis("dot_general", axis, b.type) for axis in axes[1])


def matmul(a: Node, b: Node) -> Node:
    """The product of matrices: a[.., m, k] and b[.., k, n] give [.., m, n].

    The axes before the last two are equal (nothing is broadcast), or b is a matrix that every
    matrix of a is multiplied with. A vector is a row as a and a column as b, and its axis is
    missing in the result. Raises ShapeError.
    """
    if not a.rank or not b.rank:
        got = show((a.type, b.type))
        raise ShapeError("matmul: a number is not a matrix", got=got, hint="multiply with *")
    stacked = max(b.rank - 2, 0)
    inner = a.rank - 1, max(b.rank - 2, 0)
    if stacked and a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(
            "matmul: the axes before the last two must be equal, or b a single matrix",
            expected=a.shape[:-2],
            got=show((a.type, b.type)),
        )
    if a.shape[inner[0]] != b.shape[inner[1]]:
        raise ShapeError(
            "matmul: the last axis of a and the last but one of b must have the same size",
            expected=a.shape[inner[0]],
            got=show((a.type, b.type)),
        )
    axes = tuple(range(stacked))
    return dot_general(a, b, contract=((inner[0],), (inner[1],)), batch=(axes, axes))


def einsum(equation: str, a: Node, b: Node | None = None) -> Node:
    """Einstein's notation for one or two operands: einsum("bqd,bkd->bqk", a, b).

    Each letter names an axis; letters that the result lacks are summed over. A letter stands once
    in each operand, and the result is written out. Raises ShapeError.
    """
    nodes = [a] if b is None else [a, b]
    names, result = _parse(equation, nodes)
    if b is None:
        (labels,) = names
        return _arranged(*_summed(a, labels, result), result)
    left, ours = _summed(a, names[0], result + names[1])
    right, theirs = _summed(b, names[1], result + names[0])
    shared = [x for x in ours if x in theirs]
    summed, kept = [x for x in shared if x not in result], [x for x in shared if x in result]
    product = dot_general(
        left,
        right,
        contract=([ours.index(x) for x in summed], [theirs.index(x) for x in summed]),
        batch=([ours.index(x) for x in kept], [theirs.index(x) for x in kept]),
    )
    labels = [*kept, *(x for x in ours if x not in shared), *(x for x in theirs if x not in shared)]
    return _arranged(product, "".join(labels), result)


def _parse(equation: str, nodes: Sequence[Node]) -> tuple[list[str], str]:
    left, arrow, result = equation.replace(" ", "").partition("->")
    names = left.split(",")
    parts = [*names, result]
    letters = all(x.isalpha() or not x for x in parts)
    once = all(len(set(x)) == len(x) for x in parts)
    if not arrow or len(names) != len(nodes) or not letters or not once:
        raise ShapeError(
            "einsum: the equation names each axis of each operand, and the result's",
            expected=f"{','.join('ij' for _ in nodes)}->..., each letter once an operand",
            got=repr(equation),
        )
    sizes: dict[str, int] = {}
    for labels, node in zip(names, nodes, strict=True):
        if len(labels) != node.rank:
            expected = f"{node.rank} letters for {node.type}"
            raise ShapeError("einsum: one letter per axis", expected=expected, got=repr(labels))
        for label, size in zip(labels, node.shape, strict=True):
            if sizes.setdefault(label, size) != size:
                got = f"{sizes[label]} and {size} in {show([x.type for x in nodes])}"
                raise ShapeError(f"einsum: axis {label!r} must have one size", got=got)
    if unknown := [x for x in result if x not in sizes]:
        expected = f"letters of {left!r}"
        raise ShapeError("einsum: the result has axes of its own", expected=expected, got=unknown)
    return names, result


def _summed(node: Node, labels: str, needed: str) -> tuple[Node, str]:
    """The node without the axes that nothing else needs, and what names the others."""
    axes = [i for i, label in enumerate(labels) if label not in needed]
    kept = "".join(x for x in labels if x in needed)
    return (reduce_sum(node, axes) if axes else node), kept


def _arranged(node: Node, labels: str, result: str) -> Node:
    return node if labels == result else transpose(node, [labels.index(x) for x in result])
