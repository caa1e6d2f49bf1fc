"""A Program as JSON and back, so that an artifact can be evaluated without its source.

{"variables": {"name": names, "role": repeats, ..., "of": names},
 "entry_points": [{"graph": ...,
                   "arguments": {"name": names, "role": repeats, "node": progressions,
                                 "storage": repeats, "derive": repeats, "result": progressions},
                   "results": {"name": names, "role": repeats, "node": progressions},
                   "scalars": ..., "table": progressions,
                   "program": [dtype, rows, table, results]}, ...],
 "groups": [[hyperparameters, names of variables, function], ...],
 "formula": ..., "nan_tracing": ...}

Of a step of any length there is "any_length" too, which is true.

Graphs are as in `serialize` and nodes are their ids. Repeats, progressions and names are those of
`columns`; the table of names is that of the variables, of which a slot's is made of its
parameter's. No result is -1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, cast

from stepforge.frontend.collector import paused
from stepforge.frontend.columns import (
    Budget,
    names_to_data,
    progressions,
    read_names,
    read_progressions,
    read_repeats,
    repeats,
    table_of,
)
from stepforge.frontend.describe import unique
from stepforge.frontend.dtypes import DType, as_dtype
from stepforge.frontend.errors import FrontendError, SerializeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import Initializer
from stepforge.frontend.json_values import string
from stepforge.frontend.program import (
    Argument,
    EntryPoint,
    Group,
    Hyperparameter,
    Program,
    Result,
)
from stepforge.frontend.scalars import ScalarProgram
from stepforge.frontend.serialize import graph_from_data, graph_to_data
from stepforge.frontend.variables import VariableSpec


def program_to_json(program: Program, *, locations: bool = False) -> str:
    """Canonical text: equal programs give equal text, with locations left out as by default."""
    names = [v.name for v in program.variables]
    data = {
        "entry_points": [_entry_to_data(e, names, locations) for e in program.entry_points],
        "variables": _variables_to_data(program.variables),
        "groups": [_group_to_data(g, names) for g in program.groups],
        "formula": program.formula,
        "nan_tracing": program.nan_tracing,
        **({"any_length": True} if program.any_length else {}),
    }
    return json.dumps(_plain(data), allow_nan=False, separators=(",", ":"), sort_keys=True)


def program_from_json(text: str | bytes) -> Program:
    """The program of `program_to_json`. Raises SerializeError for any other text."""
    budget = Budget.of(text)
    try:
        with paused():
            return _program_from_data(json.loads(text), budget)
    except SerializeError:
        raise
    except (LookupError, TypeError, ValueError, RecursionError, FrontendError) as error:
        raise SerializeError("this is not a serialized program", got=repr(error)) from error


def _program_from_data(data: Any, budget: Budget) -> Program:
    variables = _variables_from_data(data["variables"], budget)
    names = [v.name for v in variables]
    groups = tuple(_group_from_data(g, names, budget) for g in data["groups"])
    return Program(
        entry_points=tuple(_entry_from_data(e, names, budget) for e in data["entry_points"]),
        variables=variables,
        groups=groups,
        hyperparameters=unique(groups),
        formula=str(data["formula"]),
        nan_tracing=bool(data["nan_tracing"]),
        any_length=bool(data.get("any_length", False)),
    )


def _plain(value: Any) -> Any:
    """Tuples as lists, infinite and NaN numbers as texts."""
    if isinstance(value, Mapping):
        return {key: _plain(x) for key, x in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf", "nan") else value


def _entry_to_data(entry: EntryPoint, names: Sequence[str], locations: bool) -> dict[str, Any]:
    program, table = entry.scalar_program, table_of(names)
    arguments, results = entry.arguments, entry.results
    return {
        "graph": graph_to_data(entry.graph, names=names, locations=locations),
        "arguments": {
            "name": names_to_data([x.name for x in arguments], table),
            "role": repeats(x.role for x in arguments),
            "node": progressions([x.node.id for x in arguments]),
            "storage": repeats(x.storage for x in arguments),
            "derive": repeats(x.derive for x in arguments),
            "result": progressions([-1 if x.result is None else x.result for x in arguments]),
        },
        "results": {
            "name": names_to_data([x.name for x in results], table),
            "role": repeats(x.role for x in results),
            "node": progressions([x.node.id for x in results]),
        },
        "scalars": entry.scalars,
        "table": progressions([node.id for node in entry.table]),
        "program": (program.dtype, program.rows, program.table, program.results),
    }


def _entry_from_data(data: Mapping[str, Any], names: Sequence[str], budget: Budget) -> EntryPoint:
    graph = graph_from_data(data["graph"], names=names, budget=budget)
    nodes = graph.nodes

    def read_nodes(column: Any) -> list[Node]:
        ids = read_progressions(column, budget)
        if any(not 0 <= i < len(nodes) for i in ids):
            raise SerializeError("a node is its id", expected=f"below {len(nodes)}", got=ids[:8])
        return [nodes[i] for i in ids]

    def read_named(column: Any) -> list[str]:
        return _all_named(read_names(column, names, budget))

    given, results = data["arguments"], data["results"]
    dtype, rows, table, values = data["program"]
    return EntryPoint(
        name=graph.name,
        graph=graph,
        arguments=tuple(
            Argument(name, role, node, storage, derive, None if result < 0 else result)
            for name, role, node, storage, derive, result in zip(
                read_named(given["name"]),
                _texts(given["role"], budget),
                read_nodes(given["node"]),
                _texts(given["storage"], budget),
                _texts(given["derive"], budget),
                read_progressions(given["result"], budget),
                strict=True,
            )
        ),
        results=tuple(
            Result(name, role, node)
            for name, role, node in zip(
                read_named(results["name"]),
                _texts(results["role"], budget),
                read_nodes(results["node"]),
                strict=True,
            )
        ),
        scalars=data["scalars"],
        scalar_program=ScalarProgram(
            dtype=dtype,
            rows=tuple(tuple(_number(x) for x in row) for row in rows),
            table=tuple(table),
            results=tuple((name, row) for name, row in values),
        ),
        table=tuple(read_nodes(data["table"])),
    )


def _texts(column: Any, budget: Budget) -> list[Any]:
    return read_repeats(column, string, budget)


def _all_named(names: Sequence[str | None]) -> list[str]:
    found = [name for name in names if name is not None]
    if len(found) != len(names):
        raise SerializeError("each of these has a name", got="null")
    return found


_BY_NAME = ("name", "of")
"""Columns of variables that are names; all others are repeats."""


def _variables_to_data(variables: Sequence[VariableSpec]) -> dict[str, Any]:
    names, owners = [v.name for v in variables], [v.of for v in variables]
    table = table_of(names)
    others = [field.name for field in fields(VariableSpec) if field.name not in _BY_NAME]
    return {
        "name": names_to_data(names, table, owners, within=True),
        "of": names_to_data(owners, table),
        **{key: repeats(_fields_to_data(getattr(v, key) for v in variables)) for key in others},
    }


def _fields_to_data(values: Iterable[Any]) -> Iterator[Any]:
    """One object for values in a row that are one object, or one shape: so they are soon equal."""
    last: Any = None
    data: Any = None
    for value in values:
        if not _is_same(value, last):
            data = _field_to_data(value)
        last = value
        yield data


def _is_same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, tuple) and a == b)


def _field_to_data(value: Any) -> Any:
    if isinstance(value, Initializer):
        value = (value.kind, value.value, value.seed, value.arguments)
    return _plain(value.name if isinstance(value, DType) else value)


def _variables_from_data(data: Mapping[str, Any], budget: Budget) -> tuple[VariableSpec, ...]:
    names = _all_named(read_names(data["name"], None, budget))
    columns: dict[str, Sequence[Any]] = {
        "name": names,
        "of": read_names(data["of"], names, budget),
    }
    for field in fields(VariableSpec):
        if field.name not in _BY_NAME:
            read = partial(_field_from_data, field.name)
            columns[field.name] = read_repeats(data[field.name], read, budget)
    rows = zip(*columns.values(), strict=True)
    return tuple(VariableSpec(**dict(zip(columns, row, strict=True))) for row in rows)


def _field_from_data(key: str, value: Any) -> Any:
    if key == "dtype":
        return as_dtype(value)
    if key == "shape":
        return tuple(value)
    if key == "initializer":
        kind, number, seed, arguments = value
        return Initializer(kind, _number(number), seed, tuple(arguments))
    return value


def _group_to_data(group: Group, names: Sequence[str]) -> list[Any]:
    settings = [
        (x.name, x.value, x.settable, x.variable, x.aliases, x.minimum, x.below)
        for x in group.hyperparameters
    ]
    members = group.variables
    members = None if members is None else names_to_data(members, table_of(names))
    return [settings, members, group.function]


def _group_from_data(data: list[Any], names: Sequence[str], budget: Budget) -> Group:
    settings, variables, function = data
    members = None if variables is None else _all_named(read_names(variables, names, budget))
    return Group(
        hyperparameters=tuple(
            Hyperparameter(name, value, settable, variable, tuple(aliases), minimum, below)
            for name, value, settable, variable, aliases, minimum, below in settings
        ),
        variables=None if members is None else tuple(members),
        function=function,
    )
