"""Graphs as JSON and back. Types are inferred again on the way in, so none are stored.

{"graphs": [{"name": ..., "nodes": [[op, [operand ids], {attributes}], ...]}, ...],
 "named": {name: [index of the graph, id of the node], ...}}

Operands are ids of earlier nodes. Attributes are numbers, names and lists of numbers; a dtype is
its name; infinite and NaN constants are the strings "inf", "-inf" and "nan". With locations each
node has a fourth entry, the user's line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from stepforge.frontend.dtypes import DType, as_dtype
from stepforge.frontend.errors import FrontendError, SerializeError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.ops import OPS

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Decoder: TypeAlias = Callable[[Any], Any]


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
    fields = _fields(data, {"graphs": list, "named": dict}, "the document")
    graphs = [graph_from_data(graph) for graph in fields["graphs"]]
    nodes = [graph.nodes for graph in graphs]
    named = {name: _find(nodes, name, place) for name, place in fields["named"].items()}
    return graphs, named


def graph_to_data(graph: Graph, *, locations: bool = False) -> dict[str, Json]:
    """One graph as JSON values. Node ids stay what they are."""
    rows: list[Json] = []
    for node in graph.nodes:
        attributes: dict[str, Json] = {k: _encode(v) for k, v in node.attributes.items()}
        row: list[Json] = [node.op, [x.id for x in node.inputs], attributes]
        rows.append([*row, node.location] if locations else row)
    return {"name": graph.name, "nodes": rows}


def graph_from_data(data: Any) -> Graph:
    """The graph of `graph_to_data`; raises SerializeError for anything else."""
    fields = _fields(data, {"name": str, "nodes": list}, "a graph")
    graph = Graph(fields["name"])
    nodes: list[Node] = []
    for row in fields["nodes"]:
        try:
            nodes.append(_add_node(graph, nodes, row))
        except (FrontendError, RecursionError) as error:
            rule = f"node {len(nodes)} of graph {graph.name!r} is wrong"
            raise SerializeError(rule, got=error, location="") from error
    return graph


def _add_node(graph: Graph, nodes: Sequence[Node], row: Any) -> Node:
    entries = _list(row)
    if len(entries) not in (3, 4):
        raise SerializeError("a node is [op, operands, attributes], or has a location", got=entries)
    name, operands, attributes, *rest = entries
    op = OPS.get(name) if isinstance(name, str) else None
    if op is None:
        raise SerializeError("unknown op", expected=f"one of {', '.join(OPS)}", got=name)
    ids = _integers(operands)
    if any(not 0 <= i < len(nodes) for i in ids):
        raise SerializeError("operands are ids of earlier nodes", got=operands)
    if len(ids) != op.arity and (op.arity is not None or not ids):
        raise SerializeError(f"{name}: wrong number of operands", expected=op.arity, got=len(ids))
    types = {key: object for key in op.attributes}
    values = _fields(attributes, types, f"the attributes of {name}")
    decoded = {key: DECODERS[key](value) for key, value in values.items()}
    location = _string(rest[0]) if rest else ""
    return graph.add(op, [nodes[i] for i in ids], decoded, location=location)


def _find(nodes: Sequence[Sequence[Node]], name: str, place: Any) -> Node:
    index = _integers(place)
    if len(index) == 2 and 0 <= index[0] < len(nodes) and 0 <= index[1] < len(nodes[index[0]]):
        return nodes[index[0]][index[1]]
    raise SerializeError(f"{name!r} names a node", expected="[graph, node]", got=place)


def _fields(data: Any, types: Mapping[str, type], what: str) -> dict[str, Any]:
    """`data` as a dictionary of exactly these keys and types, in this order."""
    fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if not isinstance(data, dict) or set(fields) != set(types):
        got = sorted(fields) if fields else type(cast("object", data)).__name__
        raise SerializeError(f"{what} must have exactly its keys", expected=list(types), got=got)
    for key, type_ in types.items():
        if not isinstance(fields[key], type_):
            expected = type_.__name__
            raise SerializeError(f"{what}: {key!r}", expected=expected, got=fields[key])
    return {key: fields[key] for key in types}


def _encode(value: Any) -> Json:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, tuple):
        return [_encode(x) for x in cast("tuple[Any, ...]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _integer(data: Any) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise SerializeError("wrong attribute", expected="an integer", got=data)
    return data


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise SerializeError("wrong value", expected="a list", got=data)
    return cast("list[Any]", data)


def _integers(data: Any) -> tuple[int, ...]:
    return tuple(_integer(x) for x in _list(data))


def _integer_lists(data: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(_integers(x) for x in _list(data))


def _string(data: Any) -> str:
    if not isinstance(data, str):
        raise SerializeError("wrong attribute", expected="a string", got=data)
    return data


def _dtype(data: Any) -> DType:
    return as_dtype(_string(data))


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_value(x) for x in _list(cast("Any", data)))
    if data in ("inf", "-inf", "nan"):
        return float(data)
    if isinstance(data, bool | int | float):
        return data
    raise SerializeError("wrong attribute", expected="a number, or lists of numbers", got=data)


DECODERS: Mapping[str, Decoder] = {
    **dict.fromkeys(("shape", "axes", "permutation", "starts", "limits"), _integers),
    **dict.fromkeys(("strides", "low", "high"), _integers),
    **dict.fromkeys(("contract", "batch", "padding"), _integer_lists),
    **dict.fromkeys(("input_dilation", "kernel_dilation"), _integers),
    **{"axis": _integer, "groups": _integer, "name": _string, "dtype": _dtype, "value": _value},
}
"""How each attribute is read; an op with an attribute of a new name adds a row."""
