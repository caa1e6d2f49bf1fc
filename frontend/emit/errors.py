"""The error that emission raises."""

from __future__ import annotations

from stepforge.frontend.errors import FrontendError


class EmitError(FrontendError):
    """A program that has no MLIR form: an op without a rule, or a scalar of a wrong dtype."""
