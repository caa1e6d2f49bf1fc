"""Rows of bit operations: whole numbers have no derivative."""

from __future__ import annotations

from stepforge.frontend.gradient.rule import NotDifferentiable, Rows
from stepforge.frontend.ops import bits

RULES: Rows = {op.name: NotDifferentiable("its operands are whole numbers") for op in bits.OPS}
