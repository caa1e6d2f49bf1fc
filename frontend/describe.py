"""Which hyperparameters each parameter of an entry point has, as groups."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import cast

from stepforge.frontend import low_precision
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DTypeLike
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    OF_EVERY_OPTIMIZER,
    PARAM_TRAIN_LAST_STEP,
    Plain,
)
from stepforge.frontend.optimizers.base import Optimizer
from stepforge.frontend.optimizers.values import resolve_settings
from stepforge.frontend.program import Group, Hyperparameter
from stepforge.frontend.resolve import Resolved, parameter
from stepforge.frontend.schedules.cosine import CosineSchedule
from stepforge.frontend.variables import Variable


def resolved_values(optimizer: Optimizer, ctx: Context, variable: Variable) -> tuple[Resolved, ...]:
    """Every hyperparameter that has a say in one variable's update."""
    ctx = ctx.with_defaults(dict(optimizer.context_parameters))
    found = list(resolve_settings(optimizer, ctx, variable).values())
    for x in tuple(found):
        if isinstance(x.schedule, CosineSchedule):
            found.extend(x.schedule.resolved(ctx, cast("float", x.value)))
    here = ctx.around(variable)
    for name in OF_EVERY_OPTIMIZER:
        off = KNOWN_HYPERPARAMETERS[name].default
        assert off is not None, "each is off by default"
        found.append(parameter(here, name, off))
    found.extend(parameter(here, name, off) for name, off in low_precision.OFF.items())
    return tuple(dict.fromkeys(found))


def values_of_all(
    optimizer: Optimizer, ctx: Context, variables: Sequence[Variable]
) -> list[tuple[Resolved, ...]]:
    """`resolved_values` of each variable; found once for those of which the Context sees the same,
    so equal ones are mostly one object."""
    found: dict[Hashable, tuple[Resolved, ...]] = {}
    sights = [ctx.sight(variable) for variable in variables]
    for sight, variable in zip(sights, variables, strict=True):
        if sight not in found:
            found[sight] = resolved_values(optimizer, ctx, variable)
    return [found[sight] for sight in sights]


def groups(
    function: str,
    optimizer: Optimizer,
    ctx: Context,
    variables: Sequence[Variable],
    loss_dtype: DTypeLike,
) -> tuple[Group, ...]:
    """One group for each set of equal values, in the order of their first variables.

    Who set a baked value does not matter: what several rules or scopes set alike goes by all names.
    """
    members: dict[Hashable, dict[str, tuple[Resolved, ...]]] = {}
    all_values = values_of_all(optimizer, ctx, variables)
    for variable, values in zip(variables, all_values, strict=True):
        members.setdefault(_same(values), {})[variable.path] = values
    seen = ctx.with_defaults(dict(optimizer.context_parameters))
    extra = _common(optimizer, seen, loss_dtype)
    return tuple(
        Group(
            hyperparameters=(*(_record(x, ctx) for x in zip(*of.values(), strict=True)), *extra),
            variables=None if len(members) == 1 else tuple(of),
            function=function,
        )
        for of in members.values()
    )


def _same(values: Iterable[Resolved]) -> Hashable:
    """What is equal for variables of one group: baked numbers, and the variables of the others."""
    return tuple((x.name, x.schedule, x.path if x.has_variable else x.value) for x in values)


def _common(optimizer: Optimizer, ctx: Context, loss_dtype: DTypeLike) -> list[Hyperparameter]:
    """What is the same for all variables: the compute dtype, the length of the training."""
    found: list[Hyperparameter] = []
    if optimizer.dtype_parameter is not None:
        dtype = optimizer.compute_dtype(ctx, loss_dtype)
        found.append(Hyperparameter(optimizer.dtype_parameter, dtype.name))
    last = ctx.find_variable(f"/trainer/{PARAM_TRAIN_LAST_STEP}")
    if last is not None:
        value = int(last.value)
        found.append(Hyperparameter(PARAM_TRAIN_LAST_STEP, value, True, last.path))
    return found


def _record(found: Sequence[Resolved], ctx: Context) -> Hyperparameter:
    """One hyperparameter of a group, as it was found for each variable."""
    # A name without a rule comes first, if there is one.
    resolved, *others = sorted(dict.fromkeys(found), key=lambda x: bool(x.rule))
    labels = dict.fromkeys((*_aliases(resolved), *(y for x in others for y in _labels(x))))
    spec = resolved.spec
    return Hyperparameter(
        name=resolved.label,
        value=_first_value(resolved, ctx),
        settable=resolved.settable,
        variable=resolved.path if resolved.has_variable else None,
        aliases=tuple(labels),
        minimum=spec.minimum,
        below=spec.below,
    )


def _labels(resolved: Resolved) -> tuple[str, ...]:
    return (resolved.label, *_aliases(resolved))


def _aliases(resolved: Resolved) -> tuple[str, ...]:
    prefix = resolved.label.removesuffix(resolved.name)
    return tuple(prefix + alias for alias in resolved.spec.aliases)


def _first_value(resolved: Resolved, ctx: Context) -> Plain:
    """A settable's variable keeps the value that it had, so that is asked first."""
    variable = ctx.find_variable(resolved.path) if resolved.settable else None
    exact = None if variable is None else variable.spec.initializer.value
    return resolved.value if exact is None else exact


def unique(groups: Iterable[Group]) -> tuple[Hyperparameter, ...]:
    """The hyperparameters of all groups, each name once."""
    by_name: dict[str, Hyperparameter] = {}
    for group in groups:
        for hyperparameter in group.hyperparameters:
            by_name.setdefault(hyperparameter.name, hyperparameter)
    return tuple(by_name.values())


def group_of(groups: Sequence[Group], functions: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The index of the first group of each parameter. functions: their parameters' paths."""
    index: dict[str, int] = {}
    for i, group in enumerate(groups):
        for path in group.variables or functions[group.function]:
            index.setdefault(path, i)
    return index
