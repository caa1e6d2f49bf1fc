"""What can go wrong between logical MLIR and a compiled module."""

from __future__ import annotations


class PassError(Exception):
    """A module breaks a rule of a pass. Root of every error of this package.

    The message says the rule, what was found, where, and what to do.
    """


class MalformedModuleError(PassError):
    """The text or the module is not valid MLIR; the message carries the MLIR diagnostics."""


class UnsupportedUpdateError(PassError):
    """An update is valid MLIR, but not one that a pass can carry out as promised."""
