"""Host scalars: bias corrections, schedules and counters, computed in float64 and int64.

The rows of a `ScalarProgram` use the graph's op names. Values are Python floats (IEEE float64),
ints (wrapped to int64) and bools. Nothing raises on special values: a logarithm of 0 is -inf, as on
a device.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepforge.runtime.errors import ArtifactFormatError
from stepforge.runtime.manifest import Argument, Function, Row, Scalar, ScalarProgram

INF = math.inf
NAN = math.nan


def _int64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _exact(operation: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """Integers wrap as int64 does; floats pass."""

    def apply(*operands: Scalar) -> Scalar:
        value = operation(*operands)
        return _int64(value) if type(value) is int else value

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
    return _int64(sign * (abs(a) // abs(int(b)))) if b else 0


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
    "log": (1, _total(_log)),
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
    return _int64(int(x))


# Narrow floats stay float64: the program's values are rounded once, when they leave it.
CASTS: Mapping[str, Callable[[Scalar], Scalar]] = {
    "float64": float, "float32": float, "float16": float, "bfloat16": float,
    "int64": _to_integer, "int32": _to_integer, "int16": _to_integer, "int8": _to_integer,
    "bool": bool,
}  # fmt: skip

Values = Mapping[str, Scalar]
Compiled = Callable[[Sequence[Scalar], Values], Scalar]
"""A row: (values of earlier rows, host variables) -> value."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A program made ready to run once per step."""

    rows: tuple[Compiled, ...]
    table: tuple[int, ...]
    results: tuple[tuple[str, int], ...]
    increments: tuple[tuple[str, int], ...] | None
    """(counter, amount) when the program does nothing but count, which most do."""

    def run(self, values: Values) -> tuple[list[Scalar], list[tuple[str, Scalar]]]:
        """(table entries, next values of host variables)."""
        if self.increments is not None:
            return [], [(name, _int64(int(values[name]) + by)) for name, by in self.increments]
        found: list[Scalar] = []
        for row in self.rows:
            found.append(row(found, values))
        return [found[i] for i in self.table], [(name, found[i]) for name, i in self.results]


def compile_program(program: ScalarProgram) -> Evaluator:
    """Look every op up once. Raises ArtifactFormatError for a program that breaks a rule."""
    rows = tuple(_compile(i, row) for i, row in enumerate(program.rows))
    outside = [i for i in (*program.table, *(i for _, i in program.results)) if i >= len(rows)]
    if outside:
        raise ArtifactFormatError(f"scalar program: no row {outside[0]} of {len(rows)}")
    return Evaluator(rows, program.table, program.results, _increments(program))


def inputs(program: ScalarProgram) -> tuple[str, ...]:
    """The host variables that a program reads."""
    return tuple(str(row[1]) for row in program.rows if row[0] == "input")


def _compile(position: int, row: Row) -> Compiled:
    where = f"scalar program, row {position} {list(row)}"
    match row:
        case ("input", str(name)):
            return lambda _found, values: values[name]
        case ("constant", (float() | int()) as value):
            return lambda _found, _values: value
        case ("cast", operand, str(dtype)) if dtype in CASTS:
            convert = CASTS[dtype]
            source = _operand(operand, position, where)
            return lambda found, _values: convert(found[source])
        case (str(name), *operands) if name in OPS and OPS[name][0] == len(operands):
            function = OPS[name][1]
            sources = [_operand(o, position, where) for o in operands]
            return lambda found, _values: function(*[found[i] for i in sources])
        case _:
            raise ArtifactFormatError(
                f"{where}: expected ['input', name], ['constant', number], ['cast', row, dtype] or "
                f"[op, row, ...] with an op of {', '.join(OPS)} and its number of operands"
            )


def _operand(operand: str | Scalar, position: int, where: str) -> int:
    if type(operand) is not int or not 0 <= operand < position:
        raise ArtifactFormatError(f"{where}: operand {operand!r} is no earlier row")
    return operand


def _increments(program: ScalarProgram) -> tuple[tuple[str, int], ...] | None:
    """Recognise programs whose results are all `input + integer constant` of the same variable."""
    if program.table:
        return None
    found: list[tuple[str, int]] = []
    for name, index in program.results:
        match program.rows[index]:
            case ("add", int(a), int(b)):
                pair = {
                    program.rows[a][0]: program.rows[a][1],
                    program.rows[b][0]: program.rows[b][1],
                }
            case _:
                return None
        amount = pair.get("constant")
        if pair.get("input") != name or type(amount) is not int:
            return None
        found.append((name, amount))
    return tuple(found)


DERIVATIONS: Mapping[str, Callable[[float], float] | None] = {
    "value": None,
    "one_minus": lambda x: 1.0 - x,
    "log": _total(_log),
}


@dataclass(frozen=True, slots=True)
class HostScalars:
    """What the host adds to a call: its last arguments, and the variables' values after it."""

    arguments: tuple[NDArray[np.floating] | float | int, ...]
    next_values: dict[str, Scalar]


def host_arguments(function: Function, variables: Collection[str]) -> tuple[Argument, ...]:
    """The arguments that travel as primitives; `variables` are the host variables' paths."""
    return tuple(
        a for a in function.arguments if a.role not in ("gradient", "input") and a.name in variables
    )


def evaluate_scalars(function: Function, values: Values) -> HostScalars:
    """Evaluate a function's host scalars once; `values` holds every host variable.

    The table is one array, last among the arguments; without one, each host argument is a number.
    """
    table: list[Scalar] = []
    following: list[tuple[str, Scalar]] = []
    program = function.scalars
    if program is not None:
        table, following = compile_program(program).run(values)
    primitives: list[NDArray[np.floating] | float | int] = [
        primitive(argument, values[argument.name]) for argument in host_arguments(function, values)
    ]
    if program is not None and program.table:
        with np.errstate(over="ignore"):
            primitives.append(np.array(table, np.float64).astype(program.dtype))
    return HostScalars(tuple(primitives), {**values, **dict(following)})


def primitive(argument: Argument, value: Scalar) -> float | int:
    """The number that is passed for a host argument; IREE rounds a float once to f32."""
    derive = DERIVATIONS[argument.derive]
    return value if derive is None else derive(value)
