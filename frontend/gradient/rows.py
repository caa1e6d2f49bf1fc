"""GRADIENTS: op name -> rule, or why there is none."""

from __future__ import annotations

from types import MappingProxyType

from stepforge.frontend.gradient import (
    bits,
    contraction,
    convolution,
    elementwise,
    indexing,
    reductions,
    shaping,
)
from stepforge.frontend.gradient.rule import Rows

GRADIENTS: Rows = MappingProxyType(
    {
        **elementwise.RULES,
        **shaping.RULES,
        **reductions.RULES,
        **contraction.RULES,
        **bits.RULES,
        **convolution.RULES,
        **indexing.RULES,
    }
)
