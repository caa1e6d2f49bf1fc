"""Every error the frontend raises. Each message says the rule, both sides, and where."""

from __future__ import annotations

import inspect
import os

_PACKAGE = "stepforge.frontend"


def is_of_package(module: str) -> bool:
    """Whether a module of that name is one of this package's."""
    return module.startswith(_PACKAGE) and (module == _PACKAGE or module[len(_PACKAGE)] == ".")


def user_frame() -> tuple[str, int] | None:
    """File and line of the innermost frame outside this package, or None."""
    frame = inspect.currentframe()
    while frame is not None:
        if not is_of_package(str(frame.f_globals.get("__name__", ""))):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None


def user_location() -> str:
    """`file.py:12` of the user's line; the folder is left out, so it may go into a file."""
    found = user_frame()
    return "" if found is None else f"{os.path.basename(found[0])}:{found[1]}"


class FrontendError(Exception):
    """The root of all errors raised while building, checking or evaluating a graph.

    rule: what must hold. expected, got: both sides. hint: what to do.
    location: where it happened; None means the user's own line, found on the stack.
    """

    def __init__(
        self,
        rule: str,
        *,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
        location: str | None = None,
    ) -> None:
        if location is None:
            found = user_frame()
            location = "" if found is None else f"{found[0]}:{found[1]}"
        rows = (("expected", expected), ("got", got), ("at", location or None), ("fix", hint))
        super().__init__("\n  ".join([rule, *(f"{k}: {v}" for k, v in rows if v is not None)]))
        self.location = location


class ShapeError(FrontendError):
    """Shapes, axes or sizes that an op does not accept."""


class DTypeError(FrontendError):
    """A dtype that an op does not accept, or a value that does not fit its dtype."""


class GraphError(FrontendError):
    """A node used in a way that makes no graph: another graph, a duplicate name, `if node:`."""


class EvaluateError(FrontendError):
    """Inputs of `evaluate` that do not match the graph's inputs."""


class SerializeError(FrontendError):
    """Text that is not a serialized graph."""


class VerifyError(FrontendError):
    """A graph that breaks a rule every graph must keep; the message names the node."""


class GradientError(FrontendError):
    """A gradient of what has none: not a single float, or an op without a derivative."""


class TrainingError(FrontendError):
    """A loss function that makes no training step: its inputs, its loss, or what it trains."""


class ContextError(FrontendError):
    """A scope, a path, or a variable of a Context that is not what was asked for."""


class HyperparameterError(FrontendError):
    """A hyperparameter's value that has the wrong type or lies outside its bounds."""


class UnknownNameError(FrontendError):
    """A name that is in no table: a hyperparameter or an optimizer; the nearest is named."""


class UnknownKeywordError(UnknownNameError, TypeError):
    """A keyword that an optimizer or a schedule does not have; the nearest is named."""


class OptimizerError(FrontendError):
    """Gradients that do not fit the variables, or optimizers that would share their state."""


class ParameterError(FrontendError):
    """Parameters that cannot be compiled for: no shape, no floating-point dtype, nothing at all."""


class InPlaceCheckError(FrontendError):
    """A compiled step that does not do in place what it does out of place; it was not written."""
