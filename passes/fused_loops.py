"""One loop for one cluster. Loops that compute the same of other tensors share one body.

A model has hundreds of variables whose updates differ in their tensors alone, so the body of the
first is copied for the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from stepforge.passes import bindings, rewriting, scalar_math
from stepforge.passes.bindings import ir
from stepforge.passes.clusters import Cluster
from stepforge.passes.inner_steps import Step, Steps
from stepforge.passes.rewriting import Operand


@dataclass(frozen=True, slots=True)
class FusedLoops:
    """Builds the loops of a function in front of its end."""

    end: ir.Operation
    steps: Steps
    made: dict[ir.Value, ir.Value] = field(default_factory=dict[ir.Value, ir.Value])
    """Root -> what a broadcast of it finds."""
    bodies: dict[Hashable, ir.Operation] = field(default_factory=dict[Hashable, ir.Operation])
    """The first loop of each body."""

    def build(self, cluster: Cluster) -> ir.Operation:
        """The `linalg.generic` that yields the roots of a cluster."""
        steps = _slice(cluster.roots, self.steps)
        own = {step.result for step in steps}
        leaves = list(dict.fromkeys(v for step in steps for v in step.reads if v not in own))
        on_device = [leaf for leaf in leaves if not self.steps.knows_on_host(leaf)]
        shape = list(cluster.roots[0].type.shape)
        with ir.InsertionPoint(self.end), steps[-1].op.location:
            identity = ir.AffineMap.get_identity(len(shape))
            types = [root.type.element_type for root in cluster.roots]
            empty = {type_: rewriting.empty(shape, type_) for type_ in dict.fromkeys(types)}
            inputs = [_operand(leaf, len(shape), self.made) for leaf in on_device]
            outputs = [(empty[type_], identity) for type_ in types]
            elements = [bindings.element_type(value) for value, _ in (*inputs, *outputs)]
            key = (tuple(elements), _signature(cluster.roots, steps, on_device))
            iterators = ["parallel"] * len(shape)
            if key in self.bodies:
                return rewriting.copy_generic(self.bodies[key], inputs, outputs, iterators)

            def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
                return _body(
                    cluster.roots, steps, leaves, dict(zip(on_device, arguments, strict=False))
                )

            loop = self.bodies[key] = rewriting.build_generic(inputs, outputs, iterators, fill)
            return loop


def _body(
    roots: Sequence[ir.Value],
    steps: Sequence[Step],
    leaves: Sequence[ir.Value],
    scalars: dict[ir.Value, ir.Value],
) -> list[ir.Value]:
    """The scalars that a loop yields, of those that it reads."""
    for leaf in leaves:
        if leaf not in scalars:
            scalars[leaf] = rewriting.host_scalar(leaf)
    for step in steps:
        operands = [scalars[value] for value in step.reads]
        result = operands[0]
        if not step.passes_on:
            result = scalar_math.emit(step.op, operands, on_host=False)
        scalars[step.result] = result
    return [scalars[root] for root in roots]


def _signature(
    roots: Sequence[ir.Value], steps: Sequence[Step], on_device: Sequence[ir.Value]
) -> Hashable:
    """Equal for equal bodies; what the host knows is itself, what the device reads a number."""
    numbers = dict[ir.Value, Hashable](zip(on_device, range(-len(on_device), 0), strict=True))
    rows = list[Hashable]()
    for step in steps:
        rows.append((step.kind(), tuple(numbers.get(value, value) for value in step.reads)))
        numbers[step.result] = len(rows)
    return tuple(rows), tuple(numbers[root] for root in roots)


def _slice(roots: Sequence[ir.Value], steps: Steps) -> list[Step]:
    """The element-wise operations that the roots need, operands first.

    The order is that of the expressions, not of the program, where a term that several clusters
    share stands before the first of them: equal updates become equal code, which IREE keeps once.
    """
    # A value comes with its step when its operands are done.
    waiting: list[tuple[ir.Value, Step | None]] = [(root, None) for root in reversed(roots)]
    found = dict[ir.Value, Step]()
    while waiting:
        value, step = waiting.pop()
        if step is not None:
            found.setdefault(value, step)
            continue
        step = None if value in found else steps.of(value)
        if step is None:
            continue
        waiting.append((value, step))
        waiting.extend((operand, None) for operand in reversed(step.reads))
    return list(found.values())


def _operand(leaf: ir.Value, rank: int, made: Mapping[ir.Value, ir.Value]) -> Operand:
    """The tensor that a loop of `rank` dimensions reads for a leaf, and where it reads it."""
    op = bindings.producer(leaf)
    if op is not None and op.name == "linalg.broadcast":
        added = list(op.attributes["dimensions"])
        kept = [ir.AffineDimExpr.get(d) for d in range(rank) if d not in added]
        source = op.operands[0]
        return made.get(source, source), ir.AffineMap.get(rank, 0, kept)
    if bindings.shape(leaf) != ():
        return leaf, ir.AffineMap.get_identity(rank)
    entry = _table_entry(op)
    if entry is None:
        return leaf, ir.AffineMap.get(rank, 0, [])
    table, index = entry
    return table, ir.AffineMap.get(rank, 0, [ir.AffineConstantExpr.get(index)])


def _table_entry(op: ir.Operation | None) -> tuple[ir.Value, int] | None:
    """`%table` and `k` where an operation is `extract_slice %table[k] [1] [1]` of a one-dimensional
    tensor, or that slice's one element."""
    if op is not None and op.name == "tensor.collapse_shape":
        op = bindings.producer(op.operands[0])
    if op is None or op.name != "tensor.extract_slice" or len(op.operands) != 1:
        return None
    offsets = list(op.attributes["static_offsets"])
    return (op.operands[0], offsets[0]) if len(offsets) == 1 else None
