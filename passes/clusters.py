"""Which element-wise operations of a function belong into one loop.

A *root* is an element-wise value that something else uses: the return, a reduction, a reshape.
A *cluster* is a set of roots of one shape that one `linalg.generic` computes, together with all
element-wise operations they need. An operation that two clusters need is computed in both.

Roots of one variable's update share a cluster: they read, or replace, the same state argument.
Roots that only feed reductions each get their own, next to the reduction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from stepforge.passes import bindings, rewriting
from stepforge.passes.arguments import NAME, RESULT, ROLE
from stepforge.passes.bindings import func, ir


@dataclass(frozen=True, slots=True)
class Cluster:
    roots: tuple[ir.Value, ...]
    consumer: ir.Operation
    """The operation before which the loop goes."""
    only: ir.Operation | None = None
    """The reduction that reads this cluster's copy of the root; None: everything else does."""

    def serves(self, reader: ir.Operation) -> bool:
        """Whether a reader of a root gets the value from this cluster."""
        if self.only is None:
            return not rewriting.is_reduction(reader)
        return reader == self.only


def is_inner(op: ir.Operation | None) -> bool:
    """Math on tensors, and the broadcast of one element, which costs nothing inside a loop."""
    if op is None:
        return False
    return rewriting.is_tensor_math(op) or is_scalar_broadcast(op)


def is_scalar_broadcast(op: ir.Operation) -> bool:
    return op.name == "linalg.broadcast" and bindings.shape(op.operands[0]) == ()


def find_clusters(function: func.FuncOp) -> list[Cluster]:
    """The clusters of a function; together they need every element-wise operation that is used."""
    flow = analyse(function)
    clusters = list[Cluster]()
    for group in _acyclic(_groups(flow), flow):
        clusters.append(Cluster(tuple(group), bindings.return_of(function)))
    for root in flow.roots:
        for user in readers(root):
            if rewriting.is_reduction(user):
                clusters.append(Cluster((root,), user, only=user))
    return clusters


@dataclass(slots=True)
class Flow:
    """What each value of a function depends on. Masks have one bit per root or argument."""

    roots: list[ir.Value] = field(default_factory=list[ir.Value])
    behind: dict[ir.Value, int] = field(default_factory=dict[ir.Value, int])
    """Mask of the roots a value needs through operations that cannot join a loop."""
    depth: dict[ir.Value, int] = field(default_factory=dict[ir.Value, int])
    """How many such operations lie on the longest way to a value."""
    state: dict[ir.Value, int] = field(default_factory=dict[ir.Value, int])
    """Mask of the state arguments a value reads or replaces, element by element."""
    gradient: dict[ir.Value, int] = field(default_factory=dict[ir.Value, int])
    """Mask of the parameters whose gradients a value reads, element by element."""
    parameters: int = 0
    """Mask of the state arguments that are parameters."""


def analyse(function: func.FuncOp) -> Flow:
    flow = Flow()
    _analyse_arguments(function, flow)
    bits = dict[ir.Value, int]()
    for op in bindings.operations(bindings.body(function)):
        _analyse_operation(op, flow, bits)
    replaced = _replaced(function)
    for index, value in enumerate(bindings.return_of(function).operands):
        argument = replaced.get(index)
        if value in bits and argument is not None and value.type == argument.type:
            flow.state[value] |= flow.state[argument]
    return flow


def _analyse_arguments(function: func.FuncOp, flow: Flow) -> None:
    names = dict[str | None, int]()
    attributes = bindings.argument_attributes(function)
    for bit, (argument, attrs) in enumerate(zip(function.arguments, attributes, strict=True)):
        flow.state[argument] = 1 << bit if RESULT in attrs else 0
        if bindings.text(attrs.get(ROLE)) == "parameter":
            flow.parameters |= 1 << bit
            names[bindings.text(attrs.get(NAME))] = 1 << bit
    for argument, attrs in zip(function.arguments, attributes, strict=True):
        is_gradient = bindings.text(attrs.get(ROLE)) == "gradient"
        name = bindings.text(attrs.get(NAME))
        flow.gradient[argument] = names.get(name, 0) if is_gradient else 0


def _analyse_operation(op: ir.Operation, flow: Flow, bits: dict[ir.Value, int]) -> None:
    inner, reduction = is_inner(op), rewriting.is_reduction(op)
    behind, depth, state, gradient = 0, 0, 0, 0
    for operand in op.operands:
        behind |= flow.behind.get(operand, 0)
        # A reduction gets its own copy of what it reads, so it does not wait for a root.
        waits = operand in bits and not inner and not reduction
        behind |= bits[operand] if waits else 0
        depth = max(depth, flow.depth.get(operand, 0) + waits)
        if inner and operand.type.shape == op.results[0].type.shape:
            state |= flow.state.get(operand, 0)
            gradient |= flow.gradient.get(operand, 0)
    for result in op.results:
        flow.behind[result], flow.depth[result] = behind, depth
        flow.state[result], flow.gradient[result] = state, gradient
        if inner and not all(is_inner(user) for user in bindings.users(result)):
            bits[result] = 1 << len(flow.roots)
            flow.roots.append(result)


def _replaced(function: func.FuncOp) -> dict[int, ir.Value]:
    """Result index -> the state argument whose new value it is."""
    found = dict[int, ir.Value]()
    attributes = bindings.argument_attributes(function)
    for argument, attrs in zip(function.arguments, attributes, strict=True):
        index = bindings.integer(attrs.get(RESULT))
        if index is not None:
            found[index] = argument
    return found


def readers(root: ir.Value) -> list[ir.Operation]:
    return list(dict.fromkeys(user for user in bindings.users(root) if not is_inner(user)))


def _groups(flow: Flow) -> list[list[ir.Value]]:
    """Roots joined where they touch the same state; a shape is implied, as state has one."""
    groups = list[_Group]()
    for order, root in enumerate(flow.roots):
        if not all(rewriting.is_reduction(user) for user in readers(root)):
            groups.append(_Group([(order, root)], flow.state[root], flow.gradient[root]))
    groups = _merged(groups)
    for group in groups:
        # A slot that never meets its parameter still belongs to it, through the gradient.
        alone = not group.state & flow.parameters
        if alone and group.gradient.bit_count() == 1:
            group.state |= group.gradient
    ordered = [sorted(group.members, key=_order) for group in _merged(groups)]
    return [[root for _, root in members] for members in sorted(ordered, key=_first_order)]


@dataclass(slots=True)
class _Group:
    members: list[tuple[int, ir.Value]]
    state: int
    gradient: int


def _order(member: tuple[int, ir.Value]) -> int:
    return member[0]


def _first_order(members: list[tuple[int, ir.Value]]) -> int:
    return members[0][0]


def _merged(groups: list[_Group]) -> list[_Group]:
    owner = dict[int, _Group]()  # bit -> the group that touches it
    stateless = list[_Group]()
    for group in groups:
        merged = group
        for bit in _bits(group.state):
            other = owner.get(bit, merged)
            if other is not merged:
                other.members.extend(merged.members)
                other.state |= merged.state
                other.gradient |= merged.gradient
                merged = other
        if not merged.state:
            stateless.append(merged)
        for bit in _bits(merged.state):
            owner[bit] = merged
    return stateless + list({id(group): group for group in owner.values()}.values())


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest
        mask ^= lowest


def _acyclic(groups: list[list[ir.Value]], flow: Flow) -> list[list[ir.Value]]:
    """Split by depth each group that would wait for itself; the others stay whole."""
    bit = {root: 1 << index for index, root in enumerate(flow.roots)}
    masks = [sum(bit[root] for root in group) for group in groups]
    waits = [_union(flow.behind[root] for root in group) for group in groups]
    done = list[list[ir.Value]]()
    for group, mask, wait in zip(groups, masks, waits, strict=True):
        if not mask & _closure(wait, masks, waits):
            done.append(group)
            continue
        depths = sorted({flow.depth[root] for root in group})
        done.extend([r for r in group if flow.depth[r] == depth] for depth in depths)
    return done


def _union(masks: Iterable[int]) -> int:
    return reduce(or_, masks, 0)


def _closure(reached: int, masks: list[int], waits: list[int]) -> int:
    """What a group waits for, when each group it waits for is computed as a whole."""
    while True:
        wider = reached | _union(w for m, w in zip(masks, waits, strict=True) if m & reached)
        if wider == reached:
            return reached
        reached = wider
