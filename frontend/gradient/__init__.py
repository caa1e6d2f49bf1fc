"""Reverse-mode differentiation of graphs, over one table of rows.

    (dw,) = gradient(loss, [w])

`GRADIENTS` has for every op a rule, or the reason why it has no derivative. The rules are made of
the ops' own functions, so a gradient is a part of the graph like any other, with gradients of its
own.
"""

from __future__ import annotations

from stepforge.frontend.gradient.engine import followed, gradient
from stepforge.frontend.gradient.rows import GRADIENTS
from stepforge.frontend.gradient.rule import NotDifferentiable, Rule
from stepforge.frontend.ops import stop_gradient

__all__ = ["GRADIENTS", "NotDifferentiable", "Rule", "followed", "gradient", "stop_gradient"]
