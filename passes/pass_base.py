"""What every pass is: frozen options, a kebab-case name, one `run`, and what holds afterwards."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from stepforge.passes import bindings
from stepforge.passes.bindings import ir
from stepforge.passes.errors import PassError


class Pass(ABC):
    """Turns valid MLIR into valid MLIR with the same meaning.

    A subclass is a frozen dataclass whose fields are its options, in a module of the same name.
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        expected = cls.__module__.rpartition(".")[2].replace("_", "-")
        if cls.__dict__.get("name") != expected:
            raise TypeError(f"{cls.__qualname__}.name must be {expected!r}, the name of its module")

    @abstractmethod
    def run(self, module: ir.Module) -> None:
        """Rewrite the module; the context is entered, with an unknown location."""

    @abstractmethod
    def check(self, module: ir.Module) -> None:
        """Raise `PassError` unless what this pass promises holds."""


def apply(step: Pass, module: ir.Module) -> None:
    """Run one pass, verify the module and check what the pass promises."""
    if not dataclasses.is_dataclass(step):
        raise TypeError(f"{type(step).__qualname__} must be a frozen dataclass")
    with module.context, ir.Location.unknown():
        _named(step, step.run, module)
        bindings.verify(module, after=step.name)
        _named(step, step.check, module)


def _named(step: Pass, method: Callable[[ir.Module], None], module: ir.Module) -> None:
    """Call a method of a pass; its errors say which pass they come from."""
    try:
        method(module)
    except PassError as error:
        raise type(error)(f"{step.name}: {error}") from error
