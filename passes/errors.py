"""What can go wrong between logical MLIR and a compiled module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "remark", "note"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message of IREE; `location` is `optimizer.py:12`, or None where IREE knows none."""

    severity: Severity
    message: str
    location: str | None = None

    def __str__(self) -> str:
        place = "" if self.location is None else f"{self.location}: "
        return f"{place}{self.severity}: {self.message}"


class PassError(Exception):
    """A module breaks a rule of a pass. Root of every error of this package.

    The message says the rule, what was found, where, and what to do.
    """


class MalformedModuleError(PassError):
    """The text or the module is not valid MLIR; the message carries the MLIR diagnostics."""


class UnsupportedUpdateError(PassError):
    """An update is valid MLIR, but not one that a pass can carry out as promised."""


class UnknownTargetError(PassError):
    """No target of that name; the message lists the nearest and says how names are built."""


class UnsupportedDTypeError(PassError):
    """The target cannot hold or compute one of the dtypes, or IREE gets it silently wrong there."""


class CompileError(PassError):
    """IREE refused a module, or broke down on it.

    `diagnostics`: what it said, in order. `log`: what its tools (the linker) wrote to stderr.
    """

    def __init__(
        self, message: str, diagnostics: tuple[Diagnostic, ...] = (), log: str = ""
    ) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics
        self.log = log
