"""One table of cases for the ops of a graph. Tests of other areas run the same rows.

An op has at least one row; a row's reference is written apart from the op's own NumPy rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from stepforge.frontend import ops
from stepforge.frontend.dtypes import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)
from stepforge.frontend.graph import Node
from support.op_case import INF, NAN, Array, Domain, OpCase

FLOATS = (float64, float32, float16, bfloat16)
INTEGERS = (int64, int32, int8)
NUMBERS = (*FLOATS, *INTEGERS)
ALL = (*NUMBERS, bool_)

EDGES = (0.0, -0.0, 1.0, -1.0, INF, -INF, NAN)
REAL = Domain(special=EDGES)
HALVES = Domain(-9, 9, special=(*EDGES, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5))
POSITIVE = Domain(0.01, 50.0, special=(*EDGES, 1e-4))
NONZERO = Domain(1.0, 9.0)
SMALL = Domain(-2, 2, special=(*EDGES, 1e-4, -1e-4))
CONDITION = Domain(dtype=bool_)
ROWS = Domain(shape=(3, 5))
TERMS = Domain(0.5, 2.0, shape=(3, 7, 2))
FEW = Domain(0.5, 2.0, shape=(3, 4))
EXTREMES = Domain(shape=(8, 7), special=(0.0, 1.0, -1.0, INF, -INF))
BOOLS = Domain(shape=(4, 2, 1), dtype=bool_)

LIBRARY = "math libraries round their own results, within 1 ULP beside the last rounding"


def unary(
    name: str,
    reference: Callable[..., Any],
    domain: Domain = REAL,
    dtypes: tuple[DType, ...] = FLOATS,
    **options: Any,
) -> OpCase:
    op = name.partition("[")[0]
    row: dict[str, Any] = {"name": name, "op": op, "build": getattr(ops, op)}
    return OpCase(reference=reference, **{**row, "domains": (domain,), "dtypes": dtypes, **options})


def library(name: str, reference: Callable[..., Any], domain: Domain, ulp: float = 1.5) -> OpCase:
    return unary(name, reference, domain, ulp=ulp, why=LIBRARY)


def binary(
    name: str,
    reference: Callable[..., Any],
    second: Domain = REAL,
    dtypes: tuple[DType, ...] = NUMBERS,
    first: Domain = REAL,
    **options: Any,
) -> OpCase:
    return unary(name, reference, dtypes=dtypes, **{"domains": (first, second), **options})


def shape_case(
    name: str,
    op: str,
    build: Callable[..., Node],
    reference: Callable[..., Any],
    *domains: Domain,
    **options: Any,
) -> OpCase:
    row: dict[str, Any] = {"name": name, "op": op, "domains": domains, "dtypes": ALL, **options}
    return OpCase(build=build, reference=reference, **row)


def elementwise(function: Callable[..., float]) -> Callable[..., Array]:
    """A Python function of numbers, at each element, with finite operands; else NaN."""

    def whole(*arrays: Array) -> Array:
        wide = np.broadcast_arrays(*arrays)
        values = [
            function(*row) if all(math.isfinite(x) for x in row) else NAN
            for row in zip(*(x.ravel().tolist() for x in wide), strict=True)
        ]
        return np.array(values).reshape(wide[0].shape)

    return whole


def quotient(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    return np.abs(a) // np.abs(b) * np.where((a < 0) == (b < 0), 1, -1)


def remainder(a: Array, b: Array) -> Array:
    if a.dtype.kind == "i":
        return a - quotient(a, b) * b
    return elementwise(lambda x, y: math.fmod(x, y) if y else NAN)(a, b)


def nearest(x: Array) -> Array:
    return np.where(np.isfinite(x), elementwise(lambda v: float(round(v)))(x), x)


def either(pick: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The first operand where `pick` says so, else the second; NaN where either is."""
    return lambda a, b: np.where((a != a) | (b != b), a + b, np.where(pick(a, b), a, b))


def error_function(x: Array) -> Array:
    """To 25 digits: math.erf is what the op's own rule calls."""
    digits = [mpmath.nstr(mpmath.erf(float(v)), 25) for v in x.ravel()]
    return np.array([np.longdouble(text) for text in digits]).reshape(x.shape)


def fold(step: Callable[[Array, Array], Array], first: float, axis: int) -> Callable[..., Array]:
    """A reduction over one axis as a loop."""

    def whole(x: Array) -> Array:
        total = np.full(np.delete(x.shape, axis), first, x.dtype)
        for i in range(x.shape[axis]):
            total = step(total, np.take(x, i, axis))
        return total

    return whole


def as_float(x: Array) -> Array:
    return x.astype(np.longdouble)


SOURCES = (
    OpCase(name="input", op="input", build=lambda x: x, reference=lambda x: x, domains=(REAL,),
           dtypes=ALL),
    shape_case("constant", "constant", lambda x: x.graph.constant(0.1, x.dtype),
               lambda x: np.longdouble(0.1), ROWS, dtypes=FLOATS),
    shape_case("constant[filled]", "constant", lambda x: x.graph.constant(-3, x.dtype, (2, 3)),
               lambda x: np.full((2, 3), -3), ROWS, dtypes=NUMBERS),
    shape_case("constant[nested]", "constant",
               lambda x: x.graph.constant([[0, 1], [2, 3]], x.dtype),
               lambda x: np.arange(4).reshape(2, 2), ROWS, dtypes=NUMBERS),
    shape_case("constant[bool]", "constant", lambda x: x.graph.constant([True, False], "bool"),
               lambda x: np.array([1, 0], bool), ROWS, dtypes=(bool_,)),
    shape_case("unfolded_constant", "unfolded_constant",
               lambda x: ops.unfolded_constant(x.graph, -3, x.dtype, (2, 3), "n"),
               lambda x: np.full((2, 3), -3), ROWS, dtypes=NUMBERS),
    shape_case("unfolded_constant[0]", "unfolded_constant",
               lambda x: ops.unfolded_constant(x.graph, 0.1, x.dtype, (), "n"),
               lambda x: np.longdouble(0.1), ROWS, dtypes=FLOATS),
    shape_case("unfolded_constant[bool]", "unfolded_constant",
               lambda x: ops.unfolded_constant(x.graph, True, "bool", (3,), "n"),
               lambda x: np.ones(3, bool), ROWS, dtypes=(bool_,)),
    shape_case("iota", "iota", lambda x: ops.iota(x.graph, x.dtype, (3, 4), 1),
               lambda x: np.array([[0, 1, 2, 3]] * 3), ROWS, dtypes=NUMBERS),
    shape_case("iota[first]", "iota", lambda x: ops.iota(x.graph, x.dtype, (3, 4), 0),
               lambda x: np.array([[0, 1, 2]] * 4).T, ROWS, dtypes=NUMBERS),
)  # fmt: skip

ARITHMETIC = (
    binary("add", lambda a, b: a + b),
    binary("sub", lambda a, b: a - b),
    binary("mul", lambda a, b: a * b),
    binary("div", quotient, dtypes=FLOATS),
    binary("div[integer]", quotient, NONZERO, INTEGERS, Domain(-99, 99)),
    binary("rem", remainder, first=Domain(-99, 99, special=(0.0, -0.0, 3.5)), second=NONZERO),
    binary("pow", np.power, first=POSITIVE, dtypes=FLOATS, ulp=1.5, why=LIBRARY),
    binary("maximum", either(lambda a, b: a > b)),
    binary("minimum", either(lambda a, b: a < b)),
    unary("clip", lambda x: np.where(x < -1, -1, np.where(x > 2, 2, x)), dtypes=NUMBERS,
          op="minimum", build=lambda x: ops.clip(x, -1, 2)),
    binary("add[scalar]", lambda a, b: a + b, op="broadcast", second=Domain(shape=())),
)  # fmt: skip

UNARY = (
    unary("neg", lambda x: 0 - x, dtypes=NUMBERS),
    unary("abs", lambda x: np.where(x < 0, -x, x), dtypes=NUMBERS),
    unary("sign", lambda x: np.where(x != x, x, (x > 0) * 1 - (x < 0) * 1), dtypes=NUMBERS),
    unary("sqrt", lambda x: np.where(x < 0, NAN, np.abs(x) ** np.longdouble(0.5)), POSITIVE),
    unary("rsqrt", lambda x: 1 / np.sqrt(x), POSITIVE, ulp=1.5, why="a root, then a quotient"),
    library("exp", np.exp, Domain(-20, 10, EDGES)),
    library("expm1", np.expm1, SMALL),
    library("log", np.log, POSITIVE),
    library("log1p", np.log1p, Domain(-0.9, 9, (*EDGES, 1e-4, -1e-4))),
    library("sin", np.sin, REAL),
    library("cos", np.cos, REAL),
    library("tanh", np.tanh, SMALL),
    unary("sigmoid", lambda x: 1 / (1 + np.exp(-x)), Domain(-20, 20, EDGES), ulp=3,
          why="exp within 1.5 ULP, a sum, a quotient"),
    library("erf", error_function, Domain(-3, 3, (*EDGES, 1e-4, -1e-4))),
    unary("stop_gradient", lambda x: x, dtypes=ALL),
    unary("floor", lambda x: np.where(np.isfinite(x), x // 1, x), HALVES),
    unary("ceil", lambda x: np.where(np.isfinite(x), -(-x // 1), x), HALVES),
    unary("round", nearest, HALVES),
    unary("reciprocal", lambda x: 1 / x, op="div"),
    unary("square", lambda x: x * x, dtypes=NUMBERS, op="mul"),
)  # fmt: skip

LOGIC = (
    binary("equal", lambda a, b: ~((a < b) | (a > b) | (a != a) | (b != b)), result=bool_),
    binary("not_equal", lambda a, b: (a < b) | (a > b) | (a != a) | (b != b), result=bool_),
    binary("less", lambda a, b: b > a, result=bool_),
    binary("less_equal", lambda a, b: b >= a, result=bool_),
    binary("greater", lambda a, b: b < a, result=bool_),
    binary("greater_equal", lambda a, b: b <= a, result=bool_),
    binary("equal[bool]", lambda a, b: ~(a ^ b), dtypes=(bool_,)),
    binary("logical_and", lambda a, b: a & b, dtypes=(bool_,)),
    binary("logical_or", lambda a, b: a | b, dtypes=(bool_,)),
    binary("logical_xor", lambda a, b: a ^ b, dtypes=(bool_,)),
    unary("logical_not", lambda a: ~a, dtypes=(bool_,)),
    unary("is_finite", lambda x: np.abs(x) < INF, result=bool_),
    shape_case("where", "where", ops.where, lambda c, a, b: a * c + b * ~c,
               CONDITION, Domain(), Domain(), dtypes=NUMBERS),
    shape_case("where[bool]", "where", ops.where, lambda c, a, b: c & a | ~c & b,
               CONDITION, Domain(), Domain(), dtypes=(bool_,)),
)  # fmt: skip

CASTS = tuple(
    shape_case(f"cast[{target.name}]", "cast", lambda x, to=target: ops.cast(x, to), reference,
               Domain(-100, 100, (0.0, -0.0, 0.5, 1.5)), result=target,
               dtypes=tuple(dtype for dtype in DTYPES if dtype != target))
    for target in DTYPES
    for reference in [
        as_float if target.is_float else
        (lambda x: x.astype(bool)) if target is bool_ else
        (lambda x: np.array([int(v) for v in x.ravel()]).reshape(x.shape))
    ]
)  # fmt: skip

SHAPES = (
    shape_case("broadcast[axes]", "broadcast", lambda x: ops.broadcast_to(x, (4, 3, 2, 5), (1, 3)),
               lambda x: np.array([[[row, row] for row in x]] * 4), ROWS),
    shape_case("broadcast[ones]", "broadcast", lambda x: ops.broadcast_to(x, (2, 3, 5)),
               lambda x: np.array([[row.tolist() * 5 for row in x]] * 2), Domain(shape=(3, 1))),
    shape_case("reshape", "reshape", lambda x: ops.reshape(x, (5, 3)),
               lambda x: np.array_split(x.ravel(), 5), ROWS),
    shape_case("transpose", "transpose", ops.transpose,
               lambda x: np.array([x[:, i] for i in range(5)]), ROWS),
    shape_case("transpose[rank 3]", "transpose", lambda x: ops.transpose(x, (1, 0, 2)),
               lambda x: np.stack(list(x), axis=1), TERMS),
    shape_case("slice", "slice", lambda x: ops.slice(x, (1, 0), (3, 5), (1, 2)),
               lambda x: x[1:3, 0:5:2], ROWS),
    shape_case("concatenate", "concatenate", lambda a, b: ops.concatenate([a, b, a], 1),
               lambda a, b: [[*p, *q, *p] for p, q in zip(a, b, strict=True)],
               ROWS, Domain(shape=(3, 2))),
    shape_case("pad", "pad", lambda x, v: ops.pad(x, v, (1, 0), (0, 2)),
               lambda x, v: [[v] * 7, *([*row, v, v] for row in x)], ROWS, Domain(shape=())),
    shape_case("reverse", "reverse", lambda x: ops.reverse(x, 1),
               lambda x: x[:, [4, 3, 2, 1, 0]], ROWS),
)  # fmt: skip

SUMS = "7 additions, each rounded, of positive terms"
REDUCTIONS = (
    shape_case("reduce_sum", "reduce_sum", lambda x: ops.reduce_sum(x, 1),
               fold(np.add, 0, 1), TERMS, dtypes=NUMBERS, ulp=4, why=SUMS),
    shape_case("reduce_sum[all]", "reduce_sum", ops.reduce_sum,
               lambda x: sum(x.ravel().tolist()), FEW, dtypes=NUMBERS, ulp=6, why=SUMS),
    shape_case("reduce_sum[kept]", "reduce_sum", lambda x: ops.reduce_sum(x, (-1, 0), True),
               lambda x: [[[v] for v in fold(np.add, 0, 0)(fold(np.add, 0, 2)(x))]],
               TERMS, dtypes=NUMBERS, ulp=6, why=SUMS),
    shape_case("reduce_prod", "reduce_prod", lambda x: ops.reduce_prod(x, 0),
               fold(np.multiply, 1, 0), FEW, dtypes=NUMBERS, ulp=2, why="3 factors"),
    shape_case("reduce_max", "reduce_max", lambda x: ops.reduce_max(x, 1),
               fold(np.maximum, -128, 1), Domain(shape=(8, 7)), dtypes=NUMBERS),
    shape_case("reduce_max[special]", "reduce_max", lambda x: ops.reduce_max(x, 1),
               fold(np.maximum, -INF, 1), EXTREMES, dtypes=FLOATS),
    shape_case("reduce_min", "reduce_min", lambda x: ops.reduce_min(x, 1),
               fold(np.minimum, 127, 1), Domain(shape=(8, 7)), dtypes=NUMBERS),
    shape_case("reduce_min[special]", "reduce_min", lambda x: ops.reduce_min(x, 1),
               fold(np.minimum, INF, 1), EXTREMES, dtypes=FLOATS),
    shape_case("reduce_all", "reduce_all", lambda x: ops.reduce_all(x, 1),
               lambda x: x[:, 0] & x[:, 1], BOOLS, dtypes=(bool_,)),
    shape_case("reduce_any", "reduce_any", lambda x: ops.reduce_any(x, 1),
               lambda x: x[:, 0] | x[:, 1], BOOLS, dtypes=(bool_,)),
    shape_case("reduce_mean", "reduce_sum", lambda x: ops.reduce_mean(x, 1),
               lambda x: fold(np.add, 0, 1)(x) / 7, TERMS, dtypes=FLOATS, ulp=4.5, why=SUMS),
    shape_case("cumsum", "cumsum", lambda x: ops.cumsum(x, -1),
               lambda x: [[math.fsum(row[: i + 1]) for i in range(4)] for row in x.tolist()],
               FEW, dtypes=NUMBERS, ulp=2, why="3 additions of positive terms"),
)  # fmt: skip

PRODUCTS = "3 products, summed in the dtype or a wider one"
ROW_NUMBERS = Domain(-2, 5, shape=(2, 4), dtype=int32)
LEFT, RIGHT = Domain(0.5, 2.0, shape=(2, 4, 3)), Domain(0.5, 2.0, shape=(2, 3, 5))
CONTRACTIONS = (
    shape_case("dot_general", "dot_general", ops.matmul,
               lambda a, b: [[[sum(p * q) for q in y.T] for p in x]
                             for x, y in zip(a, b, strict=True)],
               LEFT, RIGHT, dtypes=NUMBERS, ulp=2, why=PRODUCTS),
    shape_case("convolution", "convolution", lambda x, k: ops.conv(x, k, padding="valid"),
               lambda x, k: [[[sum((row[o:o + 2] * k[:, :, f]).ravel()) for f in range(2)]
                              for o in range(3)] for row in x],
               Domain(0.5, 2.0, shape=(2, 4, 3)), Domain(0.5, 2.0, shape=(2, 3, 2)),
               dtypes=NUMBERS, ulp=4, why="6 products, summed"),
)  # fmt: skip

INDEXING = (
    shape_case("gather", "gather", ops.gather,
               lambda x, i: [[x[min(max(n, 0), 2)] for n in row] for row in i.tolist()],
               ROWS, ROW_NUMBERS),
    shape_case("scatter_add", "scatter_add", ops.scatter_add,
               lambda x, i, u: [x[r] + sum((u[n, m] for n in range(2) for m in range(4)
                                            if min(max(i[n, m], 0), 2) == r), 0 * x[r])
                                for r in range(3)],
               Domain(0.5, 2.0, shape=(3, 5)), ROW_NUMBERS, Domain(0.5, 2.0, shape=(2, 4, 5)),
               dtypes=NUMBERS, ulp=8, why="8 additions, each rounded, of positive terms"),
)  # fmt: skip

WORDS, AMOUNTS = Domain(-(2**31), 2**31 - 1), Domain(0, 31)
BITS = (
    *(binary(name, reference, second, (int32,), WORDS) for name, reference, second in (
        ("bit_and", lambda a, b: a & b, WORDS), ("bit_or", lambda a, b: a | b, WORDS),
        ("bit_xor", lambda a, b: a ^ b, WORDS), ("shift_left", lambda a, n: a * 2**n, AMOUNTS),
        ("shift_right_logical", lambda a, n: (a % 2**32) // 2**n, AMOUNTS),
    )),
    unary("float_bits", lambda x: x.astype(np.float32).view(np.int32), dtypes=(float32,),
          result=int32),
    shape_case("stochastic_round", "stochastic_round",
               lambda x, bits: ops.stochastic_round(ops.round(x), bits), lambda x, _: nearest(x),
               REAL, Domain(-(2**31), 2**31 - 1, dtype=int32), dtypes=(float32,), result=bfloat16),
)  # fmt: skip

OP_CASES: tuple[OpCase, ...] = (
    *(*SOURCES, *ARITHMETIC, *UNARY, *LOGIC, *CASTS, *SHAPES, *REDUCTIONS),
    *(*CONTRACTIONS, *INDEXING, *BITS),
)
