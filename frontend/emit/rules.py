"""EMIT: op name -> rule. A rule appends the operations of one node and gives its value."""

from __future__ import annotations

from collections.abc import Mapping

from stepforge.frontend.emit import elementwise, logic, reductions, shaping
from stepforge.frontend.emit.widths import Rule

EMIT: Mapping[str, Rule] = {
    **shaping.RULES,
    **elementwise.RULES,
    **logic.RULES,
    **reductions.RULES,
}
