"""pack-sums: sums over every part of an arena, added up, become one sum over the arena.

A norm over all gradients is a sum for each of them and a chain of additions. Packed, the gradients
are one tensor, so the whole is one reduction, whatever the number of variables. What is between the
parts is zero, so only terms that are zero there may be merged.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings, isomorphism, rewriting, zero_terms
from stepforge.passes.arenas import kind_of
from stepforge.passes.arguments import MEMBERS
from stepforge.passes.bindings import func, ir, linalg
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass

#: Combiners of which a chain is one combination of all, in any order.
_COMBINERS = ("arith.addf", "arith.addi")


@dataclass(frozen=True, slots=True)
class Sum:
    """A reduction of one part to a number: its terms, and the loop without dimensions that reads it
    once."""

    terms: ir.Operation
    total: ir.Operation
    reader: ir.Operation

    @property
    def signature(self) -> Hashable | None:
        """Equal for sums of the same terms over other parts; None if they cannot be merged."""
        body = isomorphism.body_signature(self.terms)
        combiner = _combiner(self.total)
        if body is None or combiner is None or not zero_terms.yields_zero(self.terms):
            return None
        shared = tuple(value for value, _ in rewriting.inputs(self.terms)[1:])
        return shared, body, combiner.name


def sums_of_part(view: ir.Value) -> Iterator[Sum]:
    """The sums whose terms are made of a part and of numbers alone."""
    for loop in bindings.users(view):
        if not rewriting.is_elementwise_generic(loop) or len(loop.results) != 1:
            continue
        (first, map_), *others = rewriting.inputs(loop)
        plain = first == view and map_ == ir.AffineMap.get_identity(map_.n_dims)
        if not plain or any(bindings.shape(value) != () for value, _ in others):
            continue
        readers = bindings.users(loop.results[0])
        if len(readers) != 1 or not _is_total(readers[0]):
            continue
        last = bindings.users(readers[0].results[0])
        if len(last) == 1 and rewriting.is_elementwise_generic(last[0]):
            yield Sum(loop, readers[0], last[0])


def _is_total(op: ir.Operation) -> bool:
    """A reduction of a whole tensor that starts from zero."""
    if op.name != "linalg.reduce" or bindings.shape(op.results[0]) != ():
        return False
    start = bindings.producer(op.operands[1])
    if start is None or start.name != "linalg.fill":
        return False
    constant = bindings.producer(start.operands[0])
    return constant is not None and zero_terms.is_zero(constant)


def _combiner(total: ir.Operation) -> ir.Operation | None:
    first, *rest = bindings.operations(total.regions[0].blocks[0])
    return first if first.name in _COMBINERS and len(rest) == 1 else None


def merge(function: func.FuncOp) -> None:
    """Merge what can be, arena by arena."""
    for arena, count in _gradients(function):
        # One at a time: a merge replaces the loop that reads the sums, and others may share it.
        while mergeable := _mergeable(arena, count):
            _merge(arena, mergeable[0])
    rewriting.erase_dead(bindings.body(function))


def _gradients(function: func.FuncOp) -> Iterator[tuple[ir.Value, int]]:
    """The arenas of gradients, and how many parts each has."""
    attributes = bindings.argument_attributes(function)
    for argument, attrs in zip(function.arguments, attributes, strict=True):
        if MEMBERS in attrs and kind_of(attrs) == "gradient":
            yield argument, len(ir.ArrayAttr(ir.DictAttr(attrs[MEMBERS])["names"]))


def _mergeable(arena: ir.Value, count: int) -> list[list[Sum]]:
    """Sums of equal terms, one of each part, that one chain of one loop adds up."""
    equal = dict[Hashable, list[Sum]]()
    for part in _parts(arena):
        for found in sums_of_part(part):
            signature = found.signature
            if signature is not None:
                equal.setdefault((signature, found.reader.results[0]), []).append(found)
    return [sums for sums in equal.values() if len(sums) == count and _chain(sums) is not None]


def _parts(arena: ir.Value) -> Iterator[ir.Value]:
    """The views of an arena's parts, in the shapes of its variables."""
    for op in bindings.users(arena):
        if op.name == "tensor.extract_slice":
            yield op.results[0]
            for user in bindings.users(op.results[0]):
                if user.name == "tensor.expand_shape":
                    yield user.results[0]


@dataclass(frozen=True, slots=True)
class _Chain:
    """Operations of one combiner that together combine `leaves`, the last of them `root`."""

    root: ir.Operation
    leaves: tuple[ir.Value, ...]
    inner: tuple[ir.Value, ...]
    """The results of all but the root."""


def _chain(sums: Sequence[Sum]) -> _Chain | None:
    """The chain in the reader that combines all of the sums, each once."""
    reader, combiner = sums[0].reader, _combiner(sums[0].total)
    assert combiner is not None
    arguments = _arguments(reader, sums)
    if any(len(bindings.users(argument)) != 1 for argument in arguments):
        return None
    for op in bindings.operations(reader.regions[0].blocks[0]):
        chain = _from_root(op, combiner.name)
        if chain is not None and all(argument in chain.leaves for argument in arguments):
            return chain
    return None


def _from_root(op: ir.Operation, name: str) -> _Chain | None:
    """The chain that ends in an operation; None where the operation is inside of one."""
    if op.name != name:
        return None
    readers = bindings.users(op.results[0])
    if len(readers) == 1 and readers[0].name == name:
        return None
    leaves, inner = list[ir.Value](), list[ir.Value]()
    pending = list(reversed(list(op.operands)))
    while pending:
        value = pending.pop()
        made_by = bindings.producer(value)
        alone = len(bindings.users(value)) == 1
        if made_by is not None and made_by.name == name and alone:
            inner.append(value)
            pending.extend(reversed(list(made_by.operands)))
        else:
            leaves.append(value)
    return _Chain(op, tuple(leaves), tuple(inner))


def _arguments(reader: ir.Operation, sums: Sequence[Sum]) -> list[ir.Value]:
    """The reader's block arguments that stand for the sums."""
    block, operands = reader.regions[0].blocks[0], list(reader.operands)
    return [block.arguments[operands.index(found.total.results[0])] for found in sums]


def _merge(arena: ir.Value, sums: Sequence[Sum]) -> None:
    chain, reader = _chain(sums), sums[0].reader
    assert chain is not None
    with ir.InsertionPoint(reader), reader.location:
        total = _sum(arena, sums[0])
        new = _reader(reader, chain, _arguments(reader, sums), total)
    for old, made in zip(reader.results, new.results, strict=True):
        old.replace_all_uses_with(made)
    reader.erase()


def _sum(arena: ir.Value, first: Sum) -> ir.Value:
    """The sum of the terms over the whole arena."""
    identity, none = ir.AffineMap.get_identity(1), ir.AffineMap.get(1, 0, [])
    element = bindings.element_type(first.total.results[0])
    terms = rewriting.build_generic(
        inputs=[(arena, identity)] + [(v, none) for v, _ in rewriting.inputs(first.terms)[1:]],
        outputs=[(rewriting.empty(arena.type.shape, element), identity)],
        iterator_types=["parallel"],
        fill=lambda values: rewriting.inline_all(first.terms, values[:-1]),
    )
    start = bindings.producer(first.total.operands[1])
    combiner = _combiner(first.total)
    assert start is not None
    assert combiner is not None
    init = linalg.fill(start.operands[0], outs=[rewriting.empty([], element)])
    loop = rewriting.build_generic(
        inputs=[(terms.results[0], identity)],
        outputs=[(init, none)],
        iterator_types=["reduction"],
        fill=lambda values: [bindings.scalar_operation(combiner, list(values))],
    )
    return loop.results[0]


def _reader(
    old: ir.Operation, chain: _Chain, merged: Sequence[ir.Value], total: ir.Value
) -> ir.Operation:
    """The same loop, with one operand in place of those that were merged."""
    block = old.regions[0].blocks[0]
    operands = list(zip(old.operands, rewriting.indexing_maps(old), block.arguments, strict=True))
    count = len(operands) - len(old.results)
    kept = [row for row in operands[:count] if row[2] not in merged]
    none = ir.AffineMap.get(0, 0, [])

    def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        values: dict[ir.Value, ir.Value] = {
            row[2]: new for row, new in zip(kept, arguments, strict=False)
        }
        whole = arguments[len(kept)]
        for step in bindings.operations(block)[:-1]:
            if step.results[0] in chain.inner:
                continue
            if step == chain.root:
                rest = [values[leaf] for leaf in chain.leaves if leaf not in merged]
                value = whole
                for other in rest:
                    value = bindings.scalar_operation(step, [value, other])
                values[step.results[0]] = value
                continue
            taken = [values.get(value, value) for value in step.operands]
            values[step.results[0]] = bindings.scalar_operation(step, taken)
        ends = bindings.operations(block)[-1].operands
        return [values.get(value, value) for value in ends]

    return rewriting.build_generic(
        inputs=[*((value, map_) for value, map_, _ in kept), (total, none)],
        outputs=[(value, map_) for value, map_, _ in operands[count:]],
        iterator_types=[],
        fill=fill,
    )


@dataclass(frozen=True, slots=True)
class PackSums(Pass):
    """One reduction over an arena of gradients in place of one for each part."""

    name: ClassVar[str] = "pack-sums"

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            merge(function)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            if any(_mergeable(arena, count) for arena, count in _gradients(function)):
                raise PassError("sums over the parts of an arena are still apart")
