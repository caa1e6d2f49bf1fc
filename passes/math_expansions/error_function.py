"""erf: a polynomial near 0, and 1 - exp of one beyond."""

from __future__ import annotations

from typing import Final

from stepforge.passes.math_expansions.elements import Float, polynomial
from stepforge.passes.math_expansions.exponential import exp

_BORDER: Final = 0.925
_SATURATED: Final = 4.0
# erf(x) / x - 1, of x^2, for |x| <= 0.93, as a part of erf(x) within 2^-30.0.
_NEAR: Final = (
    0.12837916612625122,
    -0.3761262893676758,
    0.11283625662326813,
    -0.02685573138296604,
    0.005192405078560114,
    -0.0008049769676290452,
    7.996649947017431e-05,
)
# log(1 - erf(x)) / x from 0.92 to 4, as a part of erf(x) within 2^-30.3.
_FAR: Final = (
    -1.1286485195159912,
    -0.635151207447052,
    -0.10623703896999359,
    0.023762183263897896,
    -0.003642505966126919,
    0.00032281267340295017,
    -1.1231890312046744e-05,
)


def erf(x: Float) -> Float:
    size = x.size()
    square = size * size
    near = size + size * polynomial(square, _NEAR)
    limited = size.between(0.0, _SATURATED)
    far = 1 - exp(limited * polynomial(limited, _FAR))
    return (size < _BORDER).select(near, far).with_sign_of(x)
