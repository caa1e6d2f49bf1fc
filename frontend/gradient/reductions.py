"""Rows of reductions and of the cumulative sum."""

from __future__ import annotations

from stepforge.frontend.gradient.rule import Rows

RULES: Rows = {}
