"""How an error in the operands of an op becomes an error of its result: first-order rules.

An error is an upper bound of |computed - exact|, element by element, in float64. A bool whose value
hangs on a rounding has the error 1, any other 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend.ops import OPS

Array = NDArray[Any]
Rule = Callable[[Sequence[Array], Sequence[Array], Array, Mapping[str, Any]], Array]
"""(operands, their errors, the result, attributes) -> the error that the operands' cause."""

# A step of rounding below this is one of flushed denormals.
TINY = 2.0**-126
LARGE = 2.0**127


def _largest(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """Of functions that follow the larger error, such as a maximum of two."""
    return np.maximum.reduce(np.broadcast_arrays(*e))


def _sum(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return e[0] + e[1]


def _product(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return np.abs(x[0]) * e[1] + np.abs(x[1]) * e[0] + e[0] * e[1]


def _quotient(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return (e[0] + np.abs(result) * e[1]) / np.maximum(np.abs(x[1]) - e[1], 0.0)


def _root(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """|sqrt(x + e) - sqrt(x)| is at most sqrt(e), and e / sqrt(x) where that is less."""
    return np.minimum(np.sqrt(e[0]), e[0] / result)


def _inverse_root(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return np.where(e[0] < x[0], 1.0 / np.sqrt(x[0] - e[0]) - result, np.inf)


def _power(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    base, exponent = np.abs(x[0]), np.abs(x[1])
    return np.abs(result) * (exponent * e[0] / base + np.abs(np.log(base)) * e[1])


def _slope(derivative: Callable[[Array, Array], Array]) -> Rule:
    """Of a smooth function: |f'(x)| e, with `derivative` given x and f(x)."""

    def rule(
        x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
    ) -> Array:
        return np.abs(derivative(x[0], result)) * e[0]

    return rule


def _moved(name: str) -> Rule:
    """Of an op that moves or selects elements, or that is linear with positive weights."""

    def rule(
        x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
    ) -> Array:
        return OPS[name].numpy(*e, **attributes)

    return rule


def _any_doubt(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return np.where(np.add.reduce(np.broadcast_arrays(*e)) > 0, 1.0, 0.0)


def _finiteness(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """In doubt next to the largest float32, where rounding decides."""
    return np.where((e[0] > 0) & (np.abs(x[0]) + e[0] > LARGE) & np.isfinite(x[0]), 1.0, 0.0)


def _comparison(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """In doubt where the operands are closer than their errors."""
    distance = np.abs(np.float64(x[0]) - np.float64(x[1]))
    return np.where((e[0] + e[1] > 0) & (distance <= e[0] + e[1]), 1.0, 0.0)


def _choice(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    certain = np.where(x[0], e[1], e[2])
    doubt = np.maximum(e[1], e[2]) + np.abs(np.float64(x[1]) - np.float64(x[2]))
    return np.where(e[0] > 0, doubt, certain)


def _stepped(function: Callable[[Array], Array]) -> Rule:
    """Of a function with jumps: how far apart its values are at both ends of the error."""

    def rule(
        x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
    ) -> Array:
        return np.abs(np.subtract(function(x[0] + e[0]), function(x[0] - e[0]), dtype=np.float64))

    return rule


def _remainder(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """a - n b with a whole n; in doubt where the errors decide n."""
    quotient = x[0] / x[1]
    slack = (e[0] + np.abs(quotient) * e[1]) / np.maximum(np.abs(x[1]) - e[1], 0.0)
    same = np.trunc(quotient - slack) == np.trunc(quotient + slack)
    certain = e[0] + np.abs(np.trunc(quotient)) * e[1]
    return np.where(e[0] + e[1] == 0, 0.0, np.where(same, certain, np.abs(x[1]) + e[1]))


def _reduced_doubt(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return OPS["reduce_max"].numpy(e[0], **attributes)


def _product_of_all(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    relative = OPS["reduce_sum"].numpy(e[0] / np.abs(x[0]), **attributes)
    return np.abs(result) * np.expm1(relative)


def _bilinear(name: str) -> Rule:
    """Of a sum of products of two operands, such as a contraction or a convolution."""

    def rule(
        x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
    ) -> Array:
        def of(a: Array, b: Array) -> Array:
            return np.asarray(OPS[name].numpy(np.abs(a), np.abs(b), **attributes))

        return of(x[0], e[1]) + of(e[0], np.abs(x[1]) + e[1])

    return rule


def _gathered(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """Rows move with their errors; a row number in doubt may be any row's."""
    moved = OPS["gather"].numpy(e[0], x[1], **attributes)
    return moved if not e[1].any() else np.full(result.shape, np.inf)


def _scattered(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    added = OPS["scatter_add"].numpy(e[0], x[1], e[2], **attributes)
    return added if not e[1].any() else np.full(result.shape, np.inf)


def _bits_in_doubt(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    """A whole number that hangs on a rounding has any bits at all."""
    return np.where(np.add.reduce(e) > 0, np.inf, 0.0)


def _of_first(
    x: Sequence[Array], e: Sequence[Array], result: Array, attributes: Mapping[str, Any]
) -> Array:
    return e[0]


PROPAGATION: Mapping[str, Rule] = {
    **{name: _moved(name) for name in ("broadcast", "reshape", "transpose", "slice", "reverse")},
    **{name: _moved(name) for name in ("concatenate", "pad", "reduce_sum", "cumsum", "reduce_max")},
    "reduce_min": _reduced_doubt,
    "reduce_any": _reduced_doubt,
    "reduce_all": _reduced_doubt,
    "reduce_prod": _product_of_all,
    **dict.fromkeys(("neg", "abs", "maximum", "minimum", "stop_gradient"), _largest),
    **dict.fromkeys(("add", "sub"), _sum),
    "mul": _product,
    "div": _quotient,
    "rem": _remainder,
    "pow": _power,
    "sqrt": _root,
    "rsqrt": _inverse_root,
    "exp": _slope(lambda x, y: y),
    "expm1": _slope(lambda x, y: y + 1),
    "log": _slope(lambda x, y: 1 / x),
    "log1p": _slope(lambda x, y: 1 / (1 + x)),
    "sin": _slope(lambda x, y: np.ones_like(x)),
    "cos": _slope(lambda x, y: np.ones_like(x)),
    "tanh": _slope(lambda x, y: 1 - y * y),
    "sigmoid": _slope(lambda x, y: y * (1 - y)),
    "erf": _slope(lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "sign": _stepped(np.sign),
    "floor": _stepped(np.floor),
    "ceil": _stepped(np.ceil),
    "round": _stepped(np.rint),
    "is_finite": _finiteness,
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal"), _comparison),
    **dict.fromkeys(("equal", "not_equal"), _comparison),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), _any_doubt),
    "where": _choice,
    **{name: _bilinear(name) for name in ("dot_general", "convolution")},
    "gather": _gathered,
    "scatter_add": _scattered,
    **dict.fromkeys(("bit_and", "bit_or", "bit_xor"), _bits_in_doubt),
    **dict.fromkeys(("shift_left", "shift_right_logical", "float_bits"), _bits_in_doubt),
    "stochastic_round": _of_first,
}
