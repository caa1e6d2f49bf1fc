"""choose-tiles: sizes of tiles for loops where IREE's own choice was measured to be worse.

- IREE cuts an element-wise loop over rows into tiles of 64 by 64 elements. The rows of an update
  with 8-bit state are blocks, with one scale each, of which every tile then reads a part.
- It keeps eight vectors of sums of a matrix product in registers, where the processor has room for
  more; each number that is fetched is then used for fewer products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings, products, rewriting
from stepforge.passes.bindings import func, ir
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass
from stepforge.passes.split_reductions import LANES
from stepforge.passes.targets.target import Backend

COMPILATION_INFO = "compilation_info"
_LONGEST_ROW = 1_024
#: What a workgroup computes of a product, in rows and in columns.
_PRODUCT = 64
#: A product with fewer rows, or of fewer terms in all, is no slower where its right operand lies.
_MANY = 128
_WORK = 4_000_000
#: Products with shorter sums than this, or fewer rows, gained nothing.
_FEW = 16


@dataclass(frozen=True, slots=True)
class Tiles:
    """`distribution`: what one workgroup computes; `vector`: what one pass of its inner loop does;
    `reduction`: how many terms of a sum that adds."""

    distribution: tuple[int, ...]
    vector: tuple[int, ...]
    reduction: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Register:
    """Sums of a product that are kept in registers: `rows` x `columns`.

    `multiple`: for products whose columns are a multiple of that, and at least `least`. The rest of
    a row that does not fill a tile is computed number by number, and there are no more than that.
    """

    rows: int
    columns: int
    multiple: int
    least: int


#: By the bytes of a vector of the target, and whether the right operand lies transposed. The first
#: that fits. In GFLOP/s of one thread on x86-64, inputs not in the nearest caches, float32:
#:
#:   rows x columns x terms       AVX-512, IREE's tiles   these     AVX2, IREE's   these
#:   128 x 512 x 512                  83                   150        63            72
#:   1,024 x 256 x 64                110                   146        83            95
#:   1,024 x 103 x 64                 11                    99        70            (70)
#:   4,096 x 32 x 144                 77                    96        62            (62)
#:   512 x 512 x 128, left^T          88                   141        66            78
#:   64 x 103 x 1,024, left^T          9                    81        42            (42)
#:   128 x 512 x 512, right^T         76                    85        64            (64)
#:   100 x 300 x 77, right^T          32                    60        52            (52)
#:
#: In parentheses: other tiles were slower, so there is no row. With 16 registers as wide (SSE, Arm)
#: nothing was measured, and IREE chooses.
PRODUCTS: Mapping[tuple[int, bool], tuple[Register, ...]] = {
    (64, False): (
        Register(rows=6, columns=64, multiple=64, least=64),
        Register(rows=8, columns=32, multiple=32, least=32),
        Register(rows=8, columns=16, multiple=1, least=16),
    ),
    (64, True): (Register(rows=16, columns=16, multiple=1, least=16),),
    (32, False): (Register(rows=6, columns=16, multiple=16, least=64),),
}
_TERMS = 4


def block_update(op: ir.Operation, _: int | None) -> Tiles | None:
    """A loop over rows of moderate length that yields 8-bit integers among other results.

    Measured on x86-64 with AVX-512, AdamW with 8-bit moments over 16 million parameters, one
    thread: 44 ms with tiles of 64 x 64 and vectors of 16, 32 ms with whole rows, 31 ms with vectors
    of 32; 16 and 256 rows are as fast as 64. For AdamW in float32, 4,096 (IREE), 16,384 and 65,536
    elements with vectors of 8, 16 and 32 are within 3 % of each other, so it has no row.
    """
    if not rewriting.is_elementwise_generic(op) or len(op.results) < 2:
        return None
    shape = bindings.shape(op.results[0]) or ()
    elements = [str(bindings.element_type(result)) for result in op.results]
    if len(shape) != 2 or shape[1] > _LONGEST_ROW or "i8" not in elements:
        return None
    return Tiles((min(64, shape[0]), shape[1]), (1, 32))


def product(op: ir.Operation, vector_bytes: int | None) -> Tiles | None:
    """A product of two float32 matrices, each of which may lie transposed."""
    found = products.read(op)
    if found is None or vector_bytes is None:
        return None
    if found.rows < _FEW or found.terms < _FEW:
        return None
    register = _register(found.columns, vector_bytes, right_transposed=found.right_transposed)
    if register is None:
        return None
    return Tiles(
        (min(_PRODUCT, found.rows), min(_PRODUCT, found.columns), 0),
        (register.rows, register.columns, 0),
        (0, 0, _TERMS),
    )


def _register(columns: int, vector_bytes: int, *, right_transposed: bool) -> Register | None:
    for register in PRODUCTS.get((vector_bytes, right_transposed), ()):
        if columns % register.multiple == 0 and columns >= register.least:
            return register
    return None


def gains_by_transposing(op: ir.Operation, vector_bytes: int | None) -> bool:
    """Whether a product is faster with its right operand transposed first, with that included.

    In GFLOP/s as above, with tiles for either, then transposed: 128 x 512 x 512 91 and 118, 1,024 x
    103 x 64 79 and 94, with AVX2 59 and 74; but 64 x 64 x 64 56 and 53.
    """
    found = products.read(op)
    if found is None or vector_bytes is None or not found.right_transposed:
        return False
    work = found.rows * found.columns * found.terms
    if found.rows < _MANY or work < _WORK:
        return False
    return _register(found.columns, vector_bytes, right_transposed=False) is not None


def long_reduction(op: ir.Operation, _: int | None) -> Tiles | None:
    """The parts of a long reduction, in pieces (`split-reductions`, which says what was measured):
    one pass of four parts at a time, all neighbours at once."""
    if op.name != "linalg.generic" or len(op.results) != 1:
        return None
    kept, axes = bindings.shape(op.results[0]), rewriting.iterators(op)
    if not kept or axes != [*["parallel"] * len(kept), "reduction", "reduction"]:
        return None
    read = [bindings.shape(value) for value, _ in rewriting.inputs(op)]
    if not any(shape and len(shape) == len(axes) and shape[-1] == LANES for shape in read):
        return None
    one, parts = (1,) * (len(kept) - 1), min(4, kept[-1])
    return Tiles((*one, parts, 0, 0), (*one, parts, 0, 0), (*(0 for _ in kept), 1, LANES))


Row = Callable[[ir.Operation, int | None], Tiles | None]
TILES: Mapping[str, tuple[Row, ...]] = {"cpu": (block_update, product, long_reduction)}


def _attribute(tiles: Tiles) -> ir.Attribute:
    levels = {
        "distribution": tiles.distribution,
        "vector_common_parallel": tiles.vector,
        "vector_reduction": tiles.reduction,
    }
    given = ", ".join(f"{name} = {list(sizes)}" for name, sizes in levels.items() if sizes)
    return ir.Attribute.parse(
        f"#iree_codegen.compilation_info<lowering_config = #iree_cpu.lowering_config<{given}>, "
        "translation_info = #iree_codegen.translation_info<pipeline = "
        "#iree_cpu.pipeline<DoubleTilingExpert>, {enable_loop_peeling}>>"
    )


@dataclass(frozen=True, slots=True)
class ChooseTiles(Pass):
    """Loops that the table knows say how IREE shall cut them.

    The right operand of a large product is transposed first, once for all products that read it.

    backend: what the module is for; None chooses nothing.
    vector_bytes: how wide its vectors are; None has no tiles that depend on it.
    """

    name: ClassVar[str] = "choose-tiles"
    backend: Backend | None = None
    vector_bytes: int | None = None

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            self._transpose(function)
            for op in bindings.operations(bindings.body(function)):
                tiles = self._known(op)
                if tiles is not None:
                    op.attributes[COMPILATION_INFO] = _attribute(tiles)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for op in bindings.operations(bindings.body(function)):
                if COMPILATION_INFO in op.attributes and self._known(op) is None:
                    raise PassError(f"no row of the table is for {op.name} at {bindings.where(op)}")

    def _transpose(self, function: func.FuncOp) -> None:
        made = dict[ir.Value, ir.Value]()
        for op in bindings.operations(bindings.body(function)) if self.backend == "cpu" else ():
            if not gains_by_transposing(op, self.vector_bytes):
                continue
            right = op.operands[1]
            with ir.InsertionPoint(op), op.location:
                if right not in made:
                    made[right] = products.transposed(right)
                products.with_right(op, made[right])

    def _known(self, op: ir.Operation) -> Tiles | None:
        rows = TILES.get(str(self.backend), ())
        found = (row(op, self.vector_bytes) for row in rows)
        return next((tiles for tiles in found if tiles is not None), None)
