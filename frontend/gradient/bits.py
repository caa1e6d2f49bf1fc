"""Rows of bit operations: whole numbers have no derivative, nor has what drawn bits decide."""

from __future__ import annotations

from stepforge.frontend.gradient.rule import NotDifferentiable, Rows
from stepforge.frontend.ops import bits

RULES: Rows = {op.name: NotDifferentiable("it works on the bits of numbers") for op in bits.OPS}
