"""Reporting non-finite gradients, for artifacts compiled with `nanlogger`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from stepforge.runtime.errors import InputError

if TYPE_CHECKING:
    from stepforge.runtime.step import CompiledStep

NONFINITE = "nonfinite"
"""Outputs of this name followed by a parameter's path count the gradient's non-finite values."""

_LOG = logging.getLogger(__name__)


@runtime_checkable
class Tracer(Protocol):
    """Anything that is told of non-finite values after a step."""

    def trace(self, count: int, *scopes: str) -> None:
        """count: how many were found; scopes: what was looked at, as ("Gradients", path)."""
        ...


@dataclass(frozen=True, slots=True)
class NanReport:
    """`count` NaN or infinite values in the gradient of `variable` (a path), in step `step`."""

    variable: str
    step: int
    count: int

    def __str__(self) -> str:
        return (
            f"step {self.step}: {self.count} non-finite values in the gradient of {self.variable}"
        )


class NanLogger:
    """Keeps the last reports and hands each to `handler` (by default a warning in the log).

        logger = NanLogger()
        logger.attach(optimizer)
        optimizer.step(gradients)
        logger.reports          # (NanReport(variable="/encoder/w", step=1, count=3),)

    A handler may raise: the step has been taken by then, and the exception reaches its caller. So
    it ends a `Trainer`'s run; attach the logger to the step before.
    """

    def __init__(
        self, handler: Callable[[NanReport], None] | None = None, *, keep: int = 1000
    ) -> None:
        self._handler = handler or _warn
        self._reports: deque[NanReport] = deque(maxlen=keep)
        self._step: CompiledStep | None = None

    @property
    def reports(self) -> tuple[NanReport, ...]:
        """The last reports, oldest first."""
        return tuple(self._reports)

    def attach(self, step: CompiledStep) -> None:
        """Listen to a step. Raises InputError when its artifact counts no non-finite values."""
        step.attach_tracer(self)
        self._step = step

    def detach(self) -> None:
        """Stop listening; what was reported stays."""
        if self._step is not None:
            self._step.detach_tracer(self)
            self._step = None

    def clear(self) -> None:
        """Forget the reports."""
        self._reports.clear()

    def report(self, report: NanReport) -> None:
        """Record one finding."""
        self._reports.append(report)
        self._handler(report)

    def trace(self, count: int, *scopes: str) -> None:
        """The `Tracer` protocol, for callers that know no step number (reported as step 0)."""
        if count:
            self.report(NanReport("/".join(scopes), 0, count))


def check_tracer(tracer: object, *, counted: bool) -> None:
    """Raise InputError for what cannot be told, or would never be: `counted` is the artifact's."""
    if not callable(getattr(tracer, "trace", None)):
        raise InputError(
            f"attach_tracer: expected an object with a method trace(count, *scopes), as "
            f"NanLogger() is one, got {tracer!r}"
        )
    if not counted:
        raise InputError(
            "the artifact does not count non-finite values; compile it with nanlogger=True "
            "(--set nanlogger=true)"
        )


def tell(tracers: Iterable[Tracer], found: Iterable[NanReport]) -> None:
    """Hand what was found to everyone who listens."""
    for report in found:
        for tracer in tracers:
            if isinstance(tracer, NanLogger):
                tracer.report(report)
            else:
                tracer.trace(report.count, "Gradients", report.variable)


def _warn(report: NanReport) -> None:
    _LOG.warning("%s", report)
