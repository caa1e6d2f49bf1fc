"""fuse-step-math: the chain of element-wise operations of one update becomes one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings, clusters, rewriting, scalar_math, shared_scalars
from stepforge.passes.arguments import ROLE
from stepforge.passes.bindings import arith, func, ir
from stepforge.passes.clusters import Cluster
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.pass_base import Pass
from stepforge.passes.rewriting import Operand

#: Host scalars reach a dispatch as 32-bit push constants. Devices promise 32 words, of which IREE
#: takes some for itself; more compile, and fail when the artifact is loaded.
MAX_SCALAR_WORDS = 16


def fuse(function: func.FuncOp) -> None:
    """Replace every element-wise operation of a function by one generic per cluster."""
    _mark_moves(function)
    block = bindings.body(function)
    end = bindings.return_of(function)
    shared_scalars.share(function, lambda cluster: list(_emit(cluster, end, {}).results))
    made = dict[ir.Value, ir.Value]()  # root -> what a broadcast of it finds
    for cluster in clusters.find_clusters(function):
        generic = _emit(cluster, end, made)
        for root, result in zip(cluster.roots, generic.results, strict=True):
            made.setdefault(root, result)
            for reader in cluster.readers:
                reader.replace_uses_of_with(root, result)
    rewriting.erase_dead(block)
    rewriting.sort_by_dependency(block)
    fence_gathers(block)
    fence_slots(function)


def fence_gathers(block: ir.Block) -> None:
    """A barrier on each tensor whose elements the body of a loop picks by position.

    IREE would fuse the loop that makes it, and then hold all of it in the memory of one thread.
    """
    fenced = dict[ir.Value, ir.Value]()
    for op in bindings.operations(block):
        for inner in bindings.nested(op):
            picked = inner.operands[0] if inner.name == "tensor.extract" else None
            made_by = None if picked is None else bindings.producer(picked)
            if made_by is None or made_by.name in (rewriting.BARRIER, "arith.constant"):
                continue
            if picked not in fenced:
                with ir.InsertionPoint.after(made_by), made_by.location:
                    fenced[picked] = rewriting.barrier(picked)
            inner.operands[0] = fenced[picked]


def fence_slots(function: func.FuncOp) -> None:
    """A barrier on what is made of a slot and then read for each element of a larger loop.

    IREE would make it anew in each such loop, from the slot; and one of them may run after the slot
    has its new value, which an update of another shape writes.
    """
    attributes = bindings.argument_attributes(function)
    slots = [
        argument
        for argument, attrs in zip(function.arguments, attributes, strict=True)
        if bindings.text(attrs.get(ROLE)) == "slot"
    ]
    for op in bindings.operations(bindings.body(function)) if slots else ():
        if not rewriting.is_elementwise_generic(op) or len(op.results) != 1:
            continue
        made, inputs = op.results[0], rewriting.inputs(op)
        if any(x in slots for x, _ in inputs) and all(
            _is_smaller(made, r) for r in bindings.users(made)
        ):
            with ir.InsertionPoint.after(op), op.location:
                fenced = rewriting.barrier(made)
            made.replace_all_uses_except(fenced, fenced.owner.operation)


def _is_smaller(value: ir.Value, reader: ir.Operation) -> bool:
    """Whether a loop reads each element of a value several times."""
    if not rewriting.is_elementwise_generic(reader):
        return False
    return all(
        map_.n_dims > len(map_.results) for x, map_ in rewriting.inputs(reader) if x == value
    )


def _mark_moves(function: func.FuncOp) -> None:
    """Give each state that becomes another argument, or a constant, an operation, so that the loop
    that reads its old value includes it: IREE keeps no order between two loops."""
    end = bindings.return_of(function)
    for index, argument in clusters.replaced(function).items():
        value = end.operands[index]
        made_by = bindings.producer(value)
        no_loop = made_by is None or made_by.name == "arith.constant"
        if no_loop and value != argument and value.type == argument.type:
            with ir.InsertionPoint(end), end.location:
                end.operands[index] = arith.BitcastOp(value.type, value).result


def _emit(
    cluster: Cluster,
    end: ir.Operation,
    made: Mapping[ir.Value, ir.Value],
) -> ir.Operation:
    steps = _slice(cluster.roots)
    reads = [_reads(step) for step in steps]
    own = {step.results[0] for step in steps}
    leaves = list(dict.fromkeys(v for values in reads for v in values if v not in own))
    on_device = [leaf for leaf in leaves if not rewriting.knows_on_host(leaf)]
    shape = list(cluster.roots[0].type.shape)

    def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        scalars = dict(zip(on_device, arguments[: len(on_device)], strict=True))
        for leaf in leaves:
            if leaf not in scalars:
                scalars[leaf] = rewriting.host_scalar(leaf)
        for step, values in zip(steps, reads, strict=True):
            operands = [scalars[value] for value in values]
            same = clusters.is_scalar_broadcast(step) or clusters.is_move(step)
            result = operands[0] if same else scalar_math.emit(step, operands, on_host=False)
            scalars[step.results[0]] = result
        return [scalars[root] for root in cluster.roots]

    with ir.InsertionPoint(end), steps[-1].location:
        identity = ir.AffineMap.get_identity(len(shape))
        types = [root.type.element_type for root in cluster.roots]
        empty = {type_: rewriting.empty(shape, type_) for type_ in dict.fromkeys(types)}
        return rewriting.build_generic(
            inputs=[_operand(leaf, len(shape), made) for leaf in on_device],
            outputs=[(empty[type_], identity) for type_ in types],
            iterator_types=["parallel"] * len(shape),
            fill=fill,
        )


def _slice(roots: Sequence[ir.Value]) -> list[ir.Operation]:
    """The element-wise operations that the roots need, operands first.

    The order is that of the expressions, not of the program, where a term that several clusters
    share stands before the first of them: equal updates become equal code, which IREE keeps once.
    """
    # A value comes with its operation when its operands are done.
    waiting: list[tuple[ir.Value, ir.Operation | None]] = [(root, None) for root in reversed(roots)]
    found = dict[ir.Value, ir.Operation]()
    while waiting:
        value, op = waiting.pop()
        if op is not None:
            found.setdefault(value, op)
            continue
        op = None if value in found else bindings.producer(value)
        if op is None or not clusters.is_inner(op):
            continue
        waiting.append((value, op))
        waiting.extend((operand, None) for operand in reversed(_reads(op)))
    return list(found.values())


def _reads(step: ir.Operation) -> list[ir.Value]:
    operands = list(step.operands)
    return operands[:1] if clusters.is_scalar_broadcast(step) else operands


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


@dataclass(frozen=True, slots=True)
class FuseStepMath(Pass):
    """Each variable's update becomes one `linalg.generic` that yields all its new values.

    Host scalars are captured by the body; scalars of the device are operands that every element
    reads. Values that only a reduction reads get a generic of their own, for `split-reductions`.
    """

    name: ClassVar[str] = "fuse-step-math"

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            _refuse_dynamic(function)
            fuse(function)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for op in bindings.operations(bindings.body(function)):
                if clusters.is_inner(op):
                    raise PassError(f"{op.name} at {bindings.where(op)} is outside of every loop")
                _check_scalars(op)


def _refuse_dynamic(function: func.FuncOp) -> None:
    for op in bindings.operations(bindings.body(function)):
        if clusters.is_inner(op) and bindings.shape(op.results[0]) is None:
            raise UnsupportedUpdateError(
                f"{op.name} at {bindings.where(op)} has the shape {op.results[0].type}: every "
                "dimension must be known when the step is compiled"
            )


def _check_scalars(op: ir.Operation) -> None:
    if op.name != "linalg.generic":
        return
    captured = dict.fromkeys(
        value
        for inner in bindings.operations(op.regions[0].blocks[0])
        for value in inner.operands
        if _is_outside(value, op)
    )
    words = sum(2 if "64" in str(value.type) else 1 for value in captured)
    if words > MAX_SCALAR_WORDS:
        raise UnsupportedUpdateError(
            f"the loop at {bindings.where(op)} reads {words} words of host scalars, at most "
            f"{MAX_SCALAR_WORDS} reach a dispatch. Pass them in a table (scalars='table')"
        )


def _is_outside(value: ir.Value, op: ir.Operation) -> bool:
    owner = value.owner
    return owner == op.block if isinstance(owner, ir.Block) else owner.operation.block == op.block
