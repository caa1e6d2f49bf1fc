"""From settings as texts and numbers to an optimizer and the Context that describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepforge.frontend import Context, CosineSchedule, Optimizer, Settable, by_name
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    OF_EVERY_OPTIMIZER,
    PARAM_COSINE_SCHEDULE_LEARNING_RATE,
    PARAM_LEARNING_RATE,
    PARAM_OPTIMIZER,
    PARAM_TRAIN_LAST_STEP,
    canonical_name,
)
from stepforge.frontend.rules import FROZEN
from stepforge.tools.errors import ToolError


@dataclass(frozen=True, slots=True)
class Described:
    """An optimizer, and the Context that it reads its settings from."""

    optimizer: Optimizer
    context: Context


def describe(name: str, settings: Mapping[str, Any], settable: Sequence[str]) -> Described:
    """The optimizer called `name`; every setting is a hyperparameter of the Context, or of a rule
    if it is called `GLOB:NAME`.

    A settable one without a setting starts at the optimizer's default. Raises ToolError for a
    settable one that the step would not read, and FrontendError, with the nearest name for an
    unknown one.
    """
    rules = {key: value for key, value in settings.items() if ":" in key}
    values = {canonical_name(k): value for k, value in settings.items() if k not in rules}
    if PARAM_OPTIMIZER in values:
        raise ToolError(f"the optimizer is the first argument, here {name!r}; leave --set out")
    context = Context()
    for key, value in values.items():
        context.set_param(key, value)
    asked = tuple(canonical_name(key) for key in settable if ":" not in key)
    given = {**_defaults(by_name(context, name)), **values}
    # The full rate of a schedule is by default the optimizer's.
    given.setdefault(PARAM_COSINE_SCHEDULE_LEARNING_RATE, given[PARAM_LEARNING_RATE])
    for key in asked:
        value = given.get(key, KNOWN_HYPERPARAMETERS[key].default)
        if value is not None:
            context.set_param(key, Settable(value))
    asked_rules = tuple(key for key in settable if ":" in key)
    described = Described(by_name(context, name), context)
    read = numbers_read(described)
    unread = [key for key in (*asked, *asked_rules) if _split(key)[1] not in read]
    if unread:
        raise ToolError(
            f"--settable takes numbers that the step reads: {name} does not read "
            f"{', '.join(unread)} here; expected {', '.join(sorted(read))}"
            f"{_schedule_hint(unread)}"
        )
    _add_rules(context, rules, asked_rules, given)
    return described


def _add_rules(
    context: Context, rules: Mapping[str, Any], settable: Sequence[str], given: Mapping[str, Any]
) -> None:
    """The rules in their order; a settable one without a setting starts at what is `given`."""
    asked = dict.fromkeys(map(_split, settable))
    found = {_split(key): value for key, value in rules.items()}
    for glob, name in asked:
        if (glob, name) not in found:
            found[glob, name] = given.get(name, KNOWN_HYPERPARAMETERS[name].default)
    for (glob, name), value in found.items():
        wanted = Settable(value) if (glob, name) in asked else value
        context.set_params_for(glob, {name: wanted})


def _split(key: str) -> tuple[str, str]:
    """`GLOB:NAME` as the glob, empty without one, and the declared name."""
    glob, _, name = key.rpartition(":")
    return glob, name if glob and name == FROZEN else canonical_name(name)


def _defaults(optimizer: Optimizer) -> dict[str, Any]:
    return {setting.name: setting.default for setting in optimizer.settings()}


def numbers_read(described: Described) -> frozenset[str]:
    """The numeric hyperparameters that have a say in the step as it is described."""
    common = (name for name in OF_EVERY_OPTIMIZER if KNOWN_HYPERPARAMETERS[name].is_numeric)
    names = {*_defaults(described.optimizer), *common}
    schedule = CosineSchedule.from_context(described.context)
    if schedule is None:
        return frozenset(names)
    names.update(x.name for x in schedule.resolved(described.context, 0.0))
    if schedule.counts_cycles(described.context):
        names.add(PARAM_TRAIN_LAST_STEP)
    return frozenset(names)


def _schedule_hint(names: Sequence[str]) -> str:
    scheduled = any(n.startswith("cosine_") or n == PARAM_TRAIN_LAST_STEP for n in names)
    return (
        "; a schedule is on with --set cosine_schedule_steps=N or cosine_schedule_cycles=N"
        if scheduled
        else ""
    )


def help_lines() -> Iterator[tuple[str, str]]:
    """Each hyperparameter with its meaning, for `--help`."""
    for name, spec in KNOWN_HYPERPARAMETERS.items():
        if name == PARAM_OPTIMIZER:
            continue
        names = ", ".join((name, *spec.aliases))
        default = "" if spec.default in (None, "") else f" Default {spec.default}."
        yield names, spec.doc + default
