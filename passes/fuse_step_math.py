"""fuse-step-math: the chain of element-wise operations of one update becomes one loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings, clusters, inner_steps, rewriting, shared_scalars
from stepforge.passes.arguments import ROLE
from stepforge.passes.bindings import arith, func, ir
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.fused_loops import FusedLoops
from stepforge.passes.inner_steps import Steps
from stepforge.passes.pass_base import Pass

#: Host scalars reach a dispatch as 32-bit push constants. Devices promise 32 words, of which IREE
#: takes some for itself; more compile, and fail when the artifact is loaded.
MAX_SCALAR_WORDS = 16


def fuse(function: func.FuncOp) -> None:
    """Replace every element-wise operation of a function by one generic per cluster."""
    _mark_moves(function)
    block = bindings.body(function)
    end = bindings.return_of(function)
    steps = Steps(block)
    _refuse_dynamic(steps)
    if any(step.shape == () for step in steps):
        shared_scalars.share(
            block, lambda cluster: list(FusedLoops(end, Steps(block)).build(cluster).results)
        )
        steps = Steps(block)
    loops = FusedLoops(end, steps)
    for cluster in clusters.find_clusters(function, steps):
        loop = loops.build(cluster)
        for root, result in zip(cluster.roots, loop.results, strict=True):
            loops.made.setdefault(root, result)
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
    roles = map(bindings.text, bindings.argument_attribute(function, ROLE))
    pairs = zip(function.arguments, roles, strict=True)
    slots = {argument for argument, role in pairs if role == "slot"}
    for op in bindings.operations(bindings.body(function)) if slots else ():
        if len(op.results) != 1 or not rewriting.is_elementwise_generic(op):
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


@dataclass(frozen=True, slots=True)
class FuseStepMath(Pass):
    """Each variable's update becomes one `linalg.generic` that yields all its new values.

    Host scalars are captured by the body; scalars of the device are operands that every element
    reads. Values that only a reduction reads get a generic of their own, for `split-reductions`.
    """

    name: ClassVar[str] = "fuse-step-math"

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            fuse(function)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            checked: ir.Operation | None = None
            for op in bindings.operations(bindings.body(function)):
                if inner_steps.is_inner(op):
                    raise PassError(f"{op.name} at {bindings.where(op)} is outside of every loop")
                if op.name != "linalg.generic":
                    continue
                # Most loops are copies of the one before.
                if checked is None or not bindings.same_body(op, checked):
                    _check_scalars(op)
                checked = op


def _refuse_dynamic(steps: Steps) -> None:
    for step in steps:
        if step.shape is None:
            raise UnsupportedUpdateError(
                f"{step.op.name} at {bindings.where(step.op)} has the shape {step.result.type}: "
                "every dimension must be known when the step is compiled"
            )


def _check_scalars(op: ir.Operation) -> None:
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
