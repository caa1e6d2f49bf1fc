"""A Program: optimizers traced into entry points, with everything that a compiler must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.resolve import Derive
from stepforge.frontend.scalars import Passing, ScalarProgram
from stepforge.frontend.variables import Role, Storage, VariableSpec

ArgumentRole: TypeAlias = Literal[Role, "gradient", "partials", "input", "seed"]
Value: TypeAlias = "float | int | bool | str"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an entry point, in the order of the ABI."""

    name: str
    """A variable's path; a gradient has its parameter's."""
    role: ArgumentRole
    node: Node
    storage: Storage
    derive: Derive = "value"
    """What is computed from a host variable, in float64, before it becomes this argument."""
    result: int | None = None
    """The index of the result that replaces it."""


@dataclass(frozen=True, slots=True)
class Result:
    """One result: the new `state` or the `initial` value of the variable `name`, an `output`, or
    the `partials` of a step in two phases."""

    name: str
    role: Literal["state", "output", "initial", "partials"]
    node: Node


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One function of the artifact.

    arguments: parameters; a block of slots for each kind, in the same order; other device
    variables; gradients; partials; further inputs; then host variables: hyperparameters, counters.
    results: new values of device variables in the order of the arguments, outputs, new values of
    host variables. With scalars="table" the host's arguments and results are no part of the
    function: the runtime computes both from `scalar_program`, and passes the table last.
    """

    name: str
    graph: Graph
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    scalars: Passing
    scalar_program: ScalarProgram
    """Next values of host variables, in both ways of passing, and the table if there is one."""
    table: tuple[Node, ...] = ()
    """With scalars="table": the node of each entry."""

    @property
    def gives_partials(self) -> bool:
        """Whether it is the first phase of a step, which updates nothing."""
        return any(x.role == "partials" for x in self.results)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Paths of the parameters that it updates."""
        given = tuple(x.name for x in self.arguments if x.role == "gradient")
        if given:
            return () if self.gives_partials else given
        parameters = (x for x in self.arguments if x.role == "parameter")
        return tuple(x.name for x in parameters if x.result is not None)


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A setting: baked, settable, or (with a variable, not settable) written by a schedule."""

    name: str
    """Its name; a value set in a scope has the scope in front, as `encoder/adam_epsilon`."""
    value: Value
    settable: bool = False
    variable: str | None = None
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters with equal hyperparameters; `variables=None`: all of the entry point."""

    hyperparameters: tuple[Hyperparameter, ...]
    variables: tuple[str, ...] | None
    function: str


@dataclass(frozen=True, slots=True)
class Program:
    """What `trace` returns."""

    entry_points: tuple[EntryPoint, ...]
    variables: tuple[VariableSpec, ...]
    """Parameters, a block of slots for each kind, other device variables, host variables."""
    groups: tuple[Group, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    """Those of all groups, each name once."""
    formula: str
    nan_tracing: bool
    any_length: bool = False
    """Its one parameter, `/*`, stands for any number of parameters of any shapes."""

    def entry_point(self, name: str) -> EntryPoint:
        """Raises OptimizerError when there is none of that name."""
        for entry in self.entry_points:
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in self.entry_points)
        raise OptimizerError(f"no entry point {name!r}", expected=f"one of {names}")
