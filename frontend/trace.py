"""`trace`: optimizers and a Context in, a Program out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from stepforge.frontend.collect import GRADIENT, collect, variable_order
from stepforge.frontend.context import Context
from stepforge.frontend.describe import group_of, groups, unique, values_of_all
from stepforge.frontend.dtypes import DTypeLike, float32
from stepforge.frontend.entry_names import check_entry_names, check_phase_names
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.global_step import GLOBAL_STEP_VARIABLE_NAME
from stepforge.frontend.graph import Graph
from stepforge.frontend.hyperparameters import PARAM_TRAIN_LAST_STEP
from stepforge.frontend.learning_rate import OPTIMIZERS_SCOPE
from stepforge.frontend.nan_tracing import NONFINITE
from stepforge.frontend.optimizers.base import Optimizer
from stepforge.frontend.phases import split_phases
from stepforge.frontend.program import EntryPoint, Group, Program
from stepforge.frontend.resolve import Resolved
from stepforge.frontend.schedules.cosine import (
    TRAINER_SCOPE,
    CosineSchedule,
    first_last_step,
)
from stepforge.frontend.variables import Variable, VariableSpec

_ONE_SCHEDULE = (
    "settable numbers of schedules are one for all groups: make them plain, or the same everywhere"
)

AfterUpdate: TypeAlias = Callable[[Context, Graph], None]


def trace(
    optimizers: Optimizer | Mapping[str, Optimizer],
    context: Context,
    *,
    parameters: Mapping[str, Sequence[str]] | None = None,
    loss_dtype: DTypeLike = float32,
    after_update: AfterUpdate | None = None,
    phases: bool = False,
) -> Program:
    """One entry point for each optimizer, over the trainable variables of the Context.

    optimizers: one, for an entry point called "step", or several by their entry points' names.
        They share the parameters and the global step; their scopes keep the rest apart.
    parameters: for an entry point, the names of the variables that it updates; by default all.
    loss_dtype: decides the dtype of slots and arithmetic, unless the optimizer says it.
    after_update: called with the Context and the graph after each optimizer, to change variables
        further (as `monotonic_projection` does) or to add outputs.
    phases: two entry points more for each, `reduce` and `apply` (see `phases.py`).

    Slots, counters and settable hyperparameters are created in the Context. Raises OptimizerError
    for names that collide or are those of training artifacts, and for optimizers that would share
    their state.
    """
    named = {"step": optimizers} if isinstance(optimizers, Optimizer) else dict(optimizers)
    check_entry_names(named)
    if phases:
        check_phase_names(named)
    chosen = {name: _choose(context, name, parameters) for name in named}
    check_optimizers(named, context, chosen)
    entries: list[EntryPoint] = []
    found: list[Group] = []
    for name, optimizer in named.items():
        graph = Graph(name)
        gradients = {v.path: graph.input(GRADIENT + v.path, v.dtype, v.shape) for v in chosen[name]}
        optimizer.update_graph_with_gradients(context, gradients, loss_dtype)
        if after_update is not None:
            after_update(context, graph)
        entries.append(collect(name, context, graph))
        if phases:
            entries.extend(split_phases(name, context, graph))
        found.extend(groups(name, optimizer, context, chosen[name], loss_dtype))
    return program_of(context, entries, found, _formula(named))


def program_of(
    context: Context, entries: Sequence[EntryPoint], found: Sequence[Group], formula: str
) -> Program:
    """The Program of traced entry points and the groups that were found in them."""
    return Program(
        entry_points=tuple(entries),
        variables=_variables(context, entries, found),
        groups=tuple(found),
        hyperparameters=unique(found),
        formula=formula,
        nan_tracing=any(x.name.startswith(NONFINITE) for e in entries for x in e.results),
    )


def _formula(named: Mapping[str, Optimizer]) -> str:
    """Each formula once: an artifact's header has a bounded length, entry points do not."""
    users: dict[str, list[str]] = {}
    for name, optimizer in named.items():
        users.setdefault(optimizer.formula, []).append(name)
    if len(users) == 1:
        return next(iter(users))
    return "; ".join(f"{', '.join(names)} = {formula}" for formula, names in users.items())


def _choose(
    context: Context, function: str, parameters: Mapping[str, Sequence[str]] | None
) -> list[Variable]:
    """The trainable variables that an entry point updates, as the Context orders them."""
    trainable = context.root.trainable_variables()
    names = None if parameters is None else parameters.get(function)
    if names is None:
        return trainable
    paths = {name if name.startswith("/") else f"/{name}" for name in names}
    unknown = sorted(paths - {v.path for v in trainable})
    if unknown:
        raise OptimizerError(
            f"the entry point {function!r} updates trainable variables of the Context",
            expected=f"some of {', '.join(v.path for v in trainable)}",
            got=", ".join(unknown),
        )
    return [v for v in trainable if v.path in paths]


def check_optimizers(
    named: Mapping[str, Optimizer], context: Context, chosen: Mapping[str, Sequence[Variable]]
) -> None:
    """Refuses what would share state by accident, before anything is created."""
    scopes: dict[str, str] = {}
    homes: dict[str, tuple[str, Resolved]] = {}
    lengths: dict[int, str] = {}
    for name, optimizer in named.items():
        _check_names(context, optimizer, chosen[name])
        hint = f"give one of them a scope: {type(optimizer).__name__}(scope=...)"
        uses = optimizer.uses_scope(context, chosen[name])
        if uses and scopes.setdefault(optimizer.scope, name) != name:
            raise OptimizerError(
                f"the optimizers of {scopes[optimizer.scope]!r} and {name!r} would share their "
                "slots and step counter",
                got=f"scope={optimizer.scope!r} twice",
                hint=hint,
            )
        for x in _with_variables(optimizer, context, chosen[name]):
            other, before = homes.setdefault(x.path, (name, x))
            if (before.value, before.schedule) != (x.value, x.schedule):
                raise OptimizerError(
                    f"{_both(other, name)} share the variable {x.path!r}, with other values",
                    expected=repr(before.schedule or before.value),
                    got=repr(x.schedule or x.value),
                    hint=hint if other != name else _ONE_SCHEDULE,
                )
        length = _training_length(optimizer, context, chosen[name])
        if length is not None:
            lengths.setdefault(length, name)
    if len(lengths) > 1:
        (length, name), (other_length, other) = list(lengths.items())[:2]
        raise OptimizerError(
            f"{_both(name, other)} share the variable '{TRAINER_SCOPE}/{PARAM_TRAIN_LAST_STEP}', "
            "with other values",
            expected=repr(length),
            got=repr(other_length),
            hint=f"cycles are of one training: set {PARAM_TRAIN_LAST_STEP} once, or give one "
            "of the schedules a period in steps",
        )


def _training_length(
    optimizer: Optimizer, context: Context, variables: Sequence[Variable]
) -> int | None:
    """What the optimizer was told of the length of the training; None if it does not ask."""
    seen = context.with_defaults(dict(optimizer.context_parameters))
    found = {x.schedule for x in _with_variables(optimizer, context, variables)}
    asks = any(isinstance(x, CosineSchedule) and x.counts_cycles(seen) for x in found)
    return first_last_step(seen) if asks else None


def _both(other: str, name: str) -> str:
    return f"{other!r} and {name!r}" if other != name else f"two groups of {name!r}"


def _with_variables(
    optimizer: Optimizer, context: Context, variables: Sequence[Variable]
) -> list[Resolved]:
    """The settable and scheduled hyperparameters of all these variables."""
    found = dict.fromkeys(values_of_all(optimizer, context, variables))
    return [x for x in dict.fromkeys(x for values in found for x in values) if x.has_variable]


def _check_names(context: Context, optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """Refuses parameters whose names the optimizer needs for its own variables."""
    base = context.scope.rstrip("/")
    scopes = (f"{base}/{OPTIMIZERS_SCOPE}/", f"{base}/{optimizer.scope}/", f"{TRAINER_SCOPE}/")
    for variable in variables:
        reserved = variable.path == f"{base}/{GLOBAL_STEP_VARIABLE_NAME}"
        if reserved or variable.path.startswith(scopes):
            raise OptimizerError(
                f"the name {variable.path!r} is reserved",
                expected=f"no {GLOBAL_STEP_VARIABLE_NAME!r}, and nothing in {', '.join(scopes)}",
                hint="rename the parameter, or give the optimizer another scope",
            )


def _variables(
    context: Context, entries: Sequence[EntryPoint], found: Sequence[Group]
) -> tuple[VariableSpec, ...]:
    """The variables of all entry points, in the order of their arguments."""
    used = {x.name: x for entry in entries for x in entry.arguments if x.role != "input"}
    index = group_of(found, {entry.name: entry.parameters for entry in entries})
    order = variable_order(context)
    roles = ("parameter", "slot", "buffer", "hyperparameter", "counter")
    specs = [context.frozen_spec(v) for v in context.root if v.path in used]
    specs.sort(key=lambda s: (s.storage == "host", roles.index(s.role), *order[s.name]))
    return tuple(replace(s, group=index.get(s.of or s.name)) for s in specs)
