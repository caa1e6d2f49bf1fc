"""dot_general as one `linalg.contract`: each operand is read where it lies, by a map of its own.

- Neighbouring axes that are neighbours everywhere are one loop: with two loops to sum over, IREE
  3.13 makes scalar code for CPU, a hundred times slower. Operands whose summed axes do not lie side
  by side are transposed first; nothing else is.
- A sum of more than MAX_TERMS is a batch of shorter ones, and a `linalg.reduce` of theirs: Mesa's
  software Vulkan device stops a loop after 65,536 iterations without a word, and a product with few
  rows and columns needs the parts to keep several cores busy.
- Without an axis to sum over it is an element-wise `linalg.generic` that repeats its operands.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stepforge.frontend.emit.bindings import Builder, Value
from stepforge.frontend.emit.errors import EmitError
from stepforge.frontend.emit.reductions import filled, reduced
from stepforge.frontend.emit.shaping import empty, inserted, integers, reassociation, transposed
from stepforge.frontend.emit.widths import Rule, is_float
from stepforge.frontend.graph import Node
from stepforge.frontend.ops.contraction import free_axes

MAX_TERMS = 16_384
"""No loop that runs in one thread has more terms."""
_USUAL = 4_096
_SHORTEST = 512
_PARTS = -1


@dataclass(slots=True)
class Access:
    """How a tensor is used: for each of its axes the number of the loop that goes along it."""

    loops: list[int]
    axes: list[list[int]]
    """The axes of the tensor that each entry of `loops` stands for: neighbours, merged."""

    @staticmethod
    def of(loops: Iterable[int]) -> Access:
        entries = list(loops)
        return Access(entries, [[i] for i in range(len(entries))])

    def joins(self, first: int, second: int) -> bool:
        """Whether the tensor has neither loop, or the second right after the first."""
        if first not in self.loops or second not in self.loops:
            return first not in self.loops and second not in self.loops
        return self.loops.index(second) == self.loops.index(first) + 1

    def join(self, first: int, second: int) -> None:
        if first in self.loops:
            i = self.loops.index(first)
            self.axes[i] += self.axes.pop(i + 1)
            self.loops.remove(second)


def _dot_general(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    if any(0 in x.shape for x in (node, *node.inputs)):
        return filled(b, xs[0].element, node.shape, 0)
    return product(b, xs, _accesses(node), node.shape)


def product(
    b: Builder, xs: Sequence[Value], accesses: Sequence[Access], shape: tuple[int, ...]
) -> Value:
    """The sum of products of two tensors; accesses of both, and of the result of that shape."""
    left, right, result = accesses
    _merge(left, right, result)
    summed = [i for i in left.loops if i not in result.loops]
    pairs = list(zip(xs, (left, right), strict=True))
    if len(summed) > 1:
        pairs = [(_gathered(b, x, access, summed), access) for x, access in pairs]
        _merge(left, right, result)
    first, second = (_collapsed(b, x, access) for x, access in pairs)
    total = contract(b, (first, second), (left.loops, right.loops), result.loops)
    if total.shape == shape:
        return total
    sizes = {"reassociation": reassociation(result.axes), "static_output_shape": integers(shape)}
    return b.op("tensor.expand_shape", [total], shape=shape, attributes=sizes)


def _accesses(node: Node) -> tuple[Access, Access, Access]:
    """One loop per axis of the result, then one per axis that is summed over."""
    contracted, batch = node.attributes["contract"], node.attributes["batch"]
    loops: list[dict[int, int]] = []
    first_own = len(batch[0])
    for side, operand in enumerate(node.inputs):
        own = free_axes(operand.rank, batch[side], contracted[side])
        numbers = [*range(len(batch[0])), *range(first_own, first_own + len(own))]
        numbers += range(node.rank, node.rank + len(contracted[0]))
        places = zip((*batch[side], *own, *contracted[side]), numbers, strict=True)
        loops.append(dict(places))
        first_own += len(own)
    left, right = (Access.of(numbers[i] for i in sorted(numbers)) for numbers in loops)
    return left, right, Access.of(range(node.rank))


def _merge(*accesses: Access) -> None:
    """Makes one loop of each two that stand next to each other wherever they stand."""
    pairs = [pair for access in accesses for pair in itertools.pairwise(access.loops)]
    for first, second in reversed(dict.fromkeys(pairs)):
        if all(access.joins(first, second) for access in accesses):
            for access in accesses:
                access.join(first, second)


def _gathered(b: Builder, x: Value, access: Access, summed: Sequence[int]) -> Value:
    """x with the summed axes last, in the order of `summed`."""
    loops = [*(i for i in access.loops if i not in summed), *summed]
    order = [axis for i in loops for axis in access.axes[access.loops.index(i)]]
    counts = [len(access.axes[access.loops.index(i)]) for i in loops]
    ends = list(itertools.accumulate(counts))
    access.axes = [list(range(end - n, end)) for n, end in zip(counts, ends, strict=True)]
    access.loops = loops
    return transposed(b, x, order)


def _collapsed(b: Builder, x: Value, access: Access) -> Value:
    """x with one axis per loop."""
    sizes = x.shape or ()
    if len(access.axes) == len(sizes):
        return x
    shape = tuple(math.prod(sizes[i] for i in group) for group in access.axes)
    attributes = {"reassociation": reassociation(access.axes)}
    return b.op("tensor.collapse_shape", [x], shape=shape, attributes=attributes)


def contract(
    b: Builder,
    operands: tuple[Value, Value],
    loops: tuple[Sequence[int], Sequence[int]],
    result: Sequence[int],
) -> Value:
    """The sum of products; `loops` and `result` number the loops along the axes of each tensor.

    At most one loop is not one of the result's.
    """
    sizes = {
        i: size
        for x, numbers in zip(operands, loops, strict=True)
        for i, size in zip(numbers, x.shape or (), strict=True)
    }
    summed = [i for i in loops[0] if i not in result]
    if summed and sizes[summed[0]] > MAX_TERMS:
        return _in_parts(b, operands, loops, result, summed[0])
    order = [*result, *summed]
    maps = [_map(order, numbers) for numbers in (*loops, result)]
    shape = tuple(sizes[i] for i in result)
    attributes = {
        "indexing_maps": f"[{', '.join(maps)}]",
        "operandSegmentSizes": "array<i32: 2, 1>",
    }
    if summed:
        out, name, body = filled(b, operands[0].element, shape, 0), "linalg.contract", _multiply_add
    else:
        out, name, body = empty(b, operands[0].element, shape), "linalg.generic", _multiply
        kinds = ", ".join(["#linalg.iterator_type<parallel>"] * len(order))
        attributes["iterator_types"] = f"[{kinds}]"
    return b.op(name, [*operands, out], like=out, attributes=attributes, body=body)


def _map(order: Sequence[int], numbers: Sequence[int]) -> str:
    dims = ", ".join(f"d{i}" for i in range(len(order)))
    return f"affine_map<({dims}) -> ({', '.join(f'd{order.index(i)}' for i in numbers)})>"


def _multiply(b: Builder, x: Value, y: Value, _: Value) -> Value:
    return b.op("arith.mulf" if is_float(x) else "arith.muli", [x, y])


def _multiply_add(b: Builder, x: Value, y: Value, total: Value) -> Value:
    return b.op("arith.addf" if is_float(x) else "arith.addi", [total, _multiply(b, x, y, total)])


def _in_parts(
    b: Builder,
    operands: tuple[Value, Value],
    loops: tuple[Sequence[int], Sequence[int]],
    result: Sequence[int],
    summed: int,
) -> Value:
    """One product per part of the sum, and the sum of the parts."""
    count = (operands[0].shape or ())[list(loops[0]).index(summed)]
    parts, terms = choose_parts(count)
    if parts > MAX_TERMS:
        most = MAX_TERMS * MAX_TERMS
        raise EmitError("dot_general: too many terms in a sum", expected=f"{most}", got=count)
    split = [
        _split(b, x, list(numbers).index(summed), parts, terms)
        for x, numbers in zip(operands, loops, strict=True)
    ]
    inner = [
        [j for i in numbers for j in ((_PARTS, i) if i == summed else (i,))] for numbers in loops
    ]
    product = contract(b, (split[0], split[1]), (inner[0], inner[1]), [_PARTS, *result])
    return reduced(b, product, [0], "arith.addf" if is_float(product) else "arith.addi", 0)


def choose_parts(count: int) -> tuple[int, int]:
    """(parts, terms of each) for a long sum: exact where the count has a divisor of a good size."""
    divisors = [n for n in range(_SHORTEST, MAX_TERMS + 1) if count % n == 0]
    terms = min(divisors, key=lambda n: abs(math.log2(n / _USUAL)), default=_USUAL)
    return -(-count // terms), terms


def _split(b: Builder, x: Value, axis: int, parts: int, terms: int) -> Value:
    """x with an axis of parts before the axis of terms; zeros fill the last part."""
    sizes = x.shape or ()
    whole = (*sizes[:axis], parts * terms, *sizes[axis + 1 :])
    if whole != sizes:
        x = inserted(b, x, filled(b, x.element, whole, 0), [0] * len(sizes))
    shape = (*sizes[:axis], parts, terms, *sizes[axis + 1 :])
    groups = [
        *([i] for i in range(axis)),
        [axis, axis + 1],
        *([i + 1] for i in range(axis + 1, len(sizes))),
    ]
    attributes = {"reassociation": reassociation(groups), "static_output_shape": integers(shape)}
    return b.op("tensor.expand_shape", [x], shape=shape, attributes=attributes)


RULES: Mapping[str, Rule] = {"dot_general": _dot_general}
