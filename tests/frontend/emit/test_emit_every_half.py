"""Every float16 and every bfloat16 number through every op of one operand, on every backend.

The promise: what a 16-bit op gives is the float32 result, which is as near as docs/ops-accuracy.md
says, rounded once. So it lies between what the two ends of that range round to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.dtypes import DType, as_dtype, bfloat16, convert, float16
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.ops import OPS
from support.accuracy import promised
from support.backends import CPU, CPU_BASELINE, VMVX, VULKAN, Backend
from support.emitted import compile_expanded, function

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
COUNT = 2**16
ULP, TINY = 2.0**-23, 2.0**-126
FLUSHED = 2.0**-125
"""A denormal float32 may be zero on the way in and on the way out."""
TINY_HALF = 2.0**-14
"""The smallest normal float16."""
FLUSH_HALF = ("baseline", "vulkan:llvmpipe")
"""Backends that take a denormal float16 as zero: Vulkan may, and x86-64 without F16C computes the
conversion with float32 numbers that are denormal."""

#: The portable profile refuses 16-bit floats; a family of GPUs that takes them runs on lavapipe.
LLVMPIPE = replace(
    VULKAN,
    name="vulkan:llvmpipe",
    flags=(*VULKAN.flags, "--iree-vulkan-target=llvmpipe"),
    refused=frozenset[str](),
    whole_words=False,
    column="vulkan",
)


def _erf(x: Array) -> Array:
    return np.array([math.erf(v) for v in x.astype(np.float64)], np.longdouble)


#: In longdouble; erf in float64. They have no error that a float32 shows.
REFERENCES: Mapping[str, Callable[[Array], Array]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": _erf,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "stop_gradient": np.positive,
}
#: Those that give no float: exact, as the evaluator says.
DISCRETE = ("is_finite",)
#: Those that take no float16 or bfloat16, or not one operand of any value.
OTHERS = {"logical_not": "bools alone", "float_bits": "float32 alone"}
CASTS = ("float32", "float16", "bfloat16", "bool", "int32")
LARGEST_ANGLE = 2.0**17
"""sin and cos promise nothing beyond."""


@dataclass(frozen=True, slots=True)
class Cell:
    backend: Backend
    dtype: DType

    def __str__(self) -> str:
        return f"{self.backend.name}-{self.dtype.name}"


CELLS = [
    pytest.param(Cell(backend, dtype), marks=backend.marks, id=str(Cell(backend, dtype)))
    for backend in (CPU, CPU_BASELINE, VMVX, LLVMPIPE)
    for dtype in (float16, bfloat16)
    if dtype.short not in backend.refused
]


def test_every_op_of_one_operand_is_here() -> None:
    found = {name for name, op in OPS.items() if op.elementwise and op.arity == 1}
    assert found == {*REFERENCES, *DISCRETE, *OTHERS, "cast"}


@cache
def numbers(dtype: DType) -> Array:
    """All of them, NaN and infinities with them."""
    return np.arange(COUNT, dtype=np.uint16).view(dtype.numpy)


def casts(dtype: DType, backend: Backend) -> list[DType]:
    every = [as_dtype(name) for name in CASTS]
    return [d for d in every if d != dtype and d.short not in backend.refused]


def nodes(dtype: DType, backend: Backend) -> dict[str, Node]:
    """One graph for each op, by name."""
    made: dict[str, Node] = {}
    for name in (*REFERENCES, *DISCRETE):
        x = Graph(name).input("x", dtype, (COUNT,))
        made[name] = getattr(ops, name)(x)
    for to in casts(dtype, backend):
        made[f"cast_{to.name}"] = ops.cast(Graph(to.name).input("x", dtype, (COUNT,)), to)
    return made


@pytest.mark.parametrize("cell", CELLS)
def test_every_number_is_within_the_promise(cell: Cell) -> None:
    backend, x = cell.backend, numbers(cell.dtype)
    made = nodes(cell.dtype, backend)
    names = {name: f"f{i}" for i, name in enumerate(made)}
    compiled = compile_expanded([function(names[n], [made[n]]) for n in made], backend)
    bounds, wrong = promised(), dict[str, str]()
    for name, node in made.items():
        (got,) = compiled(names[name], [x], [node.dtype])
        if name in REFERENCES:
            ulps = backend.promise(bounds, name)
            bad = outside(got, x, REFERENCES[name], ulps, cell.dtype) & inside_domain(name, x)
        else:
            bad = differs(got, x, node)
        if backend.name in FLUSH_HALF and float16 in (cell.dtype, node.dtype):
            bad &= ~flushes_half(got, x, made[name])
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            wrong[name] = f"{bad.sum()}: {name}({x[i]}) = {got[i]}"
    assert not wrong


@np.errstate(all="ignore")
def inside_domain(name: str, x: Array) -> Array:
    """Where docs/ops-accuracy.md promises something."""
    wide = np.abs(x.astype(np.float64))
    if name in ("sin", "cos"):
        return ~(wide > LARGEST_ANGLE) | np.isinf(wide)
    if name == "log":
        return (wide == 0.0) | ~(wide < TINY)
    return np.ones(x.shape, bool)


@np.errstate(all="ignore")
def outside(
    got: Array, x: Array, reference: Callable[[Array], Array], ulps: float, dtype: DType
) -> Array:
    """Elements that no float32 result within `ulps` of the exact one rounds to."""
    wide = x.astype(np.longdouble)
    good = _between(got, *_ends(reference, wide, ulps, dtype))
    tiny = np.abs(wide) < TINY
    # Taken as zero, or as what they are.
    flushed = _between(got, *_ends(reference, np.where(tiny, wide * 0, wide), ulps, dtype))
    return ~(good | tiny & flushed)


@np.errstate(all="ignore")
def _ends(
    reference: Callable[[Array], Array], wide: Array, ulps: float, dtype: DType
) -> tuple[Array, Array]:
    exact = reference(wide)
    off = np.where(np.isfinite(exact), ulps * ULP * np.abs(exact) + FLUSHED, 0)
    ends = [
        convert(end.astype(np.float32), dtype).astype(np.float32)
        for end in (exact - off, exact + off)
    ]
    return ends[0], ends[1]


@np.errstate(all="ignore")
def flushes_half(got: Array, x: Array, node: Node) -> Array:
    """Elements whose float16 operand or result is denormal, and taken or given as zero."""
    # Not rounded to float16 first: what is just below the smallest normal may be flushed too.
    (exact,) = evaluate([node], {"x": x}, "float64")
    small_result = (got == 0) & (np.abs(exact.astype(np.float64)) < TINY_HALF)
    small = (x.dtype == np.float16) & (np.abs(x.astype(np.float64)) < TINY_HALF)
    (at_zero,) = evaluate([node], {"x": np.where(small, x * 0, x)})
    return (small_result & (node.dtype == float16)) | (small & _same(got, at_zero))


@np.errstate(all="ignore")
def _between(got: Array, low: Array, high: Array) -> Array:
    value = got.astype(np.float32)
    return ((low <= value) & (value <= high)) | (np.isnan(value) & np.isnan(low))


@np.errstate(all="ignore")
def differs(got: Array, x: Array, node: Node) -> Array:
    """Elements that are not exactly the evaluator's; a denormal may have been taken as zero."""
    (exact,) = evaluate([node], {"x": x})
    zero = np.where(np.abs(x.astype(np.float64)) < TINY, 0, x.astype(np.float64))
    (flushed,) = evaluate([node], {"x": convert(zero, as_dtype(x.dtype))})
    return ~(_same(got, exact) | _same(got, flushed))


@np.errstate(all="ignore")
def _same(a: Array, b: Array) -> Array:
    if a.dtype.kind == "b" or a.dtype.kind == "i":
        return a == b
    one, other = a.astype(np.float64), b.astype(np.float64)
    return (one == other) | (np.isnan(one) & np.isnan(other))
