"""The row of convolution: both shares are convolutions."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.gradient.rule import Rows
from stepforge.frontend.graph import Node
from stepforge.frontend.ops.convolutions import dilated


def _convolution(node: Node, cotangent: Node) -> tuple[Node, Node]:
    return _operand_share(node, cotangent), _kernel_share(node, cotangent)


def _operand_share(node: Node, cotangent: Node) -> Node:
    """The cotangent, its elements as far apart as the strides, with the kernel mirrored.

    Element i of x, at i * input_dilation + low of the padded operand, met tap k in output o where
    o * stride + k * step is that place. The padding makes it meet the mirrored tap there again.
    """
    x, kernel = node.inputs
    groups, count = node.attributes["groups"], x.rank - 2
    *taps, inner, channels = kernel.shape
    mirrored = ops.reverse(kernel, range(count))
    split = ops.reshape(mirrored, (*taps, inner, groups, channels // groups))
    swapped = ops.transpose(split, (*range(count), count + 2, count + 1, count))
    padding: list[tuple[int, int]] = []
    for axis, (size, tap) in enumerate(zip(x.shape[1:-1], taps, strict=True)):
        apart, step, stride = (
            node.attributes[key][axis] for key in ("input_dilation", "kernel_dilation", "strides")
        )
        low = (tap - 1) * step - node.attributes["padding"][axis][0]
        needed = (size - 1) * apart + dilated(tap, step)
        padding.append((low, needed - dilated(cotangent.shape[1 + axis], stride) - low))
    return ops.convolution(
        cotangent,
        ops.reshape(swapped, (*taps, channels // groups, groups * inner)),
        strides=node.attributes["input_dilation"],
        padding=padding,
        input_dilation=node.attributes["strides"],
        kernel_dilation=node.attributes["kernel_dilation"],
        groups=groups,
    )


def _kernel_share(node: Node, cotangent: Node) -> Node:
    """x as a batch of its channels, with the cotangent as kernel: examples are what is summed."""
    x, kernel = node.inputs
    groups, count = node.attributes["groups"], x.rank - 2
    batch, *sizes, channels = x.shape
    spatial = range(1, 1 + count)
    split = ops.reshape(x, (batch, *sizes, groups, channels // groups))
    swapped = ops.transpose(split, (count + 2, *spatial, count + 1, 0))
    padding: list[tuple[int, int]] = []
    for axis, (size, tap) in enumerate(zip(sizes, kernel.shape, strict=False)):
        apart, step, stride = (
            node.attributes[key][axis] for key in ("input_dilation", "kernel_dilation", "strides")
        )
        low = node.attributes["padding"][axis][0]
        needed = (tap - 1) * step + dilated(cotangent.shape[1 + axis], stride)
        padding.append((low, needed - dilated(size, apart) - low))
    share = ops.convolution(
        ops.reshape(swapped, (channels // groups, *sizes, groups * batch)),
        ops.transpose(cotangent, (*spatial, 0, count + 1)),
        strides=node.attributes["kernel_dilation"],
        padding=padding,
        input_dilation=node.attributes["input_dilation"],
        kernel_dilation=node.attributes["strides"],
        groups=groups,
    )
    return ops.transpose(share, (*spatial, 0, count + 1))


RULES: Rows = {"convolution": _convolution}
