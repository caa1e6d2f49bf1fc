"""One entry point as a function: its arguments, one rule per node, its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stepforge.frontend.dtypes import as_dtype, int32
from stepforge.frontend.emit.bindings import Builder, FunctionArgument, Module, Value
from stepforge.frontend.emit.errors import EmitError
from stepforge.frontend.emit.rules import EMIT, needs_rounding
from stepforge.frontend.emit.shaping import extract
from stepforge.frontend.emit.widths import compare, constant, enter, leave, rounded, wide_element
from stepforge.frontend.graph import Node

if TYPE_CHECKING:
    from stepforge.frontend.program import Argument, EntryPoint, Result

HOST_ELEMENTS = ("f32", "i64")


def emit_function(module: Module, entry: EntryPoint) -> None:
    """Appends the function of one entry point."""
    arguments = [x for x in entry.arguments if not (_has_table(entry) and x.storage == "host")]
    types = [_argument_type(x) for x in arguments]
    if entry.table:
        names = {"stepforge.name": "scalars", "stepforge.role": "scalars"}
        types.append(FunctionArgument(_table_element(entry), (len(entry.table),), names))

    def body(b: Builder, given: Sequence[Value]) -> list[Value]:
        nodes = zip(arguments, given, strict=False)  # the table, if any, comes after these
        values = {x.node: _enter(b, x, value) for x, value in nodes}
        for k, node in enumerate(entry.table):
            values[node] = _table_entry(b, node, given[-1], k)
        return _compute(b, entry, values)

    module.function(entry.name, types, body)


def _has_table(entry: EntryPoint) -> bool:
    return entry.scalars == "table"


def _argument_type(argument: Argument) -> FunctionArgument:
    node = argument.node
    attributes: dict[str, str | int] = {
        "stepforge.name": argument.name,
        "stepforge.role": argument.role,
    }
    if argument.result is not None:
        attributes["stepforge.result"] = argument.result
    if argument.storage == "host":
        return FunctionArgument(_host_element(node, argument.name), None, attributes)
    element = "i8" if node.dtype.kind == "bool" else node.dtype.short
    return FunctionArgument(element, node.shape, attributes)


def _host_element(node: Node, name: str) -> str:
    if node.dtype.short in HOST_ELEMENTS and not node.rank:
        return node.dtype.short
    raise EmitError(
        f"{name}: a host scalar is passed as one {' or '.join(HOST_ELEMENTS)}",
        got=str(node.type),
        hint='cast it in the graph, or pass the scalars in a table (scalars="table")',
        location=node.location,
    )


def _enter(b: Builder, argument: Argument, given: Value) -> Value:
    """The tensor that an argument stands for: of rank 0, of i1, or of a wide element."""
    if argument.storage == "host":
        return b.op("tensor.from_elements", [given], shape=())
    if argument.node.dtype.kind == "bool":
        return compare(b, "ne", given, constant(b, given, 0))
    return enter(b, given)


def _table_element(entry: EntryPoint) -> str:
    for node in entry.table:
        if node.dtype.is_integer and node.dtype != int32:
            raise EmitError(
                "a table of host scalars holds floats, bools, and i32 that a float32 holds exactly",
                got=repr(node),
                hint="cast the integer to a float in the graph",
                location=node.location,
            )
    return as_dtype(entry.scalar_program.dtype).short


def _table_entry(b: Builder, node: Node, table: Value, k: int) -> Value:
    x = extract(b, table, (), [k], [1], [1])
    if node.dtype.kind == "bool":
        return compare(b, "une", x, constant(b, x, 0))
    if node.dtype == int32:
        return b.op("arith.fptosi", [x], element="i32")
    return x


def _compute(b: Builder, entry: EntryPoint, values: dict[Node, Value]) -> list[Value]:
    """The results; with a table, the new values of host arguments are none of them."""
    host = {x.result for x in entry.arguments if x.storage == "host"}
    results = [x for i, x in enumerate(entry.results) if not (_has_table(entry) and i in host)]
    exact = dict[Node, Value]()
    for node in _missing([x.node for x in results], values):
        b.at(node.location)
        for x in node.inputs:
            if x not in exact:
                exact[x] = _rounded(b, x, values[x])
        values[node] = _rule(b, node, [exact[x] for x in node.inputs])
    b.at("")
    return [
        _to_host(b, values[x.node], x) if i in host else _leave(b, values[x.node], x.node)
        for i, x in enumerate(results)
    ]


def _rounded(b: Builder, node: Node, x: Value) -> Value:
    return rounded(b, x, node.dtype.short) if needs_rounding(node) else x


def _missing(outputs: Sequence[Node], values: Mapping[Node, Value]) -> list[Node]:
    """What `outputs` need that has no value yet, operands first."""
    seen: set[Node] = set()
    pending = [x for x in outputs if x not in values]
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending.extend(x for x in node.inputs if x not in values)
    return sorted(seen, key=lambda node: node.id)


def _rule(b: Builder, node: Node, operands: Sequence[Value]) -> Value:
    if node.op not in EMIT:
        fix = "add a row to EMIT" if node.op != "input" else "make it an argument of the entry"
        raise EmitError(f"{node.op}: no way to emit it", got=repr(node), hint=fix)
    result = EMIT[node.op](b, node, operands)
    expected = (wide_element(node.dtype.short), node.shape)
    assert (result.element, result.shape) == expected, f"{node!r} became {result.type}"
    return result


def _to_host(b: Builder, x: Value, result: Result) -> Value:
    return b.scalar("tensor.extract", [x], _host_element(result.node, result.name))


def _leave(b: Builder, x: Value, node: Node) -> Value:
    """A result in the element that it has outside: bools cross a function boundary as i8."""
    if x.element == "i1":
        return b.op("arith.extui", [x], element="i8")
    return leave(b, x, node.dtype.short)
