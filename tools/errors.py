"""The one place where a failure of any package becomes a message and an exit code."""

from __future__ import annotations

from collections.abc import Mapping

import click

CHECK_FAILED = 1
USAGE = 2
CORRUPT_INPUT = 3
DEVICE = 4

# The nearest class in the order of inheritance decides. Names, not classes: looking a failure up
# must not import the package that raised it, nor the compiler behind it.
EXIT_CODES: Mapping[str, int] = {
    "stepforge.frontend.errors.FrontendError": USAGE,
    "stepforge.passes.errors.PassError": CHECK_FAILED,
    "stepforge.runtime.errors.StepforgeRuntimeError": CHECK_FAILED,
    "stepforge.runtime.errors.ArtifactError": CORRUPT_INPUT,
    "stepforge.runtime.errors.ArtifactWriteError": USAGE,
    "stepforge.runtime.errors.CpuMismatchError": DEVICE,
    "stepforge.runtime.errors.CheckpointError": CORRUPT_INPUT,
    "stepforge.runtime.errors.CheckpointWriteError": USAGE,
    "stepforge.runtime.errors.DeviceError": DEVICE,
    "stepforge.runtime.errors.StateLostError": DEVICE,
    "stepforge.runtime.errors.InputError": USAGE,
    "builtins.OSError": USAGE,
}
COMPILER_HINT = (
    "compiling needs the package iree-base-compiler, which is not installed: "
    "pip install 'stepforge[compiler]'"
)


class ToolError(click.ClickException):
    """Wrong use of a command: exit code 2 unless the raiser says another."""

    def __init__(self, message: str, exit_code: int = USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CorruptInputError(ToolError):
    """A file that a command reads is damaged or not what its name says."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CORRUPT_INPUT)


def as_tool_error(error: Exception) -> ToolError | None:
    """What to print and exit with for `error`, or None when it is a defect of our own."""
    if isinstance(error, ModuleNotFoundError) and _is_compiler(error.name):
        return ToolError(COMPILER_HINT)
    for kind in type(error).__mro__:
        code = EXIT_CODES.get(f"{kind.__module__}.{kind.__qualname__}")
        if code is not None:
            return ToolError(str(error), code)
    return None


def _is_compiler(module: str | None) -> bool:
    return module is not None and (module == "iree.compiler" or module.startswith("iree.compiler."))
