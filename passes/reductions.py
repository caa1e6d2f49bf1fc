"""A reduction over one axis, taken out of `linalg.reduce` or `linalg.generic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import arith, ir
from stepforge.passes.errors import UnsupportedUpdateError
from stepforge.passes.rewriting import Body, Operand

#: What a combiner leaves unchanged: a number, or for integers a function of the width.
NEUTRAL: Mapping[str, float] = {
    "arith.addf": -0.0,  # not 0.0: that would turn a sum of -0.0 into 0.0
    "arith.mulf": 1.0,
    "arith.maximumf": -inf,
    "arith.minimumf": inf,
}


def _neutral_integer(combiner: str, width: int) -> int | None:
    """The neutral element as a signed number of `width` bits."""
    lowest = -(1 << (width - 1))
    return {
        "arith.addi": 0,
        "arith.muli": -1 if width == 1 else 1,
        "arith.maxsi": lowest,
        "arith.minsi": -lowest - 1,
        "arith.maxui": 0,
        "arith.minui": -1,
        "arith.andi": -1,
        "arith.ori": 0,
        "arith.xori": 0,
    }.get(combiner)


@dataclass(frozen=True, slots=True)
class Reduction:
    """`init` combined with `term` of the inputs, over one axis of a space of `sizes`."""

    sizes: tuple[int, ...]
    axis: int
    inputs: tuple[Operand, ...]
    """Each reads one element per point (identity map) or the same one everywhere (no dimension)."""
    term: Body
    init: ir.Value
    combiner: ir.Operation
    """The operation in the original body; only its name and attributes count."""

    @property
    def count(self) -> int:
        return self.sizes[self.axis]


def terms(op: ir.Operation) -> int:
    """How many terms a reduction combines for each element of its result."""
    sizes, reduced = _space(op)
    return prod(sizes[d] for d in reduced)


def obstacle(op: ir.Operation) -> str | None:
    """Why `read` cannot take a reduction apart; None if it can."""
    if len(op.results) != 1:
        return "it has several results"
    combiner = _combiner(op)
    if combiner is None:
        return "its body is not one operation that combines one term with the result"
    element = bindings.element_type(op.results[0])
    if _neutral(combiner, element) is None:
        return f"no start value is known for {combiner.name} on {element}"
    if _uses_position(op):
        return "its body uses the position of an element"
    if not _writes_in_order(op):
        return "it writes its result in another order than it reads"
    if not all(_is_plain(map_) for _, map_ in _inputs(op)):
        return "it reads an operand in another order than it combines it"
    _, reduced = _space(op)
    if list(reduced) != list(range(reduced[0], reduced[-1] + 1)):
        return "it combines axes that are not next to each other"
    return None


def refuse(op: ir.Operation, reason: str) -> UnsupportedUpdateError:
    return UnsupportedUpdateError(
        f"the reduction of {terms(op)} terms at {bindings.where(op)} cannot be split into parallel "
        f"parts: {reason}"
    )


def has_producers(op: ir.Operation) -> bool:
    """Whether `read` makes an element-wise loop part of the term."""
    return any(_producer(op, operand) is not None for operand in _inputs(op))


def read(op: ir.Operation) -> Reduction:
    """Take a reduction apart; element-wise loops that only it reads become part of its term.

    There must be no `obstacle`. Reshapes of what it reads go to the insertion point.
    """
    sizes, reduced = _space(op)
    combiner = _combiner(op)
    assert combiner is not None, "the caller asks for the obstacle first"
    inputs, term = _with_producers(op, _term(op, combiner))
    groups = [[d] for d in range(reduced[0])]
    groups.append(list(reduced))
    groups.extend([d] for d in range(reduced[-1] + 1, len(sizes)))
    return Reduction(
        sizes=tuple(prod(sizes[d] for d in group) for group in groups),
        axis=reduced[0],
        inputs=tuple(_collapse(operand, groups) for operand in inputs),
        term=term,
        init=list(op.operands)[-1],
        combiner=combiner,
    )


def neutral(combiner: ir.Operation, type_: ir.Type) -> ir.Value:
    """A constant that the combiner leaves everything unchanged with."""
    value = _neutral(combiner, type_)
    assert value is not None, "the caller asks for the obstacle first"
    return arith.ConstantOp(type_, value).result


def _neutral(combiner: ir.Operation, type_: ir.Type) -> ir.Attribute | None:
    if isinstance(type_, ir.IntegerType):
        value = _neutral_integer(combiner.name, type_.width)
        return None if value is None else ir.IntegerAttr.get(type_, value)
    if combiner.name not in NEUTRAL:
        return None
    return ir.FloatAttr.get(type_, NEUTRAL[combiner.name])


def _space(op: ir.Operation) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes of the loops, and which of them are reduced."""
    if op.name == "linalg.reduce":
        return tuple(op.operands[0].type.shape), tuple(op.attributes["dimensions"])
    kinds = rewriting.iterators(op)
    sizes = dict[int, int]()
    for value, map_ in zip(op.operands, rewriting.indexing_maps(op), strict=True):
        for size, expression in zip(value.type.shape, map_.results, strict=True):
            if isinstance(expression, ir.AffineDimExpr):
                sizes[expression.position] = size
    return (
        tuple(sizes[d] for d in range(len(kinds))),
        tuple(d for d, kind in enumerate(kinds) if kind == "reduction"),
    )


def _inputs(op: ir.Operation) -> list[Operand]:
    if op.name == "linalg.reduce":
        return [(op.operands[0], ir.AffineMap.get_identity(op.operands[0].type.rank))]
    return rewriting.inputs(op)


def _writes_in_order(op: ir.Operation) -> bool:
    if op.name == "linalg.reduce":
        return True
    sizes, reduced = _space(op)
    kept = [ir.AffineExpr.get_dim(d) for d in range(len(sizes)) if d not in reduced]
    return rewriting.indexing_maps(op)[-1] == ir.AffineMap.get(len(sizes), 0, kept)


def _uses_position(op: ir.Operation) -> bool:
    return any(step.name == "linalg.index" for step in bindings.operations(_body(op)))


def _body(op: ir.Operation) -> ir.Block:
    return op.regions[0].blocks[0]


def _combiner(op: ir.Operation) -> ir.Operation | None:
    """The operation that makes the new result from the old one, which nothing else reads."""
    accumulator = list(_body(op).arguments)[-1]
    yielded = bindings.operations(_body(op))[-1].operands[0]
    combiner = bindings.producer(yielded)
    if combiner is None or len(combiner.operands) != 2:
        return None
    readers = bindings.users(accumulator)
    return combiner if len(readers) == 1 and readers[0] == combiner else None


def _term(op: ir.Operation, combiner: ir.Operation) -> Body:
    """What the combiner adds to the result, as a function of the inputs."""
    block = _body(op)
    accumulator = list(block.arguments)[-1]
    left, right = combiner.operands
    combined = right if left == accumulator else left

    def term(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        values = rewriting.inline(block, [*arguments, accumulator], leave_out=combiner)
        return [values.get(combined, combined)]

    return term


def _with_producers(op: ir.Operation, term: Body) -> tuple[list[Operand], Body]:
    """Replace each input that an element-wise loop makes by the inputs of that loop."""
    operands = _inputs(op)
    parts = [_producer(op, operand) for operand in operands]
    reads = [
        [operand] if part is None else rewriting.inputs(part)
        for operand, part in zip(operands, parts, strict=True)
    ]

    def fused(arguments: Sequence[ir.Value]) -> Sequence[ir.Value]:
        rest, own = list(arguments), list[ir.Value]()
        for part, read in zip(parts, reads, strict=True):
            taken, rest = rest[: len(read)], rest[len(read) :]
            own.extend(taken if part is None else rewriting.inline_all(part, taken))
        return term(own)

    return [operand for read in reads for operand in read], fused


def _producer(op: ir.Operation, operand: Operand) -> ir.Operation | None:
    """The loop that makes an operand, if the reduction alone reads it, point by point."""
    value, map_ = operand
    made_by = bindings.producer(value)
    if made_by is None or not rewriting.is_elementwise_generic(made_by):
        return None
    if len(made_by.results) > 1 or any(user != op for user in bindings.users(value)):
        return None
    if is_constant(map_) or _uses_position(made_by):
        return None
    plain = all(_is_plain(map_) for map_ in rewriting.indexing_maps(made_by))
    return made_by if plain else None


def _is_plain(map_: ir.AffineMap) -> bool:
    """Reads one element per point in order, or one element for all points."""
    return is_constant(map_) or map_ == ir.AffineMap.get_identity(map_.n_dims)


def is_constant(map_: ir.AffineMap) -> bool:
    """Reads one element for all points."""
    return all(isinstance(expression, ir.AffineConstantExpr) for expression in map_.results)


def _collapse(operand: Operand, groups: list[list[int]]) -> Operand:
    value, map_ = operand
    rank = len(groups)
    if is_constant(map_) or rank == map_.n_dims:
        return value, ir.AffineMap.get(rank, 0, list(map_.results))
    sizes = [prod(value.type.shape[d] for d in group) for group in groups]
    return rewriting.collapse(value, sizes, groups), ir.AffineMap.get_identity(rank)
