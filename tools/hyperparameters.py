"""From settings as texts and numbers to an optimizer and the Context that describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepforge.frontend import Context, Optimizer, Settable, by_name
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    PARAM_OPTIMIZER,
    canonical_name,
)
from stepforge.tools.errors import ToolError


@dataclass(frozen=True, slots=True)
class Described:
    """An optimizer, and the Context that it reads its settings from."""

    optimizer: Optimizer
    context: Context


def describe(name: str, settings: Mapping[str, Any], settable: Sequence[str]) -> Described:
    """The optimizer called `name`; every setting is a hyperparameter of the Context.

    A settable one without a setting starts at the optimizer's default. Raises ToolError or
    FrontendError, with the nearest name for an unknown one.
    """
    values = {canonical_name(key): value for key, value in settings.items()}
    if PARAM_OPTIMIZER in values:
        raise ToolError(f"the optimizer is the first argument, here {name!r}; leave --set out")
    context = Context()
    for key, value in values.items():
        context.set_param(key, value)
    defaults = {setting.name: setting.default for setting in by_name(context, name).settings()}
    for key in map(canonical_name, settable):
        default = defaults.get(key, KNOWN_HYPERPARAMETERS[key].default)
        value = values.get(key, default)
        if value is None:
            raise ToolError(f"{name} has no {key}; it has {', '.join(sorted(defaults))}")
        context.set_param(key, Settable(value))
    return Described(by_name(context, name), context)


def help_lines() -> Iterator[tuple[str, str]]:
    """Each hyperparameter with its meaning, for `--help`."""
    for name, spec in KNOWN_HYPERPARAMETERS.items():
        if name == PARAM_OPTIMIZER:
            continue
        names = ", ".join((name, *spec.aliases))
        default = "" if spec.default in (None, "") else f" Default {spec.default}."
        yield names, spec.doc + default
