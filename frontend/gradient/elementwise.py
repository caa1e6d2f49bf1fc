"""Rows of element-wise ops."""

from __future__ import annotations

from stepforge.frontend.gradient.rule import Rows

RULES: Rows = {}
