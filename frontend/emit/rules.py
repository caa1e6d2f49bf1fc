"""EMIT: op name -> rule. A rule appends the operations of one node and gives its value.

Operands and value are of the wide elements of their dtypes; operands are rounded, the value not.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.frontend.emit import (
    bits,
    contraction,
    convolution,
    elementwise,
    indexing,
    logic,
    reductions,
    shaping,
)
from stepforge.frontend.emit.widths import Rule
from stepforge.frontend.graph import Node

EMIT: Mapping[str, Rule] = {
    **shaping.RULES,
    **elementwise.RULES,
    **logic.RULES,
    **reductions.RULES,
    **contraction.RULES,
    **bits.RULES,
    **convolution.RULES,
    **indexing.RULES,
}

_PICK = frozenset(
    {"where", "maximum", "minimum", "reduce_max", "reduce_min", "sign", "stop_gradient", "gather"}
    | {"stochastic_round"}
)
_MOVE = frozenset(shaping.RULES) - {"iota"}
_EXACT = _PICK | _MOVE | {"input"}
_FLIP = frozenset({"neg", "abs"})


def needs_rounding(node: Node) -> bool:
    """Whether its value, computed from numbers of its dtype, need not be one of them."""
    if node.op in _EXACT:
        return False
    return not (node.op in _FLIP and node.dtype.is_float)
