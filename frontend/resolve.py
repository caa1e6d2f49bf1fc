"""From a hyperparameter's name to its value in a graph: rule, explicit, Context, or default."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, float32, float64, int64
from stepforge.frontend.errors import HyperparameterError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    PARAM_LEARNING_RATE,
    PARAM_SKIP_NONFINITE,
    PARAM_TRAIN_LAST_STEP,
    HyperparameterSpec,
    ParameterValue,
    Plain,
    check_spec,
)
from stepforge.frontend.learning_rate import OPTIMIZERS_SCOPE, number_variable
from stepforge.frontend.settable import Scalar, Schedule, Settable
from stepforge.frontend.variables import Storage, Variable

Derive: TypeAlias = Literal["value", "one_minus", "log"]
DERIVED: Mapping[Derive, Callable[[float], float]] = {
    "value": lambda x: x,
    "one_minus": lambda x: 1.0 - x,
    "log": lambda x: math.log(x) if x else -math.inf,
}
"""What each derivation computes from a number, in float64."""

ALWAYS_SETTABLE = (PARAM_LEARNING_RATE, PARAM_TRAIN_LAST_STEP)


@dataclass(frozen=True, slots=True)
class Setting:
    """One hyperparameter of an optimizer: its short name, and where its value comes from.

    A name that is not in KNOWN_HYPERPARAMETERS is the optimizer's own: this declares it, as an
    integer or a number (whichever the default is), with bounds if it has any.
    """

    key: str
    """What the update rule calls it, such as `beta1`."""
    name: str
    """The Context parameter, such as `adam_beta1`."""
    explicit: ParameterValue | None
    default: Plain
    minimum: float | None = None
    """Of an optimizer's own: values are at least this."""
    below: float | None = None
    """Of an optimizer's own: values are smaller than this."""

    @property
    def spec(self) -> HyperparameterSpec:
        """What values it takes. Raises HyperparameterError for a wrong declaration."""
        known = KNOWN_HYPERPARAMETERS.get(self.name)
        if known is None:
            return self._declared()
        if (self.minimum, self.below) != (None, None):
            raise HyperparameterError(
                f"the hyperparameter {self.name!r} is declared already, with its own bounds",
                expected=known.describe(),
                got=f"minimum={self.minimum!r} and below={self.below!r}",
                hint="leave the bounds out, or take another name, such as one with the "
                "optimizer's in front",
            )
        return known

    def _declared(self) -> HyperparameterSpec:
        if isinstance(self.default, bool) or not isinstance(self.default, int | float):
            raise HyperparameterError(
                f"an optimizer's own hyperparameter is a number, and {self.name!r} is none",
                expected="a default that is a float or an int",
                got=repr(self.default),
                hint="make what is no number a field of the optimizer alone",
            )
        return HyperparameterSpec(
            name=self.name,
            kind="integer" if isinstance(self.default, int) else "float",
            default=self.default,
            minimum=self.minimum,
            below=self.below,
            doc="",
        )


@dataclass(frozen=True, slots=True)
class Resolved:
    """The value of one hyperparameter for some variables, and where it lives."""

    name: str
    value: Plain
    settable: bool
    schedule: Schedule | None
    home: str
    """The scope that set it, as a path prefix: empty for the root."""
    scope: str
    """The optimizer's scope, if it is not the default and the optimizer itself set the value."""
    spec: HyperparameterSpec
    rule: str = ""
    """The glob of the rule that set it, as users see it; empty where none did."""
    explicit: bool = field(default=False, compare=False)
    """Whether the optimizer itself set the value, so that no other may take its place."""

    @property
    def path(self) -> str:
        """Of the host variable that holds a settable or scheduled value."""
        inner = f"{OPTIMIZERS_SCOPE}/{self.scope}" if self.scope else OPTIMIZERS_SCOPE
        return f"{self.home}/{inner}/{self._ruled_name}"

    @property
    def label(self) -> str:
        """The name users see: plain, with the scopes that set it in front (`encoder/clip_nan`), or
        with the rule that did (`*.bias:clip_nan`)."""
        if self.rule:
            return self._ruled_name
        return "/".join(filter(None, (self.home.strip("/"), self.scope, self.name)))

    @property
    def _ruled_name(self) -> str:
        return f"{self.rule}:{self.name}" if self.rule else self.name

    @property
    def has_variable(self) -> bool:
        return self.settable or self.schedule is not None


def resolve(setting: Setting, at: Context, base: Context, scope: str = "") -> Resolved:
    """A rule's value, else the explicit one, else that of the nearest scope that `at` sees, else
    the default.

    base: the optimizer's Context; what is set there or above belongs to it, what is set nearer to a
    variable to that scope. scope: the optimizer's, unless it is the default one.
    """
    spec = setting.spec
    ruled = at.find_rule(setting.name)
    explicit = setting.explicit is not None and ruled is None
    found = None if explicit else at.find_param(setting.name)
    if ruled is not None:
        value, home, scope = check_spec(spec, ruled[1]), base.scope, ""
    elif found is None:
        raw = setting.default if setting.explicit is None else setting.explicit
        value, home = check_spec(spec, raw), base.scope
    else:
        home, value = found[0], check_spec(spec, found[1])
        inside = home.startswith(base.scope.rstrip("/") + "/") and home != base.scope
        home, scope = (home if inside else base.scope), ""
    schedule = value if isinstance(value, Schedule) else None
    plain = value.value if isinstance(value, Settable) else value
    settable = isinstance(value, Settable) or setting.name in ALWAYS_SETTABLE
    return Resolved(
        name=setting.name,
        value=setting.default if schedule is not None else cast("Plain", plain),
        settable=settable and schedule is None,
        schedule=schedule,
        home=home.rstrip("/"),
        scope=scope,
        spec=spec,
        rule="" if ruled is None else ruled[0].name,
        explicit=explicit,
    )


def parameter(ctx: Context, name: str, default: Plain) -> Resolved:
    """A hyperparameter that only a Context sets; its variable lives where it was set."""
    return resolve(Setting(name, name, None, default), ctx, ctx.root)


def common_parameter(
    ctx: Context, name: str, default: Plain, variables: Iterable[Variable]
) -> Resolved:
    """As `parameter`, for what is one value for all gradients of a step.

    Raises HyperparameterError where a variable's own scope sets it.
    """
    found = parameter(ctx, name, default)
    for variable in variables:
        own = parameter(ctx.around(variable), name, default)
        if own != found:
            raise HyperparameterError(
                f"{name!r} is one value for all variables of a step",
                expected=f"{found.value!r}, as of {ctx.scope!r}",
                got=f"{own.value!r} in the scope {own.home!r}, of {variable.path!r}",
                hint="set it in the optimizer's own scope, such as the root",
            )
    return found


def is_off(resolved: Resolved, off: Plain) -> bool:
    """Whether a hyperparameter is baked, with the value that means off."""
    return not resolved.has_variable and resolved.value == off


def variable_of(resolved: Resolved, ctx: Context, dtype: DType) -> Variable:
    """The host variable of a settable or scheduled hyperparameter, created if needed.

    With `skip_nonfinite` a scheduled one is on the device, as the counters of schedules are.
    """
    number = int64 if resolved.spec.kind == "integer" else float64 if dtype == float64 else float32
    scope, _, name = resolved.path.rpartition("/")
    on_device = resolved.schedule is not None and ctx.get_param(PARAM_SKIP_NONFINITE, False)
    storage: Storage = "device" if on_device else "host"
    value = cast("float", resolved.value)
    variable = number_variable(ctx.at(scope), name, number, value, storage)
    held = variable.spec.initializer.value
    if resolved.explicit and resolved.schedule is None and held != resolved.value:
        raise HyperparameterError(
            f"the Context has the variable {resolved.path!r} already, which keeps its value",
            expected=repr(held),
            got=f"an explicit {resolved.name} of {resolved.value!r}",
            hint="delete the variable first, use another Context, or leave the argument out",
        )
    return variable


def read(
    resolved: Resolved, ctx: Context, graph: Graph, dtype: DType, derive: Derive = "value"
) -> Scalar:
    """The number itself if it is baked, else a rank-0 node of `dtype` (integers: int64).

    derive: 1 - x or log(x) instead, exact for a baked number, and for a settable one computed by
    the runtime in float64.
    """
    if resolved.schedule is not None:
        return _derive(_scheduled(resolved, resolved.schedule, ctx, graph, dtype), derive)
    if not resolved.settable:
        return DERIVED[derive](cast("float", resolved.value))
    variable = variable_of(resolved, ctx, dtype)
    if derive == "value":
        node = variable.value_graph(graph)
    else:
        name = f"{variable.path}:{derive}"
        found = graph.inputs.get(name)
        node = graph.input(name, variable.dtype) if found is None else found
    return node if node.dtype.is_integer else ops.cast(node, dtype)


def _scheduled(
    resolved: Resolved, schedule: Schedule, ctx: Context, graph: Graph, dtype: DType
) -> Node:
    """The schedule's value of this step; the variable that shows it is written once a step."""
    variable = variable_of(resolved, ctx, dtype)
    if variable.path not in graph.variable_values:
        node = schedule.node(ctx, graph, cast("float", resolved.value), dtype)
        variable.set_value_graph(ops.cast(node, variable.dtype))
    return ops.cast(variable.value_graph(graph), dtype)


def _derive(node: Node, derive: Derive) -> Node:
    if derive == "value":
        return node
    return ops.log(node) if derive == "log" else 1.0 - node
