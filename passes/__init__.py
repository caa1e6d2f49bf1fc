"""From logical MLIR to compiled modules: passes of our own, then IREE."""

from __future__ import annotations

from stepforge.passes.arenas import Arena, Layout
from stepforge.passes.build import Compiled, TargetInfo
from stepforge.passes.compile import Pair, compile_both, compile_module
from stepforge.passes.errors import (
    CompileError,
    Diagnostic,
    MalformedModuleError,
    PassError,
    UnknownTargetError,
    UnsupportedDTypeError,
    UnsupportedUpdateError,
)
from stepforge.passes.pipeline import PIPELINE, Update, run_pipeline
from stepforge.passes.statistics import FunctionStatistics, Statistics
from stepforge.passes.targets import (
    Target,
    TargetRow,
    check_dtypes,
    parse_target,
    target_names,
    targets,
)

__all__ = [
    "PIPELINE",
    "Arena",
    "CompileError",
    "Compiled",
    "Diagnostic",
    "FunctionStatistics",
    "Layout",
    "MalformedModuleError",
    "Pair",
    "PassError",
    "Statistics",
    "Target",
    "TargetInfo",
    "TargetRow",
    "UnknownTargetError",
    "UnsupportedDTypeError",
    "UnsupportedUpdateError",
    "Update",
    "check_dtypes",
    "compile_both",
    "compile_module",
    "parse_target",
    "run_pipeline",
    "target_names",
    "targets",
]
