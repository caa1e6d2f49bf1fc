"""Convolutions of 1-D and 2-D, channels last.

The op is general enough to express its own gradients: with zeros between the elements of x
(`input_dilation`) and negative padding, which cuts elements off.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias

import numpy as np

from stepforge.frontend.dtypes import Array, TensorType
from stepforge.frontend.errors import DTypeError, ShapeError
from stepforge.frontend.ops.apply import apply
from stepforge.frontend.ops.axes import Integers, as_integer, as_integers
from stepforge.frontend.ops.op import NUMBER, Attributes, Op, Types, check_kind, show

if TYPE_CHECKING:
    from stepforge.frontend.graph import Node

Padding: TypeAlias = "str | Sequence[tuple[int, int]]"
"""`valid`, `same`, or (before, after) for each spatial axis."""

SPATIAL = (1, 2)
"""How many spatial axes there may be."""


def _infer_convolution(types: Types, attributes: Attributes) -> TensorType:
    x, kernel = types
    if x.dtype != kernel.dtype:
        raise DTypeError(
            "convolution: operands must have the same dtype, there is no implicit promotion",
            expected=x.dtype.name,
            got=show(types),
        )
    check_kind("convolution", x.dtype, NUMBER)
    count, groups = x.rank - 2, attributes["groups"]
    if count not in SPATIAL or kernel.rank != x.rank:
        raise ShapeError(
            "convolution: x is [batch, spatial.., channels], the kernel [spatial.., in, out]",
            expected="1 or 2 spatial axes, and equal ranks",
            got=show(types),
        )
    if groups < 1 or kernel.shape[-2] * groups != x.shape[-1] or kernel.shape[-1] % groups:
        raise ShapeError(
            "convolution: the kernel's input channels times groups are the channels of x, and "
            "groups divide its output channels",
            expected=f"[.., {x.shape[-1]} / groups, a multiple of groups]",
            got=f"{show(types)} with groups={groups}",
        )
    for key in ("strides", "padding", "input_dilation", "kernel_dilation"):
        entries = attributes[key]
        if len(entries) != count or (key != "padding" and min(entries) < 1):
            expected = f"{count} numbers of 1 or more" if key != "padding" else f"{count} pairs"
            raise ShapeError(f"convolution: {key}", expected=expected, got=entries)
    sizes = [
        _output_size(axis, size, taps, attributes)
        for axis, (size, taps) in enumerate(zip(x.shape[1:-1], kernel.shape[:-2], strict=True))
    ]
    return TensorType(x.dtype, (x.shape[0], *sizes, kernel.shape[-1]))


def _output_size(axis: int, size: int, taps: int, attributes: Attributes) -> int:
    low, high = attributes["padding"][axis]
    given = dilated(size, attributes["input_dilation"][axis]) + low + high
    window = dilated(taps, attributes["kernel_dilation"][axis])
    if window < 1 or given < window:
        raise ShapeError(
            f"convolution: the kernel must fit into the padded operand on spatial axis {axis}",
            expected=f"a window of 1 to {given}",
            got=window,
        )
    return (given - window) // attributes["strides"][axis] + 1


def dilated(size: int, step: int) -> int:
    """How far `size` elements reach that are `step` apart."""
    return max(0, (size - 1) * step + 1)


def _padded(x: Array, padding: Sequence[tuple[int, int]], dilation: Sequence[int]) -> Array:
    spatial = [dilated(size, step) for size, step in zip(x.shape[1:-1], dilation, strict=True)]
    wide = np.zeros((x.shape[0], *spatial, x.shape[-1]), x.dtype)
    wide[:, *(np.s_[::step] for step in dilation)] = x
    amounts = [(max(low, 0), max(high, 0)) for low, high in padding]
    wide = np.pad(wide, [(0, 0), *amounts, (0, 0)])
    cuts = [
        np.s_[max(-low, 0) : size - max(-high, 0)]
        for (low, high), size in zip(padding, wide.shape[1:-1], strict=True)
    ]
    return wide[:, *cuts]


def _convolution(
    x: Array,
    kernel: Array,
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    input_dilation: tuple[int, ...],
    kernel_dilation: tuple[int, ...],
    groups: int,
) -> Array:
    """The sum over the taps of the kernel: each a product of matrices, group by group."""
    wide = _padded(x, padding, input_dilation)
    taps, (inner, channels) = kernel.shape[:-2], kernel.shape[-2:]
    sizes = [
        (have - dilated(size, step)) // stride + 1
        for have, size, step, stride in zip(
            wide.shape[1:-1], taps, kernel_dilation, strides, strict=True
        )
    ]
    total = np.zeros((groups, math.prod([len(x), *sizes]), channels // groups), x.dtype)
    for tap in itertools.product(*map(range, taps)):
        seen = [
            np.s_[i * step : i * step + (count - 1) * stride + 1 : stride]
            for i, step, count, stride in zip(tap, kernel_dilation, sizes, strides, strict=True)
        ]
        rows = wide[:, *seen].reshape(-1, groups, inner).swapaxes(0, 1)
        total += np.matmul(rows, kernel[tap].reshape(inner, groups, -1).swapaxes(0, 1))
    return total.swapaxes(0, 1).reshape([len(x), *sizes, channels])


CONVOLUTION = Op(
    "convolution",
    _infer_convolution,
    _convolution,
    2,
    attributes=("strides", "padding", "input_dilation", "kernel_dilation", "groups"),
    wide=True,
)

OPS: tuple[Op, ...] = (CONVOLUTION,)


def convolution(
    x: Node,
    kernel: Node,
    *,
    strides: Integers | None = None,
    padding: Sequence[tuple[int, int]] | None = None,
    input_dilation: Integers | None = None,
    kernel_dilation: Integers | None = None,
    groups: int = 1,
) -> Node:
    """The correlation of x[batch, spatial.., in] with kernel[spatial.., in / groups, out].

    out[n, o.., f] is the sum over taps k and channels c of the kernel's group of
    x[n, (o * strides + k * kernel_dilation).., c] * kernel[k.., c, f], where x first has
    input_dilation - 1 zeros between its elements, then padding[axis] = (before, after) zeros around
    it (less, where negative). Each is one entry per spatial axis, by default 1 and (0, 0).
    Output channels belong to `groups` groups, in order, as the input channels do. Numbers only;
    16-bit floats are summed in float32. Raises ShapeError, DTypeError.
    """
    count = max(x.rank - 2, 0)
    ones = (1,) * count
    pairs = ((0, 0),) * count if padding is None else padding
    return apply(
        CONVOLUTION,
        x,
        kernel,
        strides=as_integers("convolution", ones if strides is None else strides),
        padding=_as_pairs("convolution", pairs),
        input_dilation=as_integers(
            "convolution", ones if input_dilation is None else input_dilation
        ),
        kernel_dilation=as_integers(
            "convolution", ones if kernel_dilation is None else kernel_dilation
        ),
        groups=as_integer("convolution", groups),
    )


def conv(
    x: Node,
    kernel: Node,
    strides: SupportsIndex | Integers = 1,
    padding: Padding = "same",
    dilation: SupportsIndex | Integers = 1,
    groups: int = 1,
) -> Node:
    """A convolution layer's product: x[batch, spatial.., in], kernel[spatial.., in / groups, out].

    strides, dilation: one number for all spatial axes, or one each. padding: `valid` is none;
    `same` gives ceil(size / stride) elements, the odd zero after; else (before, after) per axis.
    Raises ShapeError, DTypeError.
    """
    count = max(x.rank - 2, 0)
    steps, spread = per_axis("conv", strides, count), per_axis("conv", dilation, count)
    windows = [dilated(n, d) for n, d in zip(kernel.shape[:count], spread, strict=False)]
    pairs = as_padding("conv", padding, x.shape[1:-1], windows, steps)
    return convolution(
        x, kernel, strides=steps, padding=pairs, kernel_dilation=spread, groups=groups
    )


def per_axis(name: str, numbers: SupportsIndex | Integers, count: int) -> tuple[int, ...]:
    """One number per spatial axis."""
    if isinstance(numbers, SupportsIndex):
        return (as_integer(name, numbers),) * count
    given = as_integers(name, numbers)
    if len(given) != count:
        raise ShapeError(f"{name}: one number per spatial axis", expected=count, got=given)
    return given


def as_padding(
    name: str,
    padding: Padding,
    sizes: Sequence[int],
    windows: Sequence[int],
    strides: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """The zeros before and after on each spatial axis."""
    if not isinstance(padding, str):
        return _as_pairs(name, padding)
    if padding not in ("valid", "same"):
        rule = f"{name}: unknown padding"
        raise ShapeError(rule, expected="'valid', 'same', or pairs of numbers", got=repr(padding))
    if padding == "valid" or min(strides, default=1) < 1:
        return ((0, 0),) * len(sizes)
    rows = zip(sizes, windows, strides, strict=False)
    missing = [max(0, (-(-size // step) - 1) * step + window - size) for size, window, step in rows]
    return tuple((n // 2, n - n // 2) for n in missing)


def _as_pairs(name: str, padding: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    pairs = [as_integers(name, pair) for pair in padding]
    if any(len(pair) != 2 for pair in pairs):
        expected = "(before, after) for each spatial axis"
        raise ShapeError(f"{name}: padding", expected=expected, got=padding)
    return tuple((pair[0], pair[1]) for pair in pairs)
