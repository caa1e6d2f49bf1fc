"""Functions of layers, made of other ops: stable for every finite argument, as their gradients are.

None is an op of its own, so there is nothing to derive or emit. 16-bit floats are computed in
float32 where values are summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsIndex

from stepforge.frontend.dtypes import float32
from stepforge.frontend.ops.axes import Axes, as_axis
from stepforge.frontend.ops.logic import is_finite, less_equal, where
from stepforge.frontend.ops.reduce import reduce_max, reduce_sum
from stepforge.frontend.ops.shape import broadcast_to, reshape
from stepforge.frontend.ops.unary import (
    cast,
    erf,
    exp,
    expm1,
    log,
    log1p,
    reciprocal,
    sigmoid,
    stop_gradient,
    tanh,
)

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node


def relu(x: Node) -> Node:
    """max(x, 0); its derivative at 0 is 0."""
    return where(less_equal(x, 0.0), 0.0, x)


def leaky_relu(x: Node, slope: float = 0.01) -> Node:
    """x above 0, slope * x up to there; its derivative at 0 is the slope."""
    return where(less_equal(x, 0.0), x * slope, x)


def elu(x: Node, alpha: float = 1.0) -> Node:
    """x above 0, alpha * (exp(x) - 1) up to there; its derivative at 0 is alpha."""
    below = less_equal(x, 0.0)
    # exp of a large x is infinite, and so would be what a gradient multiplies by 0.
    return where(below, alpha * expm1(where(below, x, 0.0)), x)


def gelu(x: Node, *, exact: bool = True) -> Node:
    """x times the normal distribution's P(X <= x); exact=False: by tanh, within 0.0005 of it.

    (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.)
    """
    if exact:
        return 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1.0 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


def silu(x: Node) -> Node:
    """x * sigmoid(x), also called swish."""
    return x * sigmoid(x)


def softplus(x: Node) -> Node:
    """log(1 + exp(x))."""
    below = less_equal(x, 0.0)
    # Not maximum(x, 0) and -|x|: their kinks cancel, but not in a second derivative at 0.
    return where(below, 0.0, x) + log1p(exp(where(below, x, -x)))


def softmax(x: Node, axis: SupportsIndex = -1) -> Node:
    """exp(x) along one axis, divided by its sum."""

    def wide(x: Node, at: int) -> Node:
        powers = exp(_below_largest(x, at))
        # Not a quotient of every element: IREE 3.13 knows that as a softmax, makes one op of it
        # again, and then fails to compile it where a gradient uses the parts too.
        return powers * _along(reciprocal(reduce_sum(powers, at)), x, at)

    return _in_float32(x, as_axis("softmax", axis, x.type), wide)


def log_softmax(x: Node, axis: SupportsIndex = -1) -> Node:
    """log(softmax(x)) without the loss of digits of small probabilities."""

    def wide(x: Node, at: int) -> Node:
        shifted = _below_largest(x, at)
        return shifted - _along(log(reduce_sum(exp(shifted), at)), x, at)

    return _in_float32(x, as_axis("log_softmax", axis, x.type), wide)


def logsumexp(x: Node, axes: Axes = None, keep_dims: bool = False) -> Node:
    """log of the sum of exp(x) over the axes (None: all); -infinity of nothing but -infinities."""
    wide = cast(x, float32) if x.dtype.is_half else x
    largest = stop_gradient(reduce_max(wide, axes, keep_dims=True))
    largest = where(is_finite(largest), largest, 0.0)
    total = log(reduce_sum(exp(wide - broadcast_to(largest, x.shape)), axes, keep_dims))
    return cast(total + reshape(largest, total.shape), x.dtype)


def _in_float32(x: Node, axis: int, function: Callable[[Node, int], Node]) -> Node:
    wide = cast(x, float32) if x.dtype.is_half else x
    return cast(function(wide, axis), x.dtype)


def _below_largest(x: Node, axis: int) -> Node:
    """x less its largest element, so that exp cannot overflow; the shift has no derivative."""
    return x - _along(stop_gradient(reduce_max(x, axis)), x, axis)


def _along(value: Node, x: Node, axis: int) -> Node:
    """A value of the shape of x without the axis, repeated along it."""
    return broadcast_to(value, x.shape, [i for i in range(x.rank) if i != axis])
