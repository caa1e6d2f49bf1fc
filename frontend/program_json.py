"""A Program as JSON and back, so that an artifact can be evaluated without its source.

{"entry_points": [{"graph": ..., "arguments": [[name, role, node, storage, derive, result], ...],
                   "results": [[name, role, node], ...], "scalars": ..., "table": [node, ...],
                   "program": [dtype, rows, table, results]}, ...],
 "variables": [...], "groups": [...], "formula": ..., "nan_tracing": ...}

Graphs are as in `serialize`, nodes are their ids, and records are lists of their fields in order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from stepforge.frontend.describe import unique
from stepforge.frontend.dtypes import as_dtype
from stepforge.frontend.errors import FrontendError, SerializeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import Initializer
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
    data = {
        "entry_points": [_entry_to_data(e, locations) for e in program.entry_points],
        "variables": [_variable_to_data(v) for v in program.variables],
        "groups": [_group_to_data(g) for g in program.groups],
        "formula": program.formula,
        "nan_tracing": program.nan_tracing,
    }
    return json.dumps(_plain(data), allow_nan=False, separators=(",", ":"), sort_keys=True)


def program_from_json(text: str | bytes) -> Program:
    """The program of `program_to_json`. Raises SerializeError for any other text."""
    try:
        data = json.loads(text)
        groups = tuple(_group_from_data(g) for g in data["groups"])
        return Program(
            entry_points=tuple(_entry_from_data(e) for e in data["entry_points"]),
            variables=tuple(_variable_from_data(v) for v in data["variables"]),
            groups=groups,
            hyperparameters=unique(groups),
            formula=str(data["formula"]),
            nan_tracing=bool(data["nan_tracing"]),
        )
    except SerializeError:
        raise
    except (LookupError, TypeError, ValueError, RecursionError, FrontendError) as error:
        raise SerializeError("this is not a serialized program", got=repr(error)) from error


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


def _entry_to_data(entry: EntryPoint, locations: bool) -> dict[str, Any]:
    program = entry.scalar_program
    return {
        "graph": graph_to_data(entry.graph, locations=locations),
        "arguments": [
            (x.name, x.role, x.node.id, x.storage, x.derive, x.result) for x in entry.arguments
        ],
        "results": [(x.name, x.role, x.node.id) for x in entry.results],
        "scalars": entry.scalars,
        "table": [node.id for node in entry.table],
        "program": (program.dtype, program.rows, program.table, program.results),
    }


def _entry_from_data(data: Mapping[str, Any]) -> EntryPoint:
    graph = graph_from_data(data["graph"])
    nodes = graph.nodes

    def node(index: Any) -> Node:
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise SerializeError("a node is its id", got=repr(index))
        return nodes[index]

    dtype, rows, table, results = data["program"]
    return EntryPoint(
        name=graph.name,
        graph=graph,
        arguments=tuple(
            Argument(name, role, node(i), storage, derive, result)
            for name, role, i, storage, derive, result in data["arguments"]
        ),
        results=tuple(Result(name, role, node(i)) for name, role, i in data["results"]),
        scalars=data["scalars"],
        scalar_program=ScalarProgram(
            dtype=dtype,
            rows=tuple(tuple(_number(x) for x in row) for row in rows),
            table=tuple(table),
            results=tuple((name, row) for name, row in results),
        ),
        table=tuple(node(i) for i in data["table"]),
    )


def _variable_to_data(spec: VariableSpec) -> list[Any]:
    first = spec.initializer
    row = {field.name: getattr(spec, field.name) for field in fields(spec)}
    row["dtype"] = spec.dtype.name
    row["initializer"] = (first.kind, first.value, first.seed, first.arguments)
    return list(row.values())


def _variable_from_data(data: list[Any]) -> VariableSpec:
    names = [field.name for field in fields(VariableSpec)]
    row = dict(zip(names, data, strict=True))
    kind, value, seed, arguments = row["initializer"]
    row["initializer"] = Initializer(kind, _number(value), seed, tuple(arguments))
    row["dtype"] = as_dtype(row["dtype"])
    row["shape"] = tuple(row["shape"])
    return VariableSpec(**row)


def _group_to_data(group: Group) -> list[Any]:
    settings = [
        (x.name, x.value, x.settable, x.variable, x.aliases, x.minimum, x.below)
        for x in group.hyperparameters
    ]
    return [settings, group.variables, group.function]


def _group_from_data(data: list[Any]) -> Group:
    settings, variables, function = data
    return Group(
        hyperparameters=tuple(
            Hyperparameter(name, value, settable, variable, tuple(aliases), minimum, below)
            for name, value, settable, variable, aliases, minimum, below in settings
        ),
        variables=None if variables is None else tuple(variables),
        function=function,
    )
