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


def read(op: ir.Operation) -> Reduction:
    """Take a reduction apart; element-wise producers that only it uses become part of its term.

    Reshapes of what it reads go to the insertion point. Raises `UnsupportedUpdateError` where the
    reduction has another form.
    """
    sizes, reduced = _space(op)
    combiner, term = _combiner_and_term(op)
    element = bindings.element_type(op.results[0])
    if not has_neutral(combiner, element):
        raise refuse(op, f"no start value is known for {combiner.name} on {element}")
    inputs = list(zip(list(op.operands)[:-1], _maps(op, len(sizes)), strict=True))
    inputs, term = _with_producers(op, inputs, term)
    if not _writes_in_order(op, sizes, reduced):
        raise refuse(op, "it writes its result in another order than it reads")
    for _, map_ in inputs:
        if not _is_plain(map_):
            raise refuse(op, "it reads an operand in another order than it combines it")
    if list(reduced) != list(range(reduced[0], reduced[-1] + 1)):
        raise refuse(op, "it combines axes that are not next to each other")
    groups = [[d] for d in range(reduced[0])]
    groups.append(list(reduced))
    groups.extend([d] for d in range(reduced[-1] + 1, len(sizes)))
    return Reduction(
        sizes=tuple(prod(sizes[d] for d in group) for group in groups),
        axis=reduced[0],
        inputs=tuple(_collapse(operand, groups) for operand in inputs),
        term=term,
        init=op.operands[len(op.operands) - 1],
        combiner=combiner,
    )


def refuse(op: ir.Operation, reason: str) -> UnsupportedUpdateError:
    return UnsupportedUpdateError(
        f"the reduction of {terms(op)} terms at {bindings.where(op)} cannot be split into parallel "
        f"parts: {reason}"
    )


def has_neutral(combiner: ir.Operation, type_: ir.Type) -> bool:
    return _neutral(combiner, type_) is not None


def neutral(combiner: ir.Operation, type_: ir.Type) -> ir.Value:
    """A constant that the combiner leaves everything unchanged with."""
    return arith.ConstantOp(type_, _neutral(combiner, type_)).result


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


def _writes_in_order(op: ir.Operation, sizes: tuple[int, ...], reduced: tuple[int, ...]) -> bool:
    if op.name == "linalg.reduce":
        return True
    kept = [ir.AffineExpr.get_dim(d) for d in range(len(sizes)) if d not in reduced]
    return rewriting.indexing_maps(op)[-1] == ir.AffineMap.get(len(sizes), 0, kept)


def _maps(op: ir.Operation, rank: int) -> list[ir.AffineMap]:
    if op.name == "linalg.reduce":
        return [ir.AffineMap.get_identity(rank)]
    return rewriting.indexing_maps(op)[:-1]


def _combiner_and_term(op: ir.Operation) -> tuple[ir.Operation, Body]:
    """The operation that combines, and what it combines the old value with."""
    block = op.regions[0].blocks[0]
    *_, accumulator = block.arguments
    *steps, result = bindings.operations(block)
    combiner = bindings.producer(result.operands[0]) if len(result.operands) == 1 else None
    if combiner is None or [u == combiner for u in bindings.users(accumulator)] != [True]:
        raise refuse(op, "its body is not one operation that combines one term with the result")
    if any(step.name == "linalg.index" for step in steps):
        raise refuse(op, "its body uses the position of an element")
    left, right = combiner.operands
    combined = right if left == accumulator else left

    def term(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        values = rewriting.inline(block, [*arguments, accumulator], leave_out=combiner)
        return [values.get(combined, combined)]

    return combiner, term


def _with_producers(
    op: ir.Operation, inputs: Sequence[Operand], term: Body
) -> tuple[list[Operand], Body]:
    """Replace each input that an element-wise generic makes by the inputs of that generic."""
    parts = [_producer(op, value) for value, _ in inputs]
    widened = list[Operand]()
    for operand, part in zip(inputs, parts, strict=True):
        widened.extend([operand] if part is None else rewriting.inputs(part))

    def fused(arguments: Sequence[ir.Value]) -> Sequence[ir.Value]:
        rest, own = list(arguments), list[ir.Value]()
        for part in parts:
            count = 1 if part is None else len(rewriting.inputs(part))
            taken, rest = rest[:count], rest[count:]
            own.extend(taken if part is None else rewriting.inline_all(part, taken))
        return term(own)

    return widened, fused


def _producer(op: ir.Operation, value: ir.Value) -> ir.Operation | None:
    made_by = bindings.producer(value)
    if not rewriting.is_elementwise_generic(made_by) or len(made_by.results) > 1:
        return None
    if any(user != op for user in bindings.users(value)):
        return None
    body = bindings.operations(made_by.regions[0].blocks[0])
    plain = all(_is_plain(map_) for map_ in rewriting.indexing_maps(made_by))
    return made_by if plain and all(step.name != "linalg.index" for step in body) else None


def _is_plain(map_: ir.AffineMap) -> bool:
    """Reads one element per point in order, or one element for all points."""
    if map_ == ir.AffineMap.get_identity(map_.n_dims):
        return True
    return all(isinstance(expression, ir.AffineConstantExpr) for expression in map_.results)


def _collapse(operand: Operand, groups: list[list[int]]) -> Operand:
    value, map_ = operand
    rank = len(groups)
    if len(map_.results) < map_.n_dims or rank == map_.n_dims:
        return value, ir.AffineMap.get(rank, 0, list(map_.results))
    sizes = [prod(value.type.shape[d] for d in group) for group in groups]
    return rewriting.collapse(value, sizes, groups), ir.AffineMap.get_identity(rank)
