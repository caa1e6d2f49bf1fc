"""choose-tiles: sizes of tiles for loops where IREE's own choice was measured to be worse.

IREE cuts an element-wise loop over rows into tiles of 64 by 64 elements. The rows of an update with
8-bit state are blocks, with one scale each, of which every tile then reads a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings, rewriting
from stepforge.passes.bindings import ir
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass
from stepforge.passes.targets.target import Backend

COMPILATION_INFO = "compilation_info"
_LONGEST_ROW = 1_024


@dataclass(frozen=True, slots=True)
class Tiles:
    """`distribution`: what one workgroup computes; `vector`: what one pass of its inner loop does.
    None stands for the whole length of an axis."""

    applies: Callable[[ir.Operation], bool]
    distribution: tuple[int | None, ...]
    vector: tuple[int, ...]


def updates_blocks(op: ir.Operation) -> bool:
    """A loop over rows of moderate length that yields 8-bit integers among other results."""
    if not rewriting.is_elementwise_generic(op) or len(op.results) < 2:
        return False
    shape = bindings.shape(op.results[0]) or ()
    elements = [str(bindings.element_type(result)) for result in op.results]
    return len(shape) == 2 and shape[1] <= _LONGEST_ROW and "i8" in elements


#: Measured on x86-64 with AVX-512, AdamW with 8-bit moments over 16 million parameters, one thread:
#: 44 ms with tiles of 64 x 64 and vectors of 16, 32 ms with whole rows, 31 ms with vectors of 32;
#: 16 and 256 rows are as fast as 64. For AdamW in float32, 4,096 (IREE), 16,384 and 65,536
#: elements with vectors of 8, 16 and 32 are within 3 % of each other, so it has no row.
TILES: Mapping[str, tuple[Tiles, ...]] = {
    "cpu": (Tiles(updates_blocks, distribution=(64, None), vector=(1, 32)),),
}


def _attribute(tiles: Tiles, op: ir.Operation) -> ir.Attribute:
    shape = bindings.shape(op.results[0])
    assert shape is not None
    sizes = [
        size if tile is None else min(tile, size)
        for tile, size in zip(tiles.distribution, shape, strict=True)
    ]
    return ir.Attribute.parse(
        "#iree_codegen.compilation_info<lowering_config = #iree_cpu.lowering_config<"
        f"distribution = {sizes}, vector_common_parallel = {list(tiles.vector)}>, "
        "translation_info = #iree_codegen.translation_info<pipeline = "
        "#iree_cpu.pipeline<DoubleTilingExpert>, {enable_loop_peeling}>>"
    )


@dataclass(frozen=True, slots=True)
class ChooseTiles(Pass):
    """Loops that the table knows say how IREE shall cut them; nothing else changes.

    backend: what the module is for; None chooses nothing.
    """

    name: ClassVar[str] = "choose-tiles"
    backend: Backend | None = None

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for op in bindings.operations(bindings.body(function)):
                for tiles in self._known(op):
                    op.attributes[COMPILATION_INFO] = _attribute(tiles, op)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for op in bindings.operations(bindings.body(function)):
                if COMPILATION_INFO in op.attributes and not self._known(op):
                    raise PassError(f"no row of the table is for {op.name} at {bindings.where(op)}")

    def _known(self, op: ir.Operation) -> list[Tiles]:
        rows = TILES.get(str(self.backend), ())
        return [tiles for tiles in rows if tiles.applies(op)]
