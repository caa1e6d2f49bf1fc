"""Host scalars: what depends on counters and settables alone, computed once a step, off the device.

A step gets them in one of two ways. "arguments": counters and settables are arguments of the step,
whose host part computes the rest. "table": the runtime computes all of them in float64, rounds each
once, and passes one tensor; this is for steps with more scalars than fit into the push constants of
a dispatch (32 words on Vulkan), and for float64 steps, whose scalars f32 arguments cannot carry.

In both cases the runtime computes the next values of host variables from a scalar program.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stepforge.frontend.dtypes import float64, int32
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Node

MOST_SCALAR_ARGUMENTS = 16
"""Distinct host scalars that a step may take as arguments; above that they come in a table."""

Passing: TypeAlias = Literal["arguments", "table"]
Row: TypeAlias = "tuple[str | int | float | bool, ...]"


@dataclass(frozen=True, slots=True)
class ScalarProgram:
    """Host scalars as straight-line code over float64, int64 and bool.

    A row is `("input", path of a host variable)`, `("constant", number)`, `("cast", row, dtype)`,
    or `(op, row, ...)` with an op of the graph, rows by their index. A cast between float dtypes
    does nothing: values are rounded only where they leave the program. Python numbers in constants
    say whether they are integers, floats or bools.
    """

    dtype: str
    """Of the table: "float32" or "float64"."""
    rows: tuple[Row, ...]
    table: tuple[int, ...]
    """The row of each table entry; empty without a table."""
    results: tuple[tuple[str, int], ...]
    """(path, row): the next value of each host variable that changes."""


def host_scalars(host_inputs: Iterable[Node], outputs: Iterable[Node]) -> frozenset[Node]:
    """`host_inputs`, and the rank-0 nodes below `outputs` that need only them and constants.

    Nodes that need constants alone are not counted. The host's integers are i64: i32 ones are the
    device's, to which the host gives them by a cast.
    """
    host = set(host_inputs)
    fixed: set[Node] = set()
    for node in reachable(outputs):
        if node.rank or node in host or node.op == "input":
            continue
        if all(x in fixed for x in node.inputs):
            fixed.add(node)
        elif node.dtype == int32 and node.op != "cast":
            continue
        elif all(x in fixed or x in host for x in node.inputs):
            host.add(node)
    return frozenset(host)


def device_scalars(host: frozenset[Node], device_results: Sequence[Node]) -> tuple[Node, ...]:
    """The host scalars that nodes on the device use, or that are results there; in graph order."""
    device = [node for node in reachable(device_results) if node not in host]
    used = {x for node in device for x in node.inputs if x in host}
    used.update(node for node in device_results if node in host)
    return tuple(sorted(used, key=lambda node: node.id))


def choose_passing(scalars: Sequence[Node]) -> Passing:
    """ "table" for more scalars than fit as arguments, or for float64 ones."""
    wide = any(node.dtype == float64 for node in scalars)
    return "table" if wide or len(scalars) > MOST_SCALAR_ARGUMENTS else "arguments"


def scalar_program(
    table: Sequence[Node],
    results: Sequence[tuple[str, Node]],
    inputs: dict[Node, tuple[str, str]],
) -> ScalarProgram:
    """The program for the table's nodes and the new values of host variables.

    inputs: for each host input node the variable's path and how it is derived from it.
    """
    rows: list[Row] = []
    index: dict[Node, int] = {}
    for node in reachable([*table, *(node for _, node in results)]):
        for row in _rows(node, index, inputs, len(rows)):
            rows.append(row)
        index[node] = len(rows) - 1
    return ScalarProgram(
        dtype="float64" if any(x.dtype == float64 for x in table) else "float32",
        rows=tuple(rows),
        table=tuple(index[node] for node in table),
        results=tuple((path, index[node]) for path, node in results),
    )


def _rows(
    node: Node, index: dict[Node, int], inputs: dict[Node, tuple[str, str]], start: int
) -> list[Row]:
    """One row for a node; a derived input takes the rows of its derivation."""
    if node in inputs:
        path, derive = inputs[node]
        read: list[Row] = [("input", path)]
        if derive == "one_minus":
            return [*read, ("constant", 1.0), ("sub", start + 1, start)]
        return [*read, ("log", start)] if derive == "log" else read
    if node.op == "constant":
        value = node.attributes["value"]
        return [("constant", float(value) if node.dtype.is_float else value)]
    operands = [index[x] for x in node.inputs]
    if node.op == "cast":
        return [("cast", operands[0], node.dtype.name)]
    return [(node.op, *operands)]
