"""Modules between the passes compiled and run as they are, to compare what they compute."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepforge.passes import bindings, parse_target, pass_base
from stepforge.passes.bindings import func, ir
from stepforge.passes.expand_math import ExpandMath
from stepforge.passes.fuse_step_math import FuseStepMath
from stepforge.passes.session import Lowering, open_session
from stepforge.passes.wrap_entry_points import WrapEntryPoints
from stepforge.runtime.executor import Module

#: Without fused multiply-add, so that the same operations give the same bits in any loop.
EXACT_TARGET = "cpu:x86_64:x86-64" if platform.machine() == "x86_64" else "vmvx"

Array = NDArray[Any]
Value = Array | float | int

_DTYPES: dict[str, Any] = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f32": np.float32,
    "f64": np.float64,
    "i8": np.int8,
    "i32": np.int32,
    "i64": np.int64,
}


def compile_text(text: str, target: str = "cpu") -> bytes:
    """Compile MLIR as it is; only the calling convention is added, where it is missing."""
    known = parse_target(target)
    with open_session(known.flags) as session:
        module = bindings.parse(text, session.context)
        pass_base.apply(WrapEntryPoints(), module)
        with Lowering(session, module, "the module of a test") as lowering:
            lowering.advance("end")
            return lowering.bytecode()


def with_expanded_math(text: str, backend: Any) -> str:
    """A module with loops, and in them the math that `backend` gets."""
    module = bindings.parse(text)
    for step in (FuseStepMath(), ExpandMath(backend=backend)):
        pass_base.apply(step, module)
    return str(module)


def run_text(
    text: str, function: str, arguments: Sequence[Value], target: str = "cpu"
) -> list[Any]:
    device = "vulkan" if target.startswith("vulkan") else "local-sync"
    return Module(compile_text(text, target), device).call(function, list(arguments))


def random_arguments(text: str, seed: int = 0) -> dict[str, list[Value]]:
    """Function name -> arguments, for every public function of a module."""
    generator = np.random.default_rng(seed)
    return {
        function.name.value: [_random(type_, generator) for type_ in function.type.inputs]
        for function in public_functions(bindings.parse(text))
    }


def public_functions(module: ir.Module) -> list[func.FuncOp]:
    return bindings.functions(module)


def _random(type_: ir.Type, generator: np.random.Generator) -> Value:
    if not isinstance(type_, ir.RankedTensorType):
        return int(generator.integers(1, 50)) if "i" in str(type_) else generator.uniform(0.01, 1)
    dtype = np.dtype(_DTYPES[str(type_.element_type)])
    shape = tuple(type_.shape)
    if dtype.kind == "i":
        return generator.integers(0, 100, shape, dtype)
    return generator.standard_normal(shape).astype(dtype)
