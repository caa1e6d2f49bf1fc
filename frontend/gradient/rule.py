"""What a row of the gradient table is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stepforge.frontend.graph import Node

Rule: TypeAlias = Callable[[Node, Node], Sequence[Node | None]]
"""(node, cotangent) -> for each input of the node, its share of the cotangent.

The cotangent has the node's type, and a share its input's. None: nothing flows, as to integers and
bools, and where the derivative is zero everywhere. A rule computes the shares of all inputs; those
that nobody asks for stay without a use, and `simplify` leaves them out.
"""


@dataclass(frozen=True, slots=True)
class NotDifferentiable:
    """An op without a derivative. `gradient` raises with the reason where it is asked for one."""

    reason: str


Rows: TypeAlias = Mapping[str, Rule | NotDifferentiable]
