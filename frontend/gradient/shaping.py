"""Rows of ops that move elements, and of sources."""

from __future__ import annotations

from stepforge.frontend.gradient.rule import Rows

RULES: Rows = {}
