"""Programs as logical MLIR. Imports IREE's bindings: everything else in the frontend does without.

What passes may rely on, besides valid MLIR without dynamic shapes:

- `module attributes {stepforge.abi = 1 : i64}`, and `stepforge.shards` if there are several; one
  public `func.func` per entry point, one block.
  With `stepforge.free_length` the one variable's length stands for any other.
- Arguments in the order of the entry point, each with `stepforge.name` and `stepforge.role`, and
  `stepforge.result = N : index` when result N is its new value. Device arguments are tensors (bools
  `tensor<..xi8>`), host scalars `f32` or `i64`. With a scalar table, host scalars are no arguments;
  one `tensor<Kxf32>` (or f64) of role "scalars" comes last.
- A host scalar enters as `tensor.from_elements %arg : tensor<f32>` and leaves, if at all, as
  `tensor.extract %x[] : tensor<i64>`; an entry of the table is
  `tensor.extract_slice %table[k] [1] [1] : tensor<Kxf32> to tensor<f32>` (a bool: `cmpf une` 0).
- Element-wise math is `arith` and `math` on tensors, all operands of one shape, without fast-math
  flags; bools are i1. Most ops are one operation; div and rem of integers, rem, pow, sign, sigmoid,
  is_finite, tanh and cast may be several.
- 16-bit floats and i8 are the elements of arguments and results alone: `arith.extf` (`extsi`) at
  the entry, `truncf` (`trunci`) at the exit, f32 (i32) between. What is used inside the function,
  not only returned, is rounded there: bfloat16 by integer arithmetic on bits, i8 by two shifts.
- A rank-0 value meets a shape only through `linalg.broadcast ins(%s : tensor<f32>)
  outs(%empty) dimensions = [0, 1, ..]`.
- A reduction is `linalg.reduce { one op } ins(%x) outs(%filled) dimensions = [..]`, with the op
  applied to (total, element): addf, mulf, maximumf, minimumf, addi, muli, maxsi, minsi, andi, ori;
  %filled is a `linalg.fill` of a scalar constant, the op's identity, into a `tensor.empty`. It
  reduces f32, f64, i32 or i64: bools are 0 and 1 in i32 (`arith.extui` before, `cmpi ne` 0 after),
  so that a rank-0 result in a buffer is a whole 32-bit word.
- A contraction is `linalg.contract` over a `linalg.fill` of zero in a `tensor.empty`, with one loop
  to sum over, of at most 16,384 terms: a longer sum has one more loop in the result, which a
  `linalg.reduce` sums. Operands are read by permuted maps, after `tensor.collapse_shape`. Without a
  sum it is a `linalg.generic`. A convolution is one of `tensor.concat` of slices.
- Rows by number are read by a `linalg.generic` with `tensor.extract`, and added to by a contraction
  with zeros and ones; with more rows than updates, by an `iree_linalg_ext.scatter` of sums.
- Elements move by `tensor.collapse_shape`, `tensor.expand_shape`, `tensor.extract_slice`,
  `tensor.insert_slice`, `tensor.concat`, `linalg.transpose`; reverse, cumsum and iota are
  `linalg.generic` with `linalg.index` in the body, and the first two `tensor.extract` there.
- No `linalg` op has a function argument as `outs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepforge.frontend.emit.bindings import Module
from stepforge.frontend.emit.errors import EmitError
from stepforge.frontend.emit.function import emit_function
from stepforge.frontend.emit.rules import EMIT

if TYPE_CHECKING:
    from stepforge.frontend.program import Program

__all__ = ["EMIT", "EmitError", "emit"]


def emit(program: Program, *, locations: bool = False, shards: int = 1) -> str:
    """The MLIR text of all entry points of a program.

    shards: how many equal ranges arenas are to divide into.
    locations: whether each operation says the user's line that made it, for diagnostics.

    Raises EmitError for a host scalar that is neither f32 nor i64 (in a table: an integer).
    """
    sharded = {"stepforge.shards": f"{shards} : i64"} if shards > 1 else {}
    free = {"stepforge.free_length": "unit"} if program.any_length else {}
    module = Module({"stepforge.abi": "1 : i64", **sharded, **free})
    for entry in program.entry_points:
        emit_function(module, entry)
    return module.finish(locations=locations)
