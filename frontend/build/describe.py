"""A traced program and the code compiled from it, as the manifest that the runtime reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stepforge.frontend.any_length import of_length
from stepforge.frontend.build.packed import packed_arenas, with_arenas
from stepforge.frontend.build.versions import IREE_VERSION, PACKAGE_VERSION
from stepforge.frontend.cost import cost
from stepforge.frontend.program import Argument, EntryPoint, Group, Hyperparameter, Program
from stepforge.frontend.variables import VariableSpec
from stepforge.passes import Arena, Statistics, TargetInfo, Update
from stepforge.runtime import manifest as to


def describe(
    program: Program,
    target: TargetInfo,
    arenas: Sequence[Arena] = (),
    statistics: Statistics | None = None,
    update: Update = "in-place",
) -> to.Manifest:
    """The manifest of `program`, compiled for `target`; with statistics, what a call costs.

    arenas: what the compiler packed variables into.
    """
    functions = [_function(entry) for entry in program.entry_points]
    held = packed_arenas(functions, arenas)
    return to.Manifest(
        package_version=PACKAGE_VERSION,
        iree_version=IREE_VERSION,
        targets=(to.Target(**target),),
        formula=program.formula,
        functions=tuple(with_arenas(function, held) for function in functions),
        variables=tuple(_variable(v, program.any_length) for v in program.variables),
        groups=tuple(_group(group) for group in program.groups),
        arenas=tuple(held),
        nan_tracing=program.nan_tracing,
        length="any" if program.any_length else None,
        facts=() if statistics is None else tuple(_facts(program, statistics)),
        update=update,
    )


def _facts(program: Program, statistics: Statistics) -> Iterator[tuple[str, str]]:
    """What people want to know of one call of each function."""
    for entry in program.entry_points:
        counted, least = statistics[entry.name].dispatches, cost(entry)
        each = ""
        if program.any_length:
            one, two = (of_length(program, n).entry_point(entry.name) for n in (1, 2))
            least, each = cost(two) - cost(one), " for each element"
        yield (
            f"cost of {entry.name}",
            f"{counted} dispatch{'' if counted == 1 else 'es'}, {least.flops} FLOP, at least "
            f"{least.bytes} bytes read and written{each}",
        )


def _variable(variable: VariableSpec, any_length: bool) -> to.Variable:
    first = variable.initializer
    return to.Variable(
        name=variable.name,
        role=variable.role,
        dtype=variable.dtype.name,
        shape=(0,) if any_length and variable.storage == "device" else variable.shape,
        storage=variable.storage,
        initializer=to.Initializer(first.kind, first.value, first.seed, first.arguments),
        slot=variable.slot,
        of=variable.of,
        group=variable.group,
        trainable=variable.trainable,
    )


def _function(entry: EntryPoint) -> to.Function:
    """Tensors, then the host's numbers, or in their place the table; results that are tensors."""
    program = entry.scalar_program
    hosts = {argument.name for argument in entry.arguments if argument.storage == "host"}
    arguments = [_argument(x) for x in entry.arguments if x.storage == "device"]
    if entry.scalars == "table":
        shape = (len(program.table),)
        arguments.append(to.Argument("scalars", "scalars", program.dtype, shape))
    else:
        arguments.extend(_argument(x) for x in entry.arguments if x.storage == "host")
    return to.Function(
        name=entry.name,
        arguments=tuple(arguments),
        results=tuple(
            to.Result(x.name, x.role, x.node.dtype.name, x.node.shape)
            for x in entry.results
            if x.role != "state" or x.name not in hosts
        ),
        scalars=to.ScalarProgram(program.dtype, program.rows, program.table, program.results),
        parameters=entry.parameters,
    )


def _argument(argument: Argument) -> to.Argument:
    host = argument.storage == "host"
    return to.Argument(
        name=argument.name,
        role=argument.role,
        dtype=argument.node.dtype.name,
        shape=argument.node.shape,
        derive=argument.derive,
        result=None if host else argument.result,
    )


def _group(group: Group) -> to.Group:
    return to.Group(
        hyperparameters=tuple(_hyperparameter(x) for x in group.hyperparameters),
        variables=group.variables,
        function=group.function,
    )


def _hyperparameter(setting: Hyperparameter) -> to.Hyperparameter:
    return to.Hyperparameter(
        name=setting.name,
        value=setting.value,
        settable=setting.settable,
        variable=setting.variable,
        aliases=setting.aliases,
        minimum=_bound(setting.minimum),
        below=_bound(setting.below),
    )


def _bound(bound: float | None) -> float | None:
    return None if bound is None else float(bound)
