"""Rows of contractions: a product's gradient is a product of the cotangent and the other side."""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.frontend import ops
from stepforge.frontend.gradient.rule import Rows
from stepforge.frontend.graph import Node
from stepforge.frontend.ops.contraction import Pairs, free_axes


def _dot_general(node: Node, cotangent: Node) -> tuple[Node, Node]:
    a, b = node.inputs
    contract: Pairs = node.attributes["contract"]
    batch: Pairs = node.attributes["batch"]
    stacked, ours = len(batch[0]), a.rank - len(contract[0])
    rows, columns = range(stacked, ours), range(ours, cotangent.rank)
    return (
        _share(cotangent, rows, columns, a, b, contract, batch),
        _share(cotangent, columns, rows, b, a, _swapped(contract), _swapped(batch)),
    )


def _swapped(pairs: Pairs) -> Pairs:
    ours, theirs = pairs
    return theirs, ours


def _share(
    cotangent: Node,
    kept: Sequence[int],
    summed: Sequence[int],
    x: Node,
    other: Node,
    contract: Pairs,
    batch: Pairs,
) -> Node:
    """The share of x: the cotangent times the other operand, over the other's own axes.

    kept, summed: where the cotangent has the axes that only x, and only the other, has. contract,
    batch: axes of x, then of the other.
    """
    theirs = free_axes(other.rank, batch[1], contract[1])
    stacked = range(len(batch[0]))
    # The axes of a product, as axes of x: batch, then x's own, and the contracted ones in the order
    # in which the other operand has them. The operand that comes first gives its own first.
    partner = dict(zip(contract[1], contract[0], strict=True))
    own = free_axes(x.rank, batch[0], contract[0])
    assert len(own) == len(kept)
    summed_axes = tuple(partner[axis] for axis in sorted(contract[1]))
    if (*batch[0], *summed_axes, *own) == tuple(range(x.rank)):
        return ops.dot_general(
            other, cotangent, contract=(theirs, summed), batch=(batch[1], stacked)
        )
    product = ops.dot_general(
        cotangent, other, contract=(summed, theirs), batch=(stacked, batch[1])
    )
    order = (*batch[0], *own, *summed_axes)
    places = [order.index(axis) for axis in range(x.rank)]
    return product if places == sorted(places) else ops.transpose(product, places)


RULES: Rows = {"dot_general": _dot_general}
