"""What IREE 3.13 gets wrong when it is asked directly, and emission gets right.

Each check is a small graph; its values on the device must be the evaluator's, exactly where
nothing else is said. One module per backend holds all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.dtypes import as_dtype, convert
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph, Node
from support.backends import BACKENDS, Backend
from support.emitted import compile_entries, function

pytestmark = pytest.mark.compiler
Array = NDArray[Any]
Build = Callable[..., Node]

HUGE = (1e3, -1e3, 3e38, -3e38, np.inf, -np.inf, 100.0, -100.0)
EDGES = (1e20, -1e20, np.nan, np.inf, -np.inf, 2.0**31, 2147483520.0, -(2.0**31), -3e9, 2.5, -2.5)
PATTERNS = np.array(
    [
        0,
        1,
        0x7FFFFF,
        0x800000,
        0x7F7FFFFF,
        0x7F800000,
        0x7F800001,
        0xFF800000,
        0xFFC00000,
        0xFF7FFFFF,
    ],
    np.uint32,
).view(np.float32)
LEAST = int(np.iinfo(np.int32).min)
DIVIDENDS = np.array([7, -7, LEAST, LEAST, 0, 5, -5, LEAST], np.int32)
DIVISORS = np.array([2, -2, -1, 1, -1, -1, 2, 7], np.int32)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    """What IREE does instead."""
    build: Build
    inputs: tuple[Array, ...]
    error: float = 0.0
    """How far, relative to the evaluator's value, the device may be."""

    def node(self) -> Node:
        graph = Graph(self.name)
        nodes = [
            graph.input(f"x{i}", as_dtype(x.dtype), x.shape) for i, x in enumerate(self.inputs)
        ]
        return self.build(*nodes)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def noise(*shape: int, dtype: str = "float32", scale: float = 1.0) -> Array:
    values = np.random.default_rng(sum(shape)).normal(size=shape) * scale
    return convert(values, as_dtype(dtype))


def whole(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % 1013


def in_float32(op: Callable[..., Node]) -> Build:
    """The op on bfloat16 numbers that arrive, and leave, as the same float32 numbers."""

    def build(*operands: Node) -> Node:
        return ops.cast(op(*(ops.cast(x, "bfloat16") for x in operands)), "float32")

    return build


def as_int32(build: Build) -> Build:
    return lambda *operands: ops.cast(build(*operands), "int32")


NEAREST = "the VM's fptosi rounds to nearest, and beyond the range every backend differs"
ZERO = "division by zero and INT_MIN / -1 kill the process on CPU"
NEGATED = "an index map (d0) -> (n - d0) does not compile"
SERIAL = "a serial loop stops after 65,536 iterations on lavapipe"
WORDS = "on Vulkan the last partial 32-bit word of a buffer is lost: here all of it"
ROUNDED = "rounding to bfloat16 inside a loop is dropped on CPU, and garbage on Vulkan"
WRAPPED = "8-bit elements inside a vectorised loop are garbage on Vulkan"

CHECKS = (
    Check(NEAREST, lambda x: ops.cast(x, "int32"), (floats(*EDGES),)),
    Check(
        NEAREST, lambda x: ops.cast(ops.cast(x, "int8"), "int32"), (floats(*EDGES, 127.9, -128.9),)
    ),
    Check(NEAREST, lambda x: ops.cast(x, "int32"), (noise(4000, scale=50.0),)),
    Check(
        "the VM's oge is true for NaN",
        as_int32(ops.greater_equal),
        (floats(np.nan, 1, np.nan), floats(1, np.nan, np.nan)),
    ),
    Check("the exponent test", as_int32(ops.is_finite), (PATTERNS,)),
    Check(
        "x - x == 0 calls NaN finite on lavapipe",
        lambda x: ops.where(ops.is_finite(x), x, 0.0),
        (floats(np.nan, np.inf, -np.inf, 2.0),),
    ),
    Check(ZERO, ops.div, (DIVIDENDS, DIVISORS)),
    Check(ZERO, ops.rem, (DIVIDENDS, DIVISORS)),
    Check(
        "VMVX's remf is the IEEE remainder",
        ops.rem,
        (floats(5.5, -5.5, 7, 1, -1, 8, 3), floats(3, 3, -4, np.inf, -np.inf, 2, 0.1)),
    ),
    Check(
        "powf of a negative number is NaN",
        ops.pow,
        (floats(-2, -2, 0, -0.0, -1, -np.inf, -2, 4), floats(5, 6, 0, -3, np.inf, 3, 0.5, 0.5)),
        1e-5,
    ),
    Check("sinh and cosh overflow on Vulkan", ops.tanh, (floats(*HUGE),), 1e-6),
    Check("exp(-x) overflows", lambda x: ops.sigmoid(x) + 1.0, (floats(*HUGE),)),
    Check("inf - inf", ops.expm1, (floats(*HUGE[:2], -3e38, np.inf, -np.inf, -100.0),)),
    Check("zero and NaN", ops.sign, (floats(0.0, -0.0, np.nan, np.inf, -np.inf, 3e-38, -2),)),
    Check(NEGATED, ops.reverse, (whole(37),)),
    Check(NEGATED, ops.reverse, (whole(64),)),
    Check(NEGATED, lambda x: ops.reverse(x * x, (0, 2)), (whole(5, 4, 33),)),
    Check(SERIAL, ops.cumsum, (whole(70_001),)),
    Check("scan of an inner axis", lambda x: ops.cumsum(x, 1), (whole(3, 33, 5),)),
    Check(WORDS, as_int32(lambda x: ops.reduce_all(ops.is_finite(x))), (floats(1, 2, np.nan),)),
    Check(WORDS, as_int32(lambda x: ops.reduce_any(ops.is_finite(x), 1)), (noise(5, 7),)),
    Check(
        WORDS,
        lambda x: ops.where(ops.broadcast_to(ops.reduce_all(ops.is_finite(x)), (65,)), x, 0.0),
        (noise(65),),
    ),
    Check(WORDS, as_int32(lambda x: ops.transpose(x > 0.0)), (noise(5, 7),)),
    Check(WORDS, as_int32(lambda x: ops.reverse(ops.concatenate([x > 0.0, x < 1.0]))), (noise(7),)),
    Check(ROUNDED, in_float32(ops.mul), (noise(4096, dtype="float32"), noise(64, 64).reshape(-1))),
    Check(
        ROUNDED,
        in_float32(lambda x, y: ops.div(x, y) + x),
        (noise(4096), noise(64, 64).reshape(-1)),
    ),
    Check(ROUNDED, in_float32(ops.reduce_sum), (noise(33),), 2.0**-8),
    Check(WRAPPED, lambda x: ops.cast(ops.cast(x, "int8") * 3, "int32"), (whole(4096),)),
    Check("strides", lambda x: ops.slice(x, (1, 0, 2), (5, 4, 33), (2, 3, 7)), (whole(5, 4, 33),)),
    Check(
        "pad with a value of the device",
        lambda x, v: ops.pad(x, v, (1, 0, 2), (0, 3, 0)),
        (whole(3, 4, 5), np.array(-7, np.int32)),
    ),
    Check(
        "axes of size 1",
        lambda x: ops.reshape(ops.transpose(ops.reshape(x, (1, 6, 1, 4, 1))), (3, 8)),
        (whole(4, 3, 2),),
    ),
    Check(
        "rank 0",
        lambda x: ops.reshape(ops.reverse(ops.transpose(x)) + ops.reduce_sum(x), (1, 1)),
        (np.array(5, np.int32),),
    ),
    Check(
        "no elements",
        lambda x: (
            ops.concatenate([x, ops.slice(x, (0, 0), (0, 3))])
            + ops.reduce_sum(ops.slice(x, (2, 0), (2, 3)))
        ),
        (whole(2, 3),),
    ),
)

WIDE_CHECKS = (
    Check("two roundings", lambda x: ops.cast(x, "bfloat16"), (noise(4096, dtype="float64"),)),
    Check("two roundings", lambda x: ops.cast(x, "float16"), (noise(4096, dtype="float64"),)),
    Check(
        "two roundings",
        lambda x: ops.cast(x, "float16"),
        (1 + np.arange(64) * 2.0**-16 + 2.0**-40,),
    ),
    Check(NEAREST, lambda x: ops.cast(x, "int64"), (np.array([*EDGES, 2.0**63, -(2.0**63)]),)),
    Check(
        "no symbol fmod",
        ops.rem,
        (noise(999, dtype="float64", scale=1e6), noise(27, 37, dtype="float64").reshape(-1)),
    ),
    Check("expm1 loses digits", ops.expm1, (noise(999, dtype="float64") * 1e-9,), 1e-15),
    Check("log1p loses digits", ops.log1p, (noise(999, dtype="float64") * 1e-9,), 1e-15),
    Check("large arguments", ops.expm1, (np.array([*HUGE, 1e300]),), 1e-15),
    Check("large arguments", ops.tanh, (np.array([*HUGE, 1e300]),)),
    Check("16-bit sums", ops.reduce_sum, (noise(4096, dtype="float16"),), 2.0**-10),
)


def run(checks: tuple[Check, ...], backend: Backend) -> Mapping[str, str]:
    """What differs from the evaluator."""
    nodes = [check.node() for check in checks]
    names = [f"f{i}" for i in range(len(checks))]
    entries = [function(name, [node]) for name, node in zip(names, nodes, strict=True)]
    compiled, wrong = compile_entries(entries, backend), dict[str, str]()
    for name, check, node in zip(names, checks, nodes, strict=True):
        (got,) = compiled(name, check.inputs, [node.dtype])
        (expected,) = evaluate([node], {f"x{i}": x for i, x in enumerate(check.inputs)})
        wide, exact = got.astype(np.float64), expected.astype(np.float64)
        if not np.allclose(wide, exact, rtol=check.error, atol=0, equal_nan=True):
            wrong[f"{name}: {check.name}"] = f"{got.ravel()[:12]} for {expected.ravel()[:12]}"
    return wrong


@pytest.mark.parametrize("backend", [pytest.param(b, marks=b.marks, id=b.name) for b in BACKENDS])
def test_traps(backend: Backend) -> None:
    assert run(CHECKS, backend) == {}


@pytest.mark.parametrize("backend", [pytest.param(b, marks=b.marks, id=b.name) for b in BACKENDS])
def test_division_by_zero_is_zero(backend: Backend) -> None:
    """The evaluator leaves it open; on CPU it must not be the end of the process."""
    graph = Graph()
    x, y = graph.input("x", "int32", (3,)), graph.input("y", "int32", (3,))
    compiled = compile_entries([function("f", [ops.div(x, y), ops.rem(x, y)])], backend)
    given = [np.array([7, -7, LEAST], np.int32), np.zeros(3, np.int32)]
    for got in compiled("f", given, [x.dtype, x.dtype]):
        assert got.tolist() == [0, 0, 0]


def test_traps_of_wide_dtypes() -> None:
    assert run(WIDE_CHECKS, BACKENDS[0]) == {}
