"""Rows of element-wise ops.

Where a function has no derivative, the row takes this one:

- `abs` at 0: 0, as `sign(0)`. `maximum` and `minimum` of equal operands: each gets half; so does
  `clip` at its bounds. (`relu` has 0 at 0.)
- `sqrt` at 0: infinity, its limit; `rsqrt` and `log` too. A cotangent of 0 there gives NaN.
- `sign`, `floor`, `ceil`, `round`: 0 everywhere, steps included. `rem`: the quotient is constant.
- `pow`: the derivative by the base is 0 where the exponent is 0. By the exponent it is
  log(base) * power: 0 at base 0 with a positive exponent, NaN for a negative base.
- `where`: the branch that is not taken gets zeros, the condition nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType

from stepforge.frontend import ops
from stepforge.frontend.gradient.rule import NotDifferentiable, Rows, Rule
from stepforge.frontend.graph import Node

Shares = Sequence[Node | None]

_BOOL = NotDifferentiable("its result is a bool")


def _unary(share: Callable[[Node, Node, Node], Node]) -> Rule:
    """A rule from (cotangent, operand, result)."""

    def rule(node: Node, g: Node) -> Shares:
        return (share(g, node.inputs[0], node),)

    return rule


def _flat(node: Node, g: Node) -> Shares:
    """The derivative is zero (almost) everywhere."""
    return (None,) * len(node.inputs)


def _add(node: Node, g: Node) -> Shares:
    return g, g


def _sub(node: Node, g: Node) -> Shares:
    return g, -g


def _mul(node: Node, g: Node) -> Shares:
    a, b = node.inputs
    return g * b, g * a


def _div(node: Node, g: Node) -> Shares:
    share = g / node.inputs[1]
    return share, -(share * node)


def _rem(node: Node, g: Node) -> Shares:
    """a - n * b, with the whole number n constant around (a, b)."""
    a, b = node.inputs
    return g, -(g * ops.round((a - node) / b))


def _pow(node: Node, g: Node) -> Shares:
    base, exponent = node.inputs
    number = _number(exponent)
    if number is not None:
        return _power_by_base(g, base, number), None
    is_zero = ops.equal(exponent, 0.0)
    lower = ops.where(is_zero, 1.0, exponent - 1.0)
    by_base = ops.where(is_zero, 0.0, exponent * ops.pow(base, lower))
    log = ops.log(ops.where(ops.equal(base, 0.0), 1.0, base))
    return g * by_base, g * (log * node)


def _power_by_base(g: Node, base: Node, exponent: float) -> Node | None:
    if exponent in (0.0, 1.0):
        return g if exponent else None
    lower = base if exponent == 2.0 else ops.pow(base, exponent - 1.0)
    return g * (lower * exponent)


def _number(node: Node) -> float | None:
    """The number that a constant, maybe broadcast, has everywhere."""
    while node.op == "broadcast":
        node = node.inputs[0]
    value = node.attributes.get("value")
    return float(value) if isinstance(value, int | float) else None


def _larger(first: Callable[[Node, Node], Node], second: Callable[[Node, Node], Node]) -> Rule:
    """All of the cotangent to the operand that was taken, or half to each."""

    def rule(node: Node, g: Node) -> Shares:
        a, b = node.inputs
        half = g * 0.5
        by_a = ops.where(first(a, b), g, ops.where(second(a, b), 0.0, half))
        by_b = ops.where(first(a, b), 0.0, ops.where(second(a, b), g, half))
        return by_a, by_b

    return rule


def _where(node: Node, g: Node) -> Shares:
    condition = node.inputs[0]
    return None, ops.where(condition, g, 0.0), ops.where(condition, 0.0, g)


def _cast(node: Node, g: Node) -> Shares:
    x = node.inputs[0]
    return (ops.cast(g, x.dtype) if x.dtype.is_float else None,)


def _tanh(g: Node, x: Node, y: Node) -> Node:
    return g * ((1.0 - y) * (1.0 + y))


def _erf(g: Node, x: Node, y: Node) -> Node:
    return g * (ops.exp(-(x * x)) * (2 / math.sqrt(math.pi)))


RULES: Rows = MappingProxyType(
    {
        "add": _add,
        "sub": _sub,
        "mul": _mul,
        "div": _div,
        "rem": _rem,
        "pow": _pow,
        "maximum": _larger(ops.greater, ops.less),
        "minimum": _larger(ops.less, ops.greater),
        "neg": _unary(lambda g, x, y: -g),
        "abs": _unary(lambda g, x, y: g * ops.sign(x)),
        "sign": _flat,
        "sqrt": _unary(lambda g, x, y: g * 0.5 / y),
        "rsqrt": _unary(lambda g, x, y: g * -0.5 * (y / x)),
        "exp": _unary(lambda g, x, y: g * y),
        # Not y + 1, which has no digit left where exp(x) is small.
        "expm1": _unary(lambda g, x, y: g * ops.exp(x)),
        "log": _unary(lambda g, x, y: g / x),
        "log1p": _unary(lambda g, x, y: g / (1.0 + x)),
        "sin": _unary(lambda g, x, y: g * ops.cos(x)),
        "cos": _unary(lambda g, x, y: -(g * ops.sin(x))),
        "tanh": _unary(_tanh),
        # Not y * (1 - y), which has no digit left where y is close to 1.
        "sigmoid": _unary(lambda g, x, y: g * (y * ops.sigmoid(-x))),
        "erf": _unary(_erf),
        "floor": _flat,
        "ceil": _flat,
        "round": _flat,
        "stop_gradient": _flat,
        "cast": _cast,
        "where": _where,
        "equal": _BOOL,
        "not_equal": _BOOL,
        "less": _BOOL,
        "less_equal": _BOOL,
        "greater": _BOOL,
        "greater_equal": _BOOL,
        "logical_and": _BOOL,
        "logical_or": _BOOL,
        "logical_xor": _BOOL,
        "logical_not": _BOOL,
        "is_finite": _BOOL,
    }
)
