"""expand-math: functions that IREE or a driver computes badly are spelled by our arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings
from stepforge.passes.bindings import ir
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.math_expansions.elements import Float
from stepforge.passes.math_expansions.error_function import erf
from stepforge.passes.math_expansions.exponential import exp, expm1
from stepforge.passes.math_expansions.hyperbolic import tanh
from stepforge.passes.math_expansions.logarithm import log, log1p
from stepforge.passes.math_expansions.power import powf
from stepforge.passes.math_expansions.trigonometric import cos, sin
from stepforge.passes.pass_base import Pass
from stepforge.passes.targets.target import Backend

Expansion = Callable[..., Float]

EXPANSIONS: Mapping[str, Expansion] = {
    "math.exp": exp,
    "math.expm1": expm1,
    "math.log": log,
    "math.log1p": log1p,
    "math.sin": sin,
    "math.cos": cos,
    "math.tanh": tanh,
    "math.erf": erf,
    "math.powf": powf,
}

_FAR_OFF = frozenset({"math.sin", "math.cos", "math.powf"})
_ALL = frozenset(EXPANSIONS)

#: Which of them are expanded, by backend: those whose largest error for |x| <= 2^10 is beyond 8
#: units in the last place of the result, or may be by what the specification lets a driver do.
#:
#:           exp   expm1  log   log1p  sin    cos   tanh   erf   pow    in IREE without this pass
#:   cpu     4.3   4.3    0.9   2.4    4e37   1e10  4.2    3.9   130    IREE's polynomials
#:   vmvx    0.6   0.8    0.8   0.8    0.6    0.6   2.1    0.9   0.6    the C library
#:   vulkan  67    66     1.1   8e6    8e37   7e8   5.1    4.8   170    lavapipe, IREE's polynomials
#:   all     1.2   1.2    1.6   1.6    3.5    3.5   2.2    1.1   3.5    expanded
#:
#: CUDA, for which IREE generates the polynomials of `cpu`, and ROCm were not measured. Vulkan (and
#: Metal like it) promises log near 1 by its absolute error only, and division to 2.5 units, which
#: IREE's tanh and erf cannot afford.
EXPANDED: Mapping[Backend, frozenset[str]] = {
    "cpu": _FAR_OFF,
    "vmvx": frozenset(),
    "vulkan": _ALL,
    "metal": _ALL,
    "cuda": _FAR_OFF,
    "rocm": _FAR_OFF,
}


def expand(op: ir.Operation) -> None:
    """Replace one operation of a loop."""
    with ir.InsertionPoint(op), op.location:
        value = EXPANSIONS[op.name](*map(Float, op.operands)).value
    op.results[0].replace_all_uses_with(value)
    op.erase()


@dataclass(frozen=True, slots=True)
class ExpandMath(Pass):
    """float32 functions inside of loops become arithmetic, where the target's own are not exact.

    The host's scalars stay: its C library is exact. Without a backend nothing is expanded. Other
    floats stay too, but 16-bit ones are refused, as the frontend computes them in float32.
    """

    name: ClassVar[str] = "expand-math"
    backend: Backend | None = None

    def run(self, module: ir.Module) -> None:
        for op in self._found(module):
            _refuse(op)
            if _is_float32(op):
                expand(op)

    def check(self, module: ir.Module) -> None:
        for op in self._found(module):
            if _is_float32(op):
                raise PassError(f"{op.name} at {bindings.where(op)} should have been expanded")

    def _found(self, module: ir.Module) -> list[ir.Operation]:
        """The operations of the table, but for the scalars of the host."""
        names = frozenset[str]() if self.backend is None else EXPANDED[self.backend]
        return [
            op
            for function in bindings.functions(module)
            for op in bindings.nested(function.operation)
            if op.name in names and not _is_on_host(op)
        ]


def _is_on_host(op: ir.Operation) -> bool:
    return op.parent is not None and op.parent.name == "func.func" and not _is_tensor(op)


def _is_tensor(op: ir.Operation) -> bool:
    return isinstance(op.results[0].type, ir.RankedTensorType)


def _is_float32(op: ir.Operation) -> bool:
    return isinstance(op.results[0].type, ir.F32Type)


def _refuse(op: ir.Operation) -> None:
    if _is_tensor(op):
        raise PassError(
            f"{op.name} at {bindings.where(op)} is outside of every loop: fuse-step-math goes first"
        )
    type_ = op.results[0].type
    if isinstance(type_, ir.F16Type | ir.BF16Type):
        raise UnsupportedUpdateError(
            f"{op.name} at {bindings.where(op)} computes in {type_}, and is not exact on this "
            "target: compute it in f32 and round the result"
        )
