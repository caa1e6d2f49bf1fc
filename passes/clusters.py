"""Which element-wise operations of a function belong into one loop.

A *root* is an element-wise value that something else reads. A *cluster* is what one
`linalg.generic` computes: one or more roots of a shape, and all element-wise operations that they
need. An operation that two clusters need is computed in both.

- Returned roots of one variable's update share a cluster: they read, or replace, the same state.
  All state of rank 0 does.
- A root that another operation reads, a reduction or a product, has a cluster for itself. If it is
  returned too, it is computed twice: so nothing waits for the loops that replace state, and those
  can come last, when nothing reads the old state any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stepforge.passes import arguments, bindings, rewriting
from stepforge.passes.arguments import NAME, RESULT, ROLE
from stepforge.passes.bindings import func, ir
from stepforge.passes.errors import PassError
from stepforge.passes.inner_steps import Steps, is_inner


@dataclass(frozen=True, slots=True)
class Cluster:
    roots: tuple[ir.Value, ...]
    readers: tuple[ir.Operation, ...]
    """What reads the roots from this cluster."""


def find_clusters(function: func.FuncOp, steps: Steps) -> list[Cluster]:
    """The clusters of a function; together they need every element-wise operation that is used."""
    end = bindings.return_of(function)
    read = {value for op in steps.outer if op != end for value in rewriting.read_by(op)}
    clusters = [x for step in steps if step.result in read for x in _inside(step.result)]
    clusters.extend(Cluster(tuple(roots), (end,)) for roots in _returned(function, steps))
    return clusters


def _inside(value: ir.Value) -> list[Cluster]:
    """Clusters of an element-wise value for what reads it, but for the return."""
    readers = dict.fromkeys(bindings.users(value))
    outer = [op for op in readers if not is_inner(op) and op.name != "func.return"]
    # Each reduction has its own, which can become part of it.
    reductions = [op for op in outer if rewriting.is_reduction(op)]
    others = tuple(op for op in outer if not rewriting.is_reduction(op))
    clusters = [Cluster((value,), (op,)) for op in reductions]
    return [Cluster((value,), others), *clusters] if others else clusters


Shape: TypeAlias = tuple[int, ...] | None


@dataclass(slots=True)
class _Touched:
    """What values read, element by element; one bit per argument of the function."""

    of: dict[ir.Value, tuple[Shape, int, int]]
    """The shape of each value; the state arguments that change and that it reads, or replaces if it
    is returned; and the parameters whose gradient it reads."""
    parameters: int
    """The state arguments that are parameters."""


@dataclass(slots=True)
class _Group:
    roots: list[ir.Value]
    state: int
    gradient: int


def _returned(function: func.FuncOp, steps: Steps) -> list[list[ir.Value]]:
    """The returned roots, in order, joined where they touch the same state.

    A state's roots have its shape: values of another shape do not touch it element by element.
    """
    touched = _touched(function, steps)
    values = dict.fromkeys(bindings.return_of(function).operands)
    returned = [value for value in values if steps.of(value) is not None]
    groups = [_Group([v], *touched.of[v][1:]) for v in returned]
    _join_numbers(groups)
    groups = _joined(groups)
    for group in groups:
        # A slot that never meets its parameter still belongs to it, through the gradient.
        alone = not group.state & touched.parameters
        if alone and group.gradient.bit_count() == 1:
            group.state |= group.gradient
    order = {value: index for index, value in enumerate(returned)}
    found = [sorted(group.roots, key=order.__getitem__) for group in _joined(groups)]
    return sorted(found, key=lambda roots: order[roots[0]])


def _join_numbers(groups: Sequence[_Group]) -> None:
    """One loop for all state of rank 0, such as counters: each loop costs a dispatch."""
    numbers = [g for g in groups if g.state and bindings.shape(g.roots[0]) == ()]
    mask = 0
    for group in numbers:
        mask |= group.state
    for group in numbers:
        group.state = mask


def replaced(function: func.FuncOp) -> dict[int, ir.Value]:
    """Result index -> the tensor argument whose new value it is."""
    found = dict[int, ir.Value]()
    results = len(function.type.results)
    indices = map(bindings.integer, bindings.argument_attribute(function, RESULT))
    for number, (argument, index) in enumerate(zip(function.arguments, indices, strict=True)):
        if index is None or not isinstance(argument.type, ir.RankedTensorType):
            continue
        if index >= results:
            label = arguments.label(bindings.argument_attributes(function)[number])
            raise PassError(
                f"{label} is replaced by result {index}, but "
                f"@{function.name.value} has {results} results"
            )
        found[index] = argument
    return found


def _touched(function: func.FuncOp, steps: Steps) -> _Touched:
    by_result = replaced(function)
    touched = _touched_arguments(function, by_result)
    of = touched.of
    for step in steps:
        state, gradient = 0, 0
        for operand in step.reads:
            shape, its_state, its_gradient = of.get(operand, _NOTHING)
            if shape == step.shape:
                state |= its_state
                gradient |= its_gradient
        of[step.result] = step.shape, state, gradient
    for index, value in enumerate(bindings.return_of(function).operands):
        argument = by_result.get(index)
        if argument is not None and value in of and value.type == argument.type:
            shape, state, gradient = of[value]
            of[value] = shape, state | of[argument][1], gradient
    return touched


# Of what no step makes, and no argument is.
_NOTHING: tuple[Shape, int, int] = (None, 0, 0)


def _touched_arguments(function: func.FuncOp, by_result: Mapping[int, ir.Value]) -> _Touched:
    roles = list(map(bindings.text, bindings.argument_attribute(function, ROLE)))
    names = list(map(bindings.text, bindings.argument_attribute(function, NAME)))
    returned = list(bindings.return_of(function).operands)
    changed = {argument for i, argument in by_result.items() if returned[i] != argument}
    pairs = enumerate(zip(roles, names, strict=True))
    parameters = {name: 1 << bit for bit, (role, name) in pairs if role == "parameter"}
    of = dict[ir.Value, tuple[Shape, int, int]]()
    for bit, (argument, role, name) in enumerate(
        zip(function.arguments, roles, names, strict=True)
    ):
        state = 1 << bit if argument in changed else 0
        gradient = parameters.get(name, 0) if role == "gradient" else 0
        of[argument] = bindings.shape(argument), state, gradient
    return _Touched(of, sum(parameters.values()))


def _joined(groups: Sequence[_Group]) -> list[_Group]:
    """Groups that touch one state become one; the others stay."""
    owner = dict[int, _Group]()  # bit -> the group that touches it
    found = dict[int, _Group]()  # by identity, in order
    for group in groups:
        for bit in _bits(group.state):
            other = owner.get(bit)
            if other is None or other is group:
                continue
            group = _Group(
                other.roots + group.roots,
                other.state | group.state,
                other.gradient | group.gradient,
            )
            found.pop(id(other), None)
            owner.update((bit, group) for bit in _bits(group.state))
        owner.update((bit, group) for bit in _bits(group.state))
        found[id(group)] = group
    return list(found.values())


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest
        mask ^= lowest
