"""Host scalars: bias corrections, schedules and counters, computed in float64 and int64.

The rows of a `ScalarProgram` use the graph's op names. Values are Python floats (IEEE float64),
ints (wrapped to int64) and bools. Nothing raises on special values: a logarithm of 0 is -inf, as on
a device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepforge.runtime.errors import ArtifactFormatError
from stepforge.runtime.manifest import Argument, Function, Row, Scalar, ScalarProgram
from stepforge.runtime.scalar_ops import CASTS, OPS, int64, log

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
            return [], [(name, int64(int(values[name]) + by)) for name, by in self.increments]
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
    "log": log,
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
