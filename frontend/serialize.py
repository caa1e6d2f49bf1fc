"""Graphs as JSON and back. Types are inferred again on the way in, so none are stored.

{"graphs": [{"name": ..., "blocks": [[count, [[op, operands, {attributes}], ...]], ...]}, ...],
 "named": {name: [index of the graph, id of the node], ...}}

A block is nodes, `count` times over: the updates of many variables are one block (`loops`). An
operand is the id of an earlier node, or -d for the node d before this one, or [id, stride] for an
id that grows by the stride from turn to turn. Attributes are numbers, names and lists of numbers; a
dtype is its name; infinite and NaN constants are the strings "inf", "-inf" and "nan". A name or a
shape that differs from turn to turn is {"each": column} with one value for each turn, as names and
repeats of `columns`. With locations each node has a fourth entry, the user's line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from stepforge.frontend.columns import (
    Budget,
    names_to_data,
    read_names,
    read_repeats,
    repeats,
    table_of,
)
from stepforge.frontend.dtypes import DType, TensorType, as_dtype
from stepforge.frontend.errors import FrontendError, SerializeError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.json_values import (
    Json,
    fields,
    integer,
    integer_lists,
    integers,
    items,
    string,
)
from stepforge.frontend.loops import VARYING, Stretch, stretches
from stepforge.frontend.ops import OPS
from stepforge.frontend.ops.op import Op

Decoder: TypeAlias = Callable[[Any], Any]

_NEAR = 64  # nodes back up to which an operand outside of a loop is relative


def to_json(
    graphs: Sequence[Graph], named: Mapping[str, Node] | None = None, *, locations: bool = False
) -> str:
    """Canonical text: equal graphs give equal text, with locations left out as by default.

    named: nodes of these graphs that the reader must find again.
    """
    places = {id(graph): index for index, graph in enumerate(graphs)}
    data = {
        "graphs": [graph_to_data(graph, locations=locations) for graph in graphs],
        "named": {name: [places[id(x.graph)], x.id] for name, x in (named or {}).items()},
    }
    return json.dumps(data, allow_nan=False, separators=(",", ":"), sort_keys=True)


def from_json(text: str | bytes) -> tuple[list[Graph], dict[str, Node]]:
    """The graphs and named nodes of `to_json`; raises SerializeError for any other text."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SerializeError("this is not JSON", got=error) from error
    found = fields(data, {"graphs": list, "named": dict}, "the document")
    budget = Budget.of(text)
    graphs = [graph_from_data(graph, budget=budget) for graph in found["graphs"]]
    nodes = [graph.nodes for graph in graphs]
    named = {name: _find(nodes, name, place) for name, place in found["named"].items()}
    return graphs, named


def graph_to_data(
    graph: Graph, *, names: Sequence[str] = (), locations: bool = False
) -> dict[str, Json]:
    """One graph as JSON values. Node ids stay what they are.

    names: those of which the inputs' names are made; the reader must give the same ones.
    """
    table = table_of(names)
    blocks: list[Json] = []
    for stretch in stretches(graph, locations=locations):
        first = range(stretch.start, stretch.start + stretch.length)
        rows: list[Json] = [_row(graph.nodes, i, stretch, table, locations) for i in first]
        blocks.append([stretch.count, rows])
    return {"name": graph.name, "blocks": blocks}


def _row(
    nodes: Sequence[Node], index: int, loop: Stretch, table: Mapping[str, int], locations: bool
) -> list[Json]:
    """A node of the first turn, standing for itself and those of the other turns."""
    node = nodes[index]
    turns = nodes[index : index + loop.length * loop.count : loop.length]
    attributes: dict[str, Json] = {
        key: _column(key, [x.attributes[key] for x in turns], table)
        if key in VARYING
        else _encode(value)
        for key, value in node.attributes.items()
    }
    row: list[Json] = [node.op, _operands(turns, loop), attributes]
    return [*row, node.location] if locations else row


def _operands(turns: Sequence[Node], loop: Stretch) -> list[Json]:
    node = turns[0]
    if loop.count == 1:
        return [x.id - node.id if node.id - x.id <= _NEAR else x.id for x in node.inputs]
    return [
        _moving(a.id, b.id - a.id, node, loop)
        for a, b in zip(node.inputs, turns[1].inputs, strict=True)
    ]


def _moving(first: int, stride: int, node: Node, loop: Stretch) -> Json:
    if stride == loop.length:
        return first - node.id
    return [first, stride] if stride else first


def _column(key: str, values: Sequence[Any], table: Mapping[str, int]) -> Json:
    if key == "shape":
        shapes = repeats([list(x) for x in values])
        return _encode(values[0]) if len(shapes) == 1 else {"each": shapes}
    column = names_to_data(values, table, [_owner(x, table) for x in values])
    return values[0] if column == [values[0]] else {"each": column}


def _owner(name: str, table: Mapping[str, int]) -> str | None:
    """The name of the table in an input's name: itself, or what a colon parts from the rest."""
    parts = (name, name.partition(":")[2], name.rpartition(":")[0])
    return next((x for x in parts if x in table), None)


def graph_from_data(data: Any, *, names: Sequence[str] = (), budget: Budget | None = None) -> Graph:
    """The graph of `graph_to_data`; raises SerializeError for anything else.

    budget: of all that is read from one text.
    """
    found = fields(data, {"name": str, "blocks": list}, "a graph")
    graph = Graph(found["name"])
    budget = budget or Budget()
    nodes: list[Node] = []
    try:
        for block in found["blocks"]:
            _add_block(graph, nodes, block, names, budget)
    except (FrontendError, RecursionError) as error:
        rule = f"node {len(nodes)} of graph {graph.name!r} is wrong"
        raise SerializeError(rule, got=error, location="") from error
    return graph


@dataclass(frozen=True, slots=True)
class _Row:
    op: Op
    operands: tuple[tuple[int, int], ...]
    """(id in the first turn, stride)"""
    attributes: Mapping[str, Any]
    columns: Mapping[str, Sequence[Any]]
    """Of the attributes that differ, the value of each turn."""
    location: str


def _add_block(
    graph: Graph, nodes: list[Node], block: Any, names: Sequence[str], budget: Budget
) -> None:
    entries = items(block)
    if len(entries) != 2 or integer(entries[0]) < 1:
        raise SerializeError("a block is [count, nodes]", got=entries)
    count, data = entries[0], items(entries[1])
    budget.spend(count * len(data))
    if count == 1:  # one by one, so that an error names its node
        for row in data:
            _add_turn(graph, nodes, [_read_row(row, len(nodes), 1, 1, names, budget)], 0)
        return
    first = len(nodes)
    rows = [_read_row(x, first + i, len(data), count, names, budget) for i, x in enumerate(data)]
    for turn in range(count):
        _add_turn(graph, nodes, rows, turn)


def _add_turn(graph: Graph, nodes: list[Node], rows: Sequence[_Row], turn: int) -> None:
    for row in rows:
        ids = [first + turn * stride for first, stride in row.operands]
        if any(not 0 <= i < len(nodes) for i in ids):
            raise SerializeError("operands are ids of earlier nodes", got=ids)
        inputs = [nodes[i] for i in ids]
        before = nodes[-len(rows)] if turn and not row.columns else None
        if before is not None and _types(inputs) == _types(before.inputs):
            nodes.append(graph.add_copy(before, inputs))
            continue
        each = {key: column[turn] for key, column in row.columns.items()}
        made = graph.add(row.op, inputs, {**row.attributes, **each}, location=row.location)
        nodes.append(made)


def _types(nodes: Iterable[Node]) -> list[TensorType]:
    return [node.type for node in nodes]


def _read_row(
    data: Any, index: int, length: int, count: int, names: Sequence[str], budget: Budget
) -> _Row:
    """The row of node `index`, in a block of `count` turns of `length` nodes."""
    entries = items(data)
    if len(entries) not in (3, 4):
        raise SerializeError("a node is [op, operands, attributes], or has a location", got=entries)
    name, operands, attributes, *rest = entries
    op = OPS.get(name) if isinstance(name, str) else None
    if op is None:
        raise SerializeError("unknown op", expected=f"one of {', '.join(OPS)}", got=name)
    if len(items(operands)) != op.arity and (op.arity is not None or not operands):
        got = len(operands)
        raise SerializeError(f"{name}: wrong number of operands", expected=op.arity, got=got)
    values = fields(attributes, dict.fromkeys(op.attributes, object), f"the attributes of {name}")
    varying = [k for k, x in values.items() if k in VARYING and isinstance(x, dict)]
    decoded = {k: DECODERS[k](x) for k, x in values.items() if k not in varying}
    columns = {k: _each(k, values[k], count, names, budget) for k in varying}
    # Each turn looks at all of a value again.
    fixed = len(operands) + sum(_size(x) for x in decoded.values())
    budget.spend(count * fixed + sum(_size(x) for column in columns.values() for x in column))
    return _Row(
        op=op,
        operands=tuple(_operand(x, index, length) for x in operands),
        attributes=decoded,
        columns=columns,
        location=string(rest[0]) if rest else "",
    )


def _operand(data: Any, index: int, length: int) -> tuple[int, int]:
    if isinstance(data, list):
        moving = integers(data)
        if len(moving) != 2:
            raise SerializeError("an operand is an id, or [id, stride]", got=moving)
        return moving[0], moving[1]
    return (index + data, length) if integer(data) < 0 else (data, 0)


def _each(key: str, data: Any, count: int, names: Sequence[str], budget: Budget) -> list[Any]:
    column = fields(data, {"each": list}, f"the attribute {key}")["each"]
    by_name = key == "name"
    found = read_names(column, names, budget) if by_name else read_repeats(column, integers, budget)
    if len(found) != count or None in found:
        raise SerializeError(f"{key}: one for each turn", expected=count, got=len(found))
    return found


def _size(value: Any) -> int:
    """The values in nested tuples."""
    if not isinstance(value, tuple):
        return 0
    return sum(1 + _size(x) for x in cast("tuple[Any, ...]", value))


def _find(nodes: Sequence[Sequence[Node]], name: str, place: Any) -> Node:
    index = integers(place)
    if len(index) == 2 and 0 <= index[0] < len(nodes) and 0 <= index[1] < len(nodes[index[0]]):
        return nodes[index[0]][index[1]]
    raise SerializeError(f"{name!r} names a node", expected="[graph, node]", got=place)


def _encode(value: Any) -> Json:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, tuple):
        return [_encode(x) for x in cast("tuple[Any, ...]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _dtype(data: Any) -> DType:
    return as_dtype(string(data))


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_value(x) for x in items(cast("Any", data)))
    if data in ("inf", "-inf", "nan"):
        return float(data)
    if isinstance(data, bool | int | float):
        return data
    raise SerializeError("wrong attribute", expected="a number, or lists of numbers", got=data)


DECODERS: Mapping[str, Decoder] = {
    **dict.fromkeys(("shape", "axes", "permutation", "starts", "limits"), integers),
    **dict.fromkeys(("strides", "low", "high"), integers),
    **dict.fromkeys(("contract", "batch", "padding"), integer_lists),
    **dict.fromkeys(("input_dilation", "kernel_dilation"), integers),
    **{"axis": integer, "groups": integer, "name": string, "dtype": _dtype, "value": _value},
}
"""How each attribute is read; an op with an attribute of a new name adds a row."""
