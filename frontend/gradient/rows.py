"""GRADIENTS: op name -> rule, or why there is none."""

from __future__ import annotations

from types import MappingProxyType

from stepforge.frontend.gradient import contraction, elementwise, indexing, reductions, shaping
from stepforge.frontend.gradient.rule import Rows

GRADIENTS: Rows = MappingProxyType(
    {
        **elementwise.RULES,
        **shaping.RULES,
        **reductions.RULES,
        **contraction.RULES,
        **indexing.RULES,
    }
)
