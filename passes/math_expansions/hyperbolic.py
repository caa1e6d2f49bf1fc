"""tanh: from expm1."""

from __future__ import annotations

from typing import Final

from stepforge.passes.math_expansions.elements import Float
from stepforge.passes.math_expansions.exponential import expm1

_SATURATED: Final = 10.0


def tanh(x: Float) -> Float:
    """t / (t + 2) with t = expm1(2 |x|), and the sign of x.

    With expm1(-2 |x|) the error of t would count twice.
    """
    t = expm1(x.size().between(0.0, _SATURATED) * 2.0)
    return (t / (t + 2.0)).with_sign_of(x)
