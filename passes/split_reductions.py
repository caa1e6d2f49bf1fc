"""split-reductions: a reduction of many terms becomes parallel parts and a small rest.

IREE runs a full reduction in one workgroup, where some drivers stop after 65,536 iterations and
all are slow; and it pulls the loop that reads the result into that workgroup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import ClassVar

from stepforge.passes import bindings, reductions, rewriting, sum_terms
from stepforge.passes.bindings import ir, linalg
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass
from stepforge.passes.reductions import Reduction
from stepforge.passes.rewriting import BARRIER, Operand
from stepforge.passes.targets.target import Backend

#: No loop that runs in one thread has more terms.
MAX_TERMS = 16_384
#: What a part sums up where there is a choice: measured best on CPU and lavapipe from 1,024 up.
_USUAL = 2_048
#: A part is read in pieces of so many neighbours, at most so many of them at a time.
LANES = 16
_PIECES = 32
#: With fewer pieces, or vectors of fewer bytes, nothing was measured to gain.
_FEWEST = 8
_WIDE = 32
#: What a part sums up where there is a choice, read in pieces.
_USUAL_IN_PIECES = 8_192
_RESHAPES = ("tensor.collapse_shape", "tensor.expand_shape")
#: Shorter parts than this are slower than leaving a rest over.
_SHORTEST = 64


@dataclass(frozen=True, slots=True)
class Split:
    """`rows` parts of `columns` terms, and `rest` terms that are left over."""

    rows: int
    columns: int
    rest: int


def choose_split(count: int, usual: int = _USUAL) -> Split:
    """How to split more than `MAX_TERMS` terms; exactly, where the count has a good divisor.

    A power of two in both factors lets every backend vectorise; more rows than `MAX_TERMS` cost a
    third level. Without a divisor, rows in multiples leave fewer than `MAX_TERMS` terms over.
    """
    divisors = [c for c in range(_SHORTEST, MAX_TERMS + 1) if count % c == 0]
    if not divisors:
        columns = usual
        while columns < MAX_TERMS and count // columns > MAX_TERMS:
            columns *= 2
        multiple = MAX_TERMS // columns
        rows = count // columns // multiple * multiple
        return Split(rows, columns, count - rows * columns)

    def quality(columns: int) -> tuple[int, int, int, float]:
        rows = count // columns
        distance = abs(log2(columns / usual))
        return -max(rows, MAX_TERMS), _twos(columns, 6), _twos(rows, 3), -distance

    columns = max(divisors, key=quality)
    return Split(count // columns, columns, 0)


def _twos(number: int, most: int) -> int:
    """How often two divides a number, up to `most`."""
    return min(most, (number & -number).bit_length() - 1)


def combine(work: Reduction, *, in_pieces: bool = False) -> ir.Value:
    """Emit a reduction in as many levels as it needs."""
    if work.count <= MAX_TERMS:
        return _one_loop(work)
    work = replace(work, inputs=tuple(_in_arena(operand) for operand in work.inputs))
    split = choose_split(work.count, _USUAL_IN_PIECES if in_pieces else _USUAL)
    init = work.init
    if split.rest:
        init = rewriting.barrier(_one_loop(_rest(work, split)))
    parts = rewriting.barrier(_parts(work, split, in_pieces=in_pieces))
    sizes = _with_axis(work, split.rows)
    identity = ir.AffineMap.get_identity(len(sizes))
    rest = replace(work, sizes=sizes, inputs=((parts, identity),), term=list, init=init)
    return combine(rest, in_pieces=in_pieces)


def _in_arena(operand: Operand) -> Operand:
    """Where an operand is a part of a longer tensor, that tensor, read from the part on: IREE
    copies a part that is reshaped."""
    value, map_ = operand
    if value.type.rank != 1 or map_ != ir.AffineMap.get_identity(1):
        return operand
    made_by = bindings.producer(value)
    while made_by is not None and made_by.name in _RESHAPES:
        made_by = bindings.producer(made_by.operands[0])
    if made_by is None or made_by.name != "tensor.extract_slice" or len(made_by.operands) != 1:
        return operand
    (start,) = ir.DenseI64ArrayAttr(made_by.attributes["static_offsets"])
    (stride,) = ir.DenseI64ArrayAttr(made_by.attributes["static_strides"])
    if stride != 1 or made_by.operands[0].type.rank != 1:
        return operand
    return made_by.operands[0], ir.AffineMap.get(1, 0, [ir.AffineExpr.get_dim(0) + start])


def _is_whole(operand: Operand, work: Reduction) -> bool:
    """Not a part of a longer tensor."""
    value, map_ = operand
    return reductions.is_constant(map_) or tuple(value.type.shape) == work.sizes


def _with_axis(work: Reduction, *sizes: int) -> tuple[int, ...]:
    return (*work.sizes[: work.axis], *sizes, *work.sizes[work.axis + 1 :])


def _parts(work: Reduction, split: Split, *, in_pieces: bool) -> ir.Value:
    """`rows` partial results, in place of the axis."""
    sizes = _with_axis(work, split.rows, split.columns)
    element = bindings.element_type(work.init)
    start = reductions.neutral(work.combiner, element)
    empty = rewriting.empty(_with_axis(work, split.rows), element)
    init = linalg.fill(start, outs=[empty])
    axis = work.axis
    inner = replace(work, sizes=sizes, axis=axis + 1, init=init)
    if split.rest == 0 and all(_is_whole(operand, work) for operand in work.inputs):
        pieces = _count_pieces(split.columns) if axis == len(work.sizes) - 1 else 1
        if in_pieces and pieces >= _FEWEST:
            return _in_pieces(inner, pieces)
        groups = [[d] if d < axis else [d + 1] for d in range(len(work.sizes))]
        groups[axis] = [axis, axis + 1]
        inputs = [_expand(operand, sizes, groups) for operand in work.inputs]
        return _one_loop(replace(inner, inputs=tuple(inputs)))
    # Slicing the whole rows off would copy them: read them where they are.
    row, column = ir.AffineExpr.get_dim(axis), ir.AffineExpr.get_dim(axis + 1)
    inputs = [_shifted(operand, inner, row * split.columns + column) for operand in work.inputs]
    return _one_loop(_sized(replace(inner, inputs=tuple(inputs))))


def _count_pieces(columns: int) -> int:
    """How many pieces of neighbours to combine at a time, so that none is left over."""
    whole, rest = divmod(columns, LANES)
    return 1 if rest else max(n for n in range(1, _PIECES + 1) if whole % n == 0)


def _in_pieces(work: Reduction, pieces: int) -> ir.Value:
    """The parts, each read as (passes, pieces, neighbours): the pieces of a pass are combined
    neighbour by neighbour, which is vector arithmetic, and only their result across.

    IREE alone adds the elements of each vector one after the other, in order. A sum of 16 million
    squares on x86-64 with AVX-512, one thread: so 7 GB/s; in pieces 10 GB/s, and 14 GB/s with four
    parts at a time (`choose_tiles`), of which each is read as a stream of its own. BLAS's dot reads
    9 to 12 GB/s. With AVX2 8.5 and 12 GB/s, and 6 GB/s with IREE's tiles. Parts of 4,096 to 16,384
    terms are alike, of 2,048 a tenth slower.
    """
    kept = work.sizes[:-1]
    passes = work.count // pieces // LANES
    shape = (*kept, passes, pieces, LANES)
    rank = len(kept)
    groups = [[d] for d in range(rank - 1)] + [[rank - 1, rank, rank + 1, rank + 2]]

    def read(operand: Operand) -> list[Operand]:
        """One operand for each piece."""
        value, map_ = operand
        if reductions.is_constant(map_):
            same = ir.AffineMap.get(rank + 2, 0, list(map_.results))
            return [(value, same)] * pieces
        cut = rewriting.expand(value, shape, groups)
        identity = ir.AffineMap.get_identity(rank + 2)
        return [(rewriting.take(cut, rank + 1, i), identity) for i in range(pieces)]

    columns = list(zip(*(read(operand) for operand in work.inputs), strict=True))
    width = len(work.inputs)

    def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        *values, so_far = arguments
        found = [work.term(values[i : i + width])[0] for i in range(0, len(values), width)]
        while len(found) > 1:
            half = len(found) // 2
            pairs = zip(found[:half], found[half : 2 * half], strict=True)
            both = [bindings.scalar_operation(work.combiner, list(pair)) for pair in pairs]
            found = [*both, *found[2 * half :]]
        return [bindings.scalar_operation(work.combiner, [found[0], so_far])]

    result = [ir.AffineExpr.get_dim(d) for d in range(rank)]
    loop = rewriting.build_generic(
        inputs=[operand for piece in columns for operand in piece],
        outputs=[(work.init, ir.AffineMap.get(rank + 2, 0, result))],
        iterator_types=[*["parallel"] * rank, "reduction", "reduction"],
        fill=fill,
    )
    return loop.results[0]


def _rest(work: Reduction, split: Split) -> Reduction:
    """The reduction of the last `rest` terms, onto the original start value."""
    inner = replace(work, sizes=_with_axis(work, split.rest))
    position = ir.AffineExpr.get_dim(work.axis) + split.rows * split.columns
    inputs = [_shifted(operand, inner, position) for operand in work.inputs]
    return _sized(replace(inner, inputs=tuple(inputs)))


def _expand(operand: Operand, sizes: Sequence[int], groups: Sequence[Sequence[int]]) -> Operand:
    value, map_ = operand
    if reductions.is_constant(map_):
        return value, ir.AffineMap.get(len(sizes), 0, list(map_.results))
    return rewriting.expand(value, sizes, groups), ir.AffineMap.get_identity(len(sizes))


def _shifted(operand: Operand, inner: Reduction, position: ir.AffineExpr) -> Operand:
    """Read the same tensor with `position` along the axis that was split."""
    value, map_ = operand
    rank = len(inner.sizes)
    if reductions.is_constant(map_):
        return value, ir.AffineMap.get(rank, 0, list(map_.results))
    old_rank = map_.n_dims
    axis = inner.axis - (rank - old_rank)
    before = [ir.AffineExpr.get_dim(d) for d in range(axis)]
    behind = [ir.AffineExpr.get_dim(d + rank - old_rank) for d in range(axis + 1, old_rank)]
    places = ir.AffineMap.get(rank, 0, [*before, position, *behind])
    return value, ir.AffineMap.get(rank, 0, [place.compose(places) for place in map_.results])


def _sized(work: Reduction) -> Reduction:
    """Add an operand that nobody reads: maps that shift, or that read one element for all points,
    do not tell how long the axis is.
    """
    dimension = ir.AffineExpr.get_dim(work.axis)
    extent = rewriting.empty([work.count], bindings.element_type(work.init))
    operand = (extent, ir.AffineMap.get(len(work.sizes), 0, [dimension]))
    term = work.term
    return replace(work, inputs=(*work.inputs, operand), term=lambda values: term(values[:-1]))


def _one_loop(work: Reduction) -> ir.Value:
    if all(reductions.is_constant(map_) for _, map_ in work.inputs):
        work = _sized(work)
    rank = len(work.sizes)
    kept = [ir.AffineExpr.get_dim(d) for d in range(rank) if d != work.axis]

    def fill(arguments: Sequence[ir.Value]) -> list[ir.Value]:
        *values, so_far = arguments
        (term,) = work.term(values)
        return [bindings.scalar_operation(work.combiner, [term, so_far])]

    loop = rewriting.build_generic(
        inputs=work.inputs,
        outputs=[(work.init, ir.AffineMap.get(rank, 0, kept))],
        iterator_types=["reduction" if d == work.axis else "parallel" for d in range(rank)],
        fill=fill,
    )
    return loop.results[0]


def split(
    op: ir.Operation, backend: Backend | None = None, vector_bytes: int | None = None
) -> None:
    """Replace a reduction, if it is long or reads a loop of its own, and fence what reads it."""
    if backend in sum_terms.BACKENDS:
        sum_terms.spell(op)
    result = op.results[0]
    is_long = reductions.terms(op) > MAX_TERMS
    obstacle = reductions.obstacle(op)
    if is_long and obstacle is not None:
        raise reductions.refuse(op, obstacle)
    if is_long or (obstacle is None and reductions.has_producers(op)):
        with ir.InsertionPoint(op), op.location:
            in_pieces = vector_bytes is not None and vector_bytes >= _WIDE
            result = combine(reductions.read(op), in_pieces=in_pieces)
        op.results[0].replace_all_uses_with(result)
    made_by = bindings.producer(result)
    if made_by is None or _is_fenced(result):
        return
    with ir.InsertionPoint.after(made_by), made_by.location:
        fenced = rewriting.barrier(result)
    result.replace_all_uses_except(fenced, fenced.owner.operation)


def _is_fenced(result: ir.Value) -> bool:
    return all(user.name in (BARRIER, "func.return") for user in bindings.users(result))


@dataclass(frozen=True, slots=True)
class SplitReductions(Pass):
    """Long reductions in parallel parts, and a barrier between a reduction and what reads it.

    The element-wise loop that only a reduction reads runs inside the parts. Nothing is copied.

    backend: what the module is for; None spells no term anew for it.
    vector_bytes: how wide its vectors are; None reads no part in pieces.
    """

    name: ClassVar[str] = "split-reductions"
    backend: Backend | None = None
    vector_bytes: int | None = None

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            block = bindings.body(function)
            for op in bindings.operations(block):
                if rewriting.is_reduction(op):
                    split(op, self.backend, self.vector_bytes)
            rewriting.erase_dead(block)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for op in bindings.operations(bindings.body(function)):
                if not rewriting.is_reduction(op):
                    continue
                if reductions.terms(op) > MAX_TERMS:
                    raise reductions.refuse(op, "it is still one loop")
                if not all(_is_fenced(result) for result in op.results):
                    raise PassError(f"nothing fences the reduction at {bindings.where(op)}")
