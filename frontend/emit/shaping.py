"""Constants, iota, and the ops that only move elements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from stepforge.frontend.dtypes import as_dtype, convert
from stepforge.frontend.emit.bindings import Body, Builder, Value
from stepforge.frontend.emit.widths import (
    Rule,
    compare,
    constant,
    in_words,
    literal,
    literals,
    whole,
    wide_element,
)
from stepforge.frontend.graph import Node
from stepforge.frontend.ops import OPS


def integers(numbers: Sequence[int]) -> str:
    """The attribute text of a list of integers."""
    return f"array<i64: {', '.join(map(str, numbers))}>" if numbers else "array<i64>"


def empty(b: Builder, element: str, shape: tuple[int, ...]) -> Value:
    return b.op("tensor.empty", [], element=element, shape=shape)


def spread(b: Builder, number: Value, shape: tuple[int, ...]) -> Value:
    """A tensor that holds a single element everywhere."""
    out = empty(b, number.element, shape)
    segments = {"operandSegmentSizes": "array<i32: 1, 1>"}
    return b.op("linalg.fill", [number, out], like=out, attributes=segments, body=first_element)


def pointwise(b: Builder, inputs: Sequence[Value], out: Value, body: Body) -> Value:
    """A linalg.generic that makes a tensor like `out`, each element where its inputs' are."""
    dims = ", ".join(f"d{i}" for i in range(len(out.shape or ())))
    return loops(b, inputs, out, [f"({dims}) -> ({dims})"] * (len(inputs) + 1), body)


def loops(
    b: Builder, inputs: Sequence[Value], out: Value, maps: Sequence[str], body: Body
) -> Value:
    """A linalg.generic without a reduction; one map per input, then the one of `out`."""
    kinds = ", ".join(["#linalg.iterator_type<parallel>"] * len(out.shape or ()))
    attributes = {
        "indexing_maps": f"[{', '.join(f'affine_map<{text}>' for text in maps)}]",
        "iterator_types": f"[{kinds}]",
        "operandSegmentSizes": f"array<i32: {len(inputs)}, 1>",
    }
    return b.op("linalg.generic", [*inputs, out], like=out, attributes=attributes, body=body)


def index(b: Builder, axis: int) -> Value:
    return b.scalar("linalg.index", [], "index", {"dim": f"{axis} : i64"})


def _constant(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    wide = as_dtype(wide_element(node.dtype.short))
    words = iter(literals(convert(OPS["constant"].numpy(**node.attributes), wide)))
    value = node.attributes["value"]
    text = _nested(words, node.shape) if isinstance(value, tuple) else next(words, "")
    like = Value(None, wide.short, node.shape)
    return b.op(
        "arith.constant", [], like=like, attributes={"value": f"dense<{text}> : {like.type}"}
    )


def _unfolded_constant(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """A barrier hides the number from the compiler; a bool is a word until then."""
    element = wide_element(node.dtype.short)
    word = "i32" if element == "i1" else element
    text = literal(node.attributes["value"], word)
    number = b.scalar("arith.constant", [], word, {"value": f"{text} : {word}"})
    hidden = b.scalar("util.optimization_barrier", [number], word)
    value = spread(b, hidden, node.shape)
    return value if word == element else compare(b, "ne", value, constant(b, value, 0))


def _nested(words: Iterator[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return next(words)
    return f"[{', '.join(_nested(words, shape[1:]) for _ in range(shape[0]))}]"


def _iota(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Counts in integers, i64 only where the result is."""
    wide = wide_element(node.dtype.short)
    counter = "i64" if wide == "i64" else "i32"

    def body(inner: Builder, _: Value) -> Value:
        count = inner.scalar("arith.index_cast", [index(inner, node.attributes["axis"])], counter)
        if wide == counter:
            return count
        return inner.scalar("arith.sitofp", [count], wide)

    numbers = pointwise(b, [], empty(b, wide, node.shape), body)
    return whole(b, numbers) if node.dtype.is_half else numbers


def _broadcast(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Bools as they are: what is broadcast is, most of the time, a scalar of a fused chain."""
    added = [i for i in range(node.rank) if i not in node.attributes["axes"]]
    if not added:
        return xs[0]
    out = empty(b, xs[0].element, node.shape)
    return _move(b, "linalg.broadcast", xs[0], out, {"dimensions": integers(added)})


def _transpose(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return transposed(b, xs[0], node.attributes["permutation"])


def transposed(b: Builder, x: Value, permutation: Sequence[int]) -> Value:
    sizes = x.shape or ()
    if len(sizes) < 2:
        return x  # of rank 0, linalg.transpose crashes the verifier
    out = empty(b, x.element, tuple(sizes[axis] for axis in permutation))
    return _move(b, "linalg.transpose", x, out, {"permutation": integers(permutation)})


def _move(b: Builder, name: str, x: Value, out: Value, attributes: Mapping[str, str]) -> Value:
    return b.op(name, [x, out], like=out, attributes=attributes, body=first_element)


def first_element(b: Builder, element: Value, *_: Value) -> Value:
    """The body of ops that only move or repeat elements."""
    return element


def _reshape(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    return reshaped(b, xs[0], node.shape)


def reshaped(b: Builder, x: Value, shape: tuple[int, ...]) -> Value:
    """Merges neighbouring axes, then splits them: tensor.collapse_shape, tensor.expand_shape.

    Between the two stands the finest shape that both sides refine, so that a pure merge or split is
    one op.
    """
    before, after = _groups(x.shape or (), shape)
    middle = tuple(math.prod(shape[i] for i in group) for group in after)
    if x.shape != middle:
        attributes = {"reassociation": reassociation(before)}
        x = b.op("tensor.collapse_shape", [x], shape=middle, attributes=attributes)
    if shape == middle:
        return x
    sizes = {"reassociation": reassociation(after), "static_output_shape": integers(shape)}
    return b.op("tensor.expand_shape", [x], shape=shape, attributes=sizes)


def reassociation(groups: Sequence[Sequence[int]]) -> str:
    return f"[{', '.join(str(list(group)) for group in groups)}]"


def _groups(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[list[list[int]], list[list[int]]]:
    """The axes of two shapes of one size in groups of equal products, as many as there can be.

    Shapes with a zero make one group: products say nothing about them.
    """
    if not a or not b:
        return [], []
    if 0 in a:
        return [list(range(len(a)))], [list(range(len(b)))]
    left: list[list[int]] = []
    right: list[list[int]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        first, second, i_end, j_end = a[i], b[j], i + 1, j + 1
        while first != second:
            if first < second:
                first, i_end = first * a[i_end], i_end + 1
            else:
                second, j_end = second * b[j_end], j_end + 1
        left.append(list(range(i, i_end)))
        right.append(list(range(j, j_end)))
        i, j = i_end, j_end
    left[-1].extend(range(i, len(a)))  # what is left over are axes of size 1
    right[-1].extend(range(j, len(b)))
    return left, right


def extract(
    b: Builder,
    x: Value,
    shape: tuple[int, ...],
    offsets: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
) -> Value:
    """Elements from `offsets`, `strides` apart; `shape` is `sizes`, maybe without axes of 1."""
    attributes = _window(offsets, sizes, strides, "array<i32: 1, 0, 0, 0>")
    return b.op("tensor.extract_slice", [x], shape=shape, attributes=attributes)


def _window(
    offsets: Sequence[int], sizes: Sequence[int], strides: Sequence[int], segments: str
) -> dict[str, str]:
    return {
        "static_offsets": integers(offsets),
        "static_sizes": integers(sizes),
        "static_strides": integers(strides),
        "operandSegmentSizes": segments,
    }


def _slice(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    if 0 in node.shape:
        return empty(b, xs[0].element, node.shape)  # MLIR wants the first element to exist
    starts, strides = node.attributes["starts"], node.attributes["strides"]
    return extract(b, xs[0], node.shape, starts, node.shape, strides)


def _concatenate(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    attributes = {"dim": f"{node.attributes['axis']} : i64"}
    return b.op("tensor.concat", xs, shape=node.shape, attributes=attributes)


def _pad(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """x inserted in a tensor full of the value.

    Not tensor.pad: its value is an element, so a value of the device would be read by the host.
    """
    x, value = xs
    out = empty(b, x.element, node.shape)
    everywhere = {"dimensions": integers(range(node.rank))}
    full = _move(b, "linalg.broadcast", value, out, everywhere) if node.rank else value
    return inserted(b, x, full, node.attributes["low"])


def inserted(
    b: Builder, x: Value, into: Value, offsets: Sequence[int], strides: Sequence[int] | None = None
) -> Value:
    """`into` with x in its place, from `offsets`, `strides` apart."""
    sizes = x.shape or ()
    steps = (1,) * len(sizes) if strides is None else strides
    attributes = _window(offsets, sizes, steps, "array<i32: 1, 1, 0, 0, 0>")
    return b.op("tensor.insert_slice", [x, into], like=into, attributes=attributes)


def _reverse(b: Builder, node: Node, xs: Sequence[Value]) -> Value:
    """Reads backwards by index: a map such as (d0) -> (9 - d0) does not compile in IREE 3.13."""

    if not node.attributes["axes"]:
        return xs[0]

    def body(inner: Builder, _: Value) -> Value:
        indices = [_mirrored(inner, axis, node) for axis in range(node.rank)]
        return inner.scalar("tensor.extract", [xs[0], *indices], xs[0].element)

    return pointwise(b, [], empty(b, xs[0].element, node.shape), body)


def _mirrored(b: Builder, axis: int, node: Node) -> Value:
    here = index(b, axis)
    if axis not in node.attributes["axes"]:
        return here
    return b.scalar("arith.subi", [constant(b, here, node.shape[axis] - 1), here], "index")


RULES: Mapping[str, Rule] = {
    "constant": _constant,
    "unfolded_constant": _unfolded_constant,
    "iota": _iota,
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": in_words(_transpose),
    "slice": in_words(_slice),
    "concatenate": in_words(_concatenate),
    "pad": in_words(_pad),
    "reverse": in_words(_reverse),
}
