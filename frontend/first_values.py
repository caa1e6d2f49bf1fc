"""`initialize(seed)`: the first values of all device variables, as an entry point of its own.

The rule is that of `initializers`, in float32 where that module has float64; in float64 for float64
variables. Let u be the 24 bits of a word times 2^-24.

    uniform  base + scale * u, or where low = -high scale * (2u - 1): u and 2u - 1 are exact, so
             with a base of 0 what rounds is scale and the product.
    normal   mean + stddev * (sqrt(-2 ln(a)) * sin(2 pi (|b - 1/2| - 1/4))): a, b and the angle's
             factor are exact, and a sine within a quarter turn of 0 keeps its relative accuracy
             where the cosine of 2 pi b would lose it.

Numbers that differ from variable to variable (where its counter starts, base and scale) are
`unfolded_constant`s, so that variables of one shape and kind share their code.
"""

from __future__ import annotations

import math
from dataclasses import replace

from stepforge.frontend import ops
from stepforge.frontend.dtypes import DType, float32, float64, int32
from stepforge.frontend.entry_names import INITIALIZE
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import stream_start
from stepforge.frontend.program import Argument, EntryPoint, Program, Result
from stepforge.frontend.random import Key, threefry2x32
from stepforge.frontend.scalars import ScalarProgram
from stepforge.frontend.simplify import simplify
from stepforge.frontend.variables import VariableSpec

SEED = "seed"
MOST_ELEMENTS = 2**31 - 1
"""Of a random variable: the element's index is one int32 word of the counter."""


def with_initialize(program: Program) -> Program:
    """The Program with one more entry point, `initialize`, unless it would have nothing to give.

    Its one argument, of the name and role `seed`, is the seed's low and high 32 bits: int32 of
    shape (2,). Its results, of role `initial`, are the first values of device variables by their
    paths, in the order of the Program. Left out are variables of which the user gives the value
    (`required`), and random ones of more than `MOST_ELEMENTS`.
    """
    traced = Graph(INITIALIZE)
    seed = traced.input(SEED, int32, (2,))
    key = _word(seed, 0), _word(seed, 1)
    values = {x.name: _first_value(key, x) for x in program.variables if _is_given(x)}
    if not values:
        return program
    graph, renamed = simplify(values.values(), [seed], INITIALIZE)
    entry = EntryPoint(
        name=INITIALIZE,
        graph=graph,
        arguments=(Argument(SEED, SEED, renamed[seed], "device"),),
        results=tuple(Result(path, "initial", renamed[node]) for path, node in values.items()),
        scalars="arguments",
        scalar_program=ScalarProgram("float32", (), (), ()),
    )
    return replace(program, entry_points=(*program.entry_points, entry))


def _is_given(spec: VariableSpec) -> bool:
    if spec.storage != "device" or spec.initializer.kind == "required":
        return False
    return spec.initializer.fill is not None or math.prod(spec.shape) <= MOST_ELEMENTS


def _word(seed: Node, index: int) -> Node:
    return ops.reshape(ops.slice(seed, (index,), (index + 1,)), ())


def _first_value(key: Key, spec: VariableSpec) -> Node:
    if spec.initializer.fill is None:
        return _drawn(key, spec)
    # Named: results of two variables must not become one buffer.
    number = spec.initializer.sample(spec.name, spec.dtype, ()).item()
    return ops.unfolded_constant(key[0].graph, number, spec.dtype, spec.shape, spec.name)


def _drawn(key: Key, spec: VariableSpec) -> Node:
    dtype = float64 if spec.dtype == float64 else float32
    first, second = _bits(key, spec)
    kind, low, high = spec.initializer.distribution(spec.shape)
    if kind == "normal":
        value = _normal(_units(first + 1, dtype), _units(second, dtype))
        base, scale = low, high
    elif low == -high:
        value, base, scale = _units(first, dtype) * 2.0 - 1.0, 0.0, high
    else:
        value, base, scale = _units(first, dtype), low, high - low
    scaled = value * _number(key, scale, dtype, f"{spec.name} scale")
    return ops.cast(scaled + _number(key, base, dtype, f"{spec.name} base"), spec.dtype)


def _normal(a: Node, b: Node) -> Node:
    radius = ops.sqrt(ops.log(a) * -2.0)
    turn = abs(b - 0.5) - 0.25
    return radius * ops.sin(turn * (2.0 * math.pi))


def _bits(key: Key, spec: VariableSpec) -> tuple[Node, Node]:
    """The top 24 bits of both words of each element."""
    start = stream_start(spec.initializer.seed or 0, spec.name)
    low, high = (
        ops.unfolded_constant(
            key[0].graph, word - 2**32 * (word >> 31), int32, (), f"{spec.name} {i}"
        )
        for i, word in enumerate(start)
    )
    index = ops.reshape(ops.iota(key[0].graph, int32, (math.prod(spec.shape),)), spec.shape)
    words = threefry2x32(key, (index + low, ops.broadcast_to(high, spec.shape)))
    first, second = (ops.shift_right_logical(word, 8) for word in words)
    return first, second


def _units(bits: Node, dtype: DType) -> Node:
    return ops.cast(bits, dtype) * 2.0**-24


def _number(key: Key, value: float, dtype: DType, label: str) -> Node:
    return ops.unfolded_constant(key[0].graph, value, dtype, (), label)
