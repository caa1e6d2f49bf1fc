"""Rank-0 math on values of the device, computed once where loops over tensors read it.

A clip factor is made of the sums of all gradients, and a bias correction on a device counter takes
an exponential: inside of each variable's loop every element would pay for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stepforge.passes import bindings, inner_steps, rewriting
from stepforge.passes.bindings import ir
from stepforge.passes.clusters import Cluster

#: Builds the loop of a cluster, and gives its results.
Build = Callable[[Cluster], Sequence[ir.Value]]

_SLOW = ("math.", "arith.div", "arith.rem")


@dataclass(slots=True)
class _Found:
    """What is known of the values of a block."""

    device: dict[ir.Value, None] = field(default_factory=dict[ir.Value, None])
    """Rank-0 math that needs the device; in order."""
    level: dict[ir.Value, int] = field(default_factory=dict[ir.Value, int])
    """How many shared scalars, one after the other, a value waits for."""
    shared: dict[ir.Value, None] = field(default_factory=dict[ir.Value, None])


def share(block: ir.Block, build: Build) -> None:
    """Give the scalars that tensors read loops of their own, one for all that can be made at once.

    What they are made of is read there alone. Bools are made again where they are read: Vulkan
    devices without 8-bit storage cannot keep them in memory.
    """
    found = _find(block)
    for level in sorted({found.level[value] for value in found.shared}):
        roots = tuple(value for value in found.shared if found.level[value] == level)
        own = _made_of(roots)
        readers = {root: _readers(root, own) for root in roots}
        for root, result in zip(roots, build(Cluster(roots, ())), strict=True):
            made_by = bindings.producer(result)
            assert made_by is not None
            with ir.InsertionPoint.after(made_by), made_by.location:
                fenced = rewriting.barrier(result)
            for reader in readers[root]:
                reader.replace_uses_of_with(root, fenced)


def _find(block: ir.Block) -> _Found:
    found = _Found()
    for op in bindings.operations(block):
        level = max((found.level.get(value, 0) for value in rewriting.read_by(op)), default=0)
        if inner_steps.is_scalar_broadcast(op):
            shared = _shared_by(op.operands[0], found)
            found.shared.update(dict.fromkeys(shared))
            level += 1 if shared else 0
        elif rewriting.is_rank0_math(op) and any(
            _needs_device(value, found) for value in op.operands
        ):
            found.device[op.results[0]] = None
        found.level.update((result, level) for result in op.results)
    return found


def _needs_device(value: ir.Value, found: _Found) -> bool:
    made_by = bindings.producer(value)
    if made_by is not None and rewriting.is_rank0_math(made_by):
        return value in found.device
    return not rewriting.knows_on_host(value)


def _shared_by(value: ir.Value, found: _Found) -> list[ir.Value]:
    """The scalar that a broadcast repeats; of a bool, the numbers that it is made of."""
    waiting, shared = [value], list[ir.Value]()
    while waiting:
        value = waiting.pop()
        if value not in found.device:
            continue
        if str(bindings.element_type(value)) != "i1":
            shared.extend([value] if _is_dear(value) else [])
            continue
        made_by = bindings.producer(value)
        waiting.extend(made_by.operands if made_by is not None else ())
    return shared


def _is_dear(value: ir.Value) -> bool:
    """Whether it is made of several sums, or by more than one operation, a slow one among them.

    Anything else costs a loop less than a dispatch would.
    """
    made = [bindings.producer(step) for step in _made_of([value])]
    ops = [op for op in made if op is not None]
    sources = dict.fromkeys(operand for op in ops for operand in op.operands)
    producers = [bindings.producer(source) for source in sources]
    sums = [op for op in producers if op is not None and rewriting.is_reduction(op)]
    slow = any(op.name.startswith(_SLOW) for op in ops)
    return len(sums) > 1 or (slow and len(ops) > 1)


def _made_of(roots: Sequence[ir.Value]) -> dict[ir.Value, None]:
    """The rank-0 math that the roots need, themselves included."""
    waiting, own = list(roots), dict[ir.Value, None]()
    while waiting:
        value = waiting.pop()
        made_by = bindings.producer(value)
        if made_by is None or value in own or not rewriting.is_rank0_math(made_by):
            continue
        own[value] = None
        waiting.extend(made_by.operands)
    return own


def _readers(root: ir.Value, own: dict[ir.Value, None]) -> list[ir.Operation]:
    """What reads a root from outside; a returned one is made again for the return."""
    users = dict.fromkeys(bindings.users(root))
    return [op for op in users if op.name != "func.return" and op.results[0] not in own]
