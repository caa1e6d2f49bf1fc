"""From a traced graph to an entry point: which variables it reads and sets, in the ABI's order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from stepforge.frontend.context import Context
from stepforge.frontend.errors import ContextError
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.program import Argument, ArgumentRole, EntryPoint, Result
from stepforge.frontend.resolve import Derive
from stepforge.frontend.scalars import (
    Passing,
    choose_passing,
    device_scalars,
    host_scalars,
    scalar_program,
)
from stepforge.frontend.simplify import simplify
from stepforge.frontend.variables import Variable, VariableSpec

GRADIENT = "gradient:"
"""An input of this name followed by a path is the gradient of that variable."""
PARTIALS = "partials:"
"""An input of this name followed by what they are: sums over all gradients."""

_ROLES: tuple[ArgumentRole, ...] = (
    *("parameter", "slot", "buffer", "hyperparameter", "counter"),
    *("gradient", "partials", "input"),
)
"""In the order of a function's arguments; what is on the host comes after all that is not."""
_DERIVES: tuple[Derive, ...] = ("value", "one_minus", "log")


def collect(
    name: str,
    ctx: Context,
    traced: Graph,
    *,
    unused_inputs: bool = True,
    scalars: Passing | None = None,
    partials: Mapping[str, Node] = MappingProxyType({}),
) -> EntryPoint:
    """The entry point of a traced graph: its inputs as arguments, what it set as results.

    unused_inputs: whether inputs that no result needs are arguments too. scalars: how host scalars
    are passed, by default as `choose_passing` says. partials: results besides, by name.
    """
    for path in traced.variable_values:
        ctx.root.get_variable(path).input(traced)
    order = variable_order(ctx.root)
    values = traced.variable_values
    outputs = ctx.outputs(traced)
    needed = [*values.values(), *outputs.values(), *partials.values()]
    kept = traced.inputs.values()
    if not unused_inputs:
        used = set(reachable(needed))
        kept = [node for node in kept if node in used]
    found = [_argument(ctx.root, node) for node in kept]
    found.sort(key=lambda x: (*_place(x, order), _DERIVES.index(x.derive)))
    graph, renamed = simplify(needed, [x.node for x in found], name)
    arguments = [Argument(x.name, x.role, renamed[x.node], x.storage, x.derive) for x in found]
    new = {path: renamed[node] for path, node in values.items()}
    changed = [x for x in arguments if x.derive == "value" and new.get(x.name, x.node) != x.node]
    changed = [x for x in changed if x.role != "gradient"]
    states = {x.name: Result(x.name, "state", new[x.name]) for x in changed}
    device = [states[x.name] for x in changed if x.storage == "device"]
    device += [Result(key, "output", renamed[node]) for key, node in outputs.items()]
    device += [Result(key, "partials", renamed[node]) for key, node in partials.items()]
    host = [states[x.name] for x in changed if x.storage == "host"]
    results = (*device, *host)
    linked = _linked(arguments, results)
    return _with_scalars(name, graph, linked, results, len(device), scalars)


def variable_order(ctx: Context) -> Mapping[str, tuple[int, ...]]:
    """Sort keys of all variables: parameters as created, slots by kind and parameter, others."""
    place = {variable.path: (i,) for i, variable in enumerate(ctx.root)}
    kinds: dict[str | None, int] = {}
    keys: dict[str, tuple[int, ...]] = {}
    for variable in ctx.root:
        spec = variable.spec
        if spec.role == "slot" and spec.of is not None:
            kind = kinds.setdefault(_family(spec), len(kinds))
            keys[spec.name] = (kind, *place.get(spec.of, ()))
        else:
            keys[spec.name] = place[spec.name]
    return keys


def _family(spec: VariableSpec) -> str:
    """A slot's path without its parameter's: one family is one kind of one optimizer."""
    return spec.name.replace(spec.of or "", "", 1)


def _argument(ctx: Context, node: Node) -> Argument:
    """What an input of a traced graph stands for, by its name."""
    name = str(node.attributes["name"])
    variable = ctx.find_variable(name) if name.startswith("/") else None
    if variable is not None:
        return _variable_argument(variable, node, "value")
    if name.startswith(GRADIENT):
        return Argument(name.removeprefix(GRADIENT), "gradient", node, "device")
    if name.startswith(PARTIALS):
        return Argument(name.removeprefix(PARTIALS), "partials", node, "device")
    path, _, suffix = name.rpartition(":")
    for derive in _DERIVES:
        if suffix == derive and ctx.find_variable(path) is not None:
            return _variable_argument(ctx.get_variable(path), node, derive)
    return Argument(name, "input", node, "device")


def _variable_argument(variable: Variable, node: Node, derive: Derive) -> Argument:
    spec = variable.spec
    return Argument(spec.name, spec.role, node, spec.storage, derive)


def _place(argument: Argument, order: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Device before host, then by role, then as the variables stand."""
    of_variable = argument.role not in ("input", "partials")
    place = order[argument.name] if of_variable else (argument.node.id,)
    return (argument.storage == "host", _ROLES.index(argument.role), *place)


def _linked(arguments: Iterable[Argument], results: Sequence[Result]) -> tuple[Argument, ...]:
    index = {x.name: i for i, x in enumerate(results) if x.role == "state"}
    return tuple(
        Argument(x.name, x.role, x.node, x.storage, x.derive, index.get(x.name))
        if x.derive == "value" and x.role != "gradient"
        else x
        for x in arguments
    )


def _with_scalars(
    name: str,
    graph: Graph,
    arguments: tuple[Argument, ...],
    results: tuple[Result, ...],
    devices: int,
    passing: Passing | None,
) -> EntryPoint:
    """The entry point, with its way of passing host scalars chosen."""
    inputs = {x.node: (x.name, x.derive) for x in arguments if x.storage == "host"}
    for x in results[devices:]:
        _check_on_host(name, x, inputs)
    host = host_scalars(inputs, [x.node for x in results])
    scalars = device_scalars(host, [x.node for x in results[:devices]])
    if passing is None or not scalars:
        passing = choose_passing(scalars)
    table = scalars if passing == "table" else ()
    state = [(x.name, x.node) for x in results[devices:]]
    return EntryPoint(
        name=name,
        graph=graph,
        arguments=arguments,
        results=results,
        scalars=passing,
        scalar_program=scalar_program(table, state, inputs),
        table=table,
    )


def _check_on_host(function: str, result: Result, inputs: Collection[Node]) -> None:
    """A host variable's new value is computed before the device begins."""
    for node in reachable([result.node]):
        if node.op == "input" and node not in inputs:
            raise ContextError(
                f"{function}: the new value of {result.name!r}, a host variable, is made of host "
                "variables alone",
                got=repr(node),
                hint="create the variable without storage='host'",
            )
