"""The ops of host scalars, on Python floats (IEEE float64), ints (as int64) and bools.

Nothing raises on special values: a logarithm of 0 is -inf, as on a device.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

import numpy as np

from stepforge.runtime.manifest import Scalar

INF = math.inf
NAN = math.nan


def int64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _exact(operation: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """Integers wrap as int64 does; floats pass."""

    def apply(*operands: Scalar) -> Scalar:
        value = operation(*operands)
        return int64(value) if type(value) is int else value

    return apply


def _total(function: Callable[[float], float], *, overflow: float = INF) -> Callable[..., float]:
    """`math` raises where IEEE arithmetic has a value; give that value."""

    def apply(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return overflow
        except ValueError:
            return NAN

    return apply


def _log(x: float) -> float:
    return -INF if x == 0 else math.log(x)


def _log1p(x: float) -> float:
    return -INF if x == -1 else math.log1p(x)


def _neg(x: Scalar) -> Scalar:
    return -x


def _abs(x: Scalar) -> Scalar:
    return abs(x)


def _divide(a: Scalar, b: Scalar) -> Scalar:
    if isinstance(a, float):
        if b:
            return a / b
        return NAN if a == 0.0 or a != a else math.copysign(INF, a) * math.copysign(1.0, b)
    # Truncates; a zero divisor gives 0, as NumPy does, since a host must not trap.
    sign = 1 if (a < 0) == (b < 0) else -1
    return int64(sign * (abs(a) // abs(int(b)))) if b else 0


def _remainder(a: Scalar, b: Scalar) -> Scalar:
    if isinstance(a, int):
        return 0 if b == 0 else int(math.copysign(1, a)) * (abs(a) % abs(int(b)))
    return NAN if b == 0 or not math.isfinite(a) else math.fmod(a, b)


def _power(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(a), np.float64(b)))


def _rsqrt(x: float) -> float:
    return math.copysign(INF, x) if x == 0 else 1.0 / math.sqrt(x)


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + _exp(-x)) if x >= 0 else _exp(x) / (1.0 + _exp(x))


def _sign(x: Scalar) -> Scalar:
    if x != x:
        return x
    return type(x)(0 if x == 0 else math.copysign(1, x))


def _maximum(a: Scalar, b: Scalar) -> Scalar:
    if a == b:
        # IEEE 754-2019: -0 is less than +0.
        return b if math.copysign(1, a) < 0 else a
    return a if a != a or a > b else b


def _minimum(a: Scalar, b: Scalar) -> Scalar:
    if a == b:
        return a if math.copysign(1, a) < 0 else b
    return a if a != a or a < b else b


def _whole(function: Callable[[float], int]) -> Callable[[Scalar], Scalar]:
    def apply(x: Scalar) -> Scalar:
        if isinstance(x, int) or not math.isfinite(x):
            return x
        return math.copysign(float(function(x)), x)

    return apply


def _and(a: Scalar, b: Scalar) -> bool:
    return bool(a) and bool(b)


def _or(a: Scalar, b: Scalar) -> bool:
    return bool(a) or bool(b)


def _xor(a: Scalar, b: Scalar) -> bool:
    return bool(a) != bool(b)


def _where(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return a if condition else b


_exp = _total(math.exp)
log = _total(_log)

# name -> (number of operands, function)
OPS: Mapping[str, tuple[int, Callable[..., Scalar]]] = {
    "add": (2, _exact(operator.add)),
    "sub": (2, _exact(operator.sub)),
    "mul": (2, _exact(operator.mul)),
    "div": (2, _divide),
    "rem": (2, _remainder),
    "pow": (2, _power),
    "maximum": (2, _maximum),
    "minimum": (2, _minimum),
    "neg": (1, _exact(_neg)),
    "abs": (1, _exact(_abs)),
    "sign": (1, _sign),
    "sqrt": (1, _total(math.sqrt)),
    "rsqrt": (1, _total(_rsqrt)),
    "exp": (1, _exp),
    "expm1": (1, _total(math.expm1)),
    "log": (1, log),
    "log1p": (1, _total(_log1p)),
    "sin": (1, _total(math.sin)),
    "cos": (1, _total(math.cos)),
    "tanh": (1, math.tanh),
    "sigmoid": (1, _sigmoid),
    "floor": (1, _whole(math.floor)),
    "ceil": (1, _whole(math.ceil)),
    "round": (1, _whole(round)),
    "equal": (2, operator.eq),
    "not_equal": (2, operator.ne),
    "less": (2, operator.lt),
    "less_equal": (2, operator.le),
    "greater": (2, operator.gt),
    "greater_equal": (2, operator.ge),
    "logical_and": (2, _and),
    "logical_or": (2, _or),
    "logical_xor": (2, _xor),
    "logical_not": (1, operator.not_),
    "is_finite": (1, math.isfinite),
    "where": (3, _where),
}


def _to_integer(x: Scalar) -> Scalar:
    if isinstance(x, float) and not math.isfinite(x):
        return -(2**63)
    return int64(int(x))


# Narrow floats stay float64: the program's values are rounded once, when they leave it.
CASTS: Mapping[str, Callable[[Scalar], Scalar]] = {
    "float64": float, "float32": float, "float16": float, "bfloat16": float,
    "int64": _to_integer, "int32": _to_integer, "int16": _to_integer, "int8": _to_integer,
    "bool": bool,
}  # fmt: skip
