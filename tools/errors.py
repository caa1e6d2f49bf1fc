"""The one place where a failure of any package becomes a message and an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click


class ToolError(click.ClickException):
    """Wrong use of a command, or an extra that is missing."""

    exit_code = 2


class CheckFailedError(ToolError):
    """What was asked was done, and the answer is no."""

    exit_code = 1


class CorruptInputError(ToolError):
    """A file that a command reads is damaged or not what its name says."""

    exit_code = 3


class DeviceFailedError(ToolError):
    """A device is missing, does not fit the artifact, or failed."""

    exit_code = 4


# The nearest class in the order of inheritance decides. Names, not classes: looking a failure up
# must not import the package that raised it, nor the compiler behind it.
RAISED_AS: Mapping[str, type[ToolError]] = {
    "stepforge.frontend.errors.FrontendError": ToolError,
    "stepforge.frontend.errors.InPlaceCheckError": CheckFailedError,
    "stepforge.frontend.errors.SerializeError": CorruptInputError,
    "stepforge.passes.errors.PassError": CheckFailedError,
    "stepforge.passes.errors.UnknownTargetError": ToolError,
    "stepforge.passes.errors.UnsupportedDTypeError": ToolError,
    "stepforge.passes.errors.UnsupportedUpdateError": ToolError,
    "stepforge.runtime.errors.StepforgeRuntimeError": CheckFailedError,
    "stepforge.runtime.errors.ArtifactError": CorruptInputError,
    "stepforge.runtime.errors.ArtifactWriteError": ToolError,
    "stepforge.runtime.errors.SignatureError": CheckFailedError,
    "stepforge.runtime.errors.CpuMismatchError": DeviceFailedError,
    "stepforge.runtime.errors.TrialCrashError": DeviceFailedError,
    "stepforge.runtime.errors.TrialTimeoutError": DeviceFailedError,
    "stepforge.runtime.errors.CheckpointError": CorruptInputError,
    "stepforge.runtime.errors.CheckpointWriteError": ToolError,
    "stepforge.runtime.errors.DeviceError": DeviceFailedError,
    "stepforge.runtime.errors.StateLostError": DeviceFailedError,
    "stepforge.runtime.errors.InputError": ToolError,
    "stepforge.runtime.errors.MissingExtraError": ToolError,
    "builtins.OSError": ToolError,
}
COMPILER_HINT = (
    "compiling needs the package iree-base-compiler, which is not installed: "
    "pip install 'stepforge[compiler]'"
)


def as_tool_error(error: Exception) -> ToolError | None:
    """What to print and exit with for `error`, or None when it is a defect of our own."""
    if isinstance(error, ModuleNotFoundError) and _is_compiler(error.name):
        return ToolError(COMPILER_HINT)
    for kind in type(error).__mro__:
        raised_as = RAISED_AS.get(f"{kind.__module__}.{kind.__qualname__}")
        if raised_as is not None:
            return raised_as(_without_our_lines(str(error)))
    return None


def _without_our_lines(message: str) -> str:
    """The frontend names the user's line; on the command line that is one of ours, and no help."""
    folder = str(Path(__file__).parent)
    kept = [line for line in message.splitlines() if not line.startswith(f"  at: {folder}")]
    return "\n".join(kept)


def _is_compiler(module: str | None) -> bool:
    return module is not None and (module == "iree.compiler" or module.startswith("iree.compiler."))


NO_TOML = (ValueError, RecursionError)
"""What reading a text as TOML raises. ValueError: it is no TOML, no UTF-8, or has an integer with
more digits than Python reads."""
