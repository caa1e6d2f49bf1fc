"""The element-wise operations of a function, each read once: crossing into the bindings is slow."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import ir


def is_inner(op: ir.Operation | None) -> bool:
    """Math on tensors, and the broadcast of one element, which costs nothing inside a loop."""
    if op is None:
        return False
    return rewriting.is_tensor_math(op) or is_scalar_broadcast(op)


def is_scalar_broadcast(op: ir.Operation) -> bool:
    return op.name == "linalg.broadcast" and bindings.shape(op.operands[0]) == ()


def is_move(op: ir.Operation) -> bool:
    """The cast of a tensor to its own type, which stands for an argument that becomes a result."""
    return op.name == "arith.bitcast" and op.operands[0].type == op.results[0].type


@dataclass(slots=True, eq=False)
class Step:
    """One element-wise operation, as `is_inner` knows them."""

    op: ir.Operation
    result: ir.Value
    reads: list[ir.Value]
    """The values that each element is made of."""
    shape: tuple[int, ...] | None
    passes_on: bool
    """It gives the element that it reads: a broadcast of one, or a move."""

    def kind(self) -> Hashable:
        """Equal for steps that compute the same of what they read."""
        if self.passes_on:
            return None
        return self.op.name, bindings.element_type(self.result), *self.op.attributes.items()


class Steps:
    """Those of one block, as long as nothing but what reads them from outside is changed."""

    def __init__(self, block: ir.Block) -> None:
        self.outer: list[ir.Operation] = []
        """All other operations, in order."""
        self._by_result: dict[ir.Value, Step] = {}
        self._on_host: dict[ir.Value, bool] = {}
        for op in bindings.operations(block):
            step = _read(op)
            if step is None:
                self.outer.append(op)
            else:
                self._by_result[step.result] = step

    def __iter__(self) -> Iterator[Step]:
        """In order."""
        return iter(self._by_result.values())

    def of(self, value: ir.Value) -> Step | None:
        """The step that makes a value; None for what is made otherwise."""
        return self._by_result.get(value)

    def knows_on_host(self, value: ir.Value) -> bool:
        """As `rewriting.knows_on_host`."""
        if value not in self._on_host:
            self._on_host[value] = rewriting.knows_on_host(value)
        return self._on_host[value]


def _read(op: ir.Operation) -> Step | None:
    result = rewriting.tensor_math(op)
    if result is not None:
        return Step(op, result, list(op.operands), bindings.shape(result), is_move(op))
    if is_scalar_broadcast(op):
        result = op.results[0]
        return Step(op, result, [op.operands[0]], bindings.shape(result), passes_on=True)
    return None
