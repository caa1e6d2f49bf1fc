"""A convolution with a kernel that is learned."""

from __future__ import annotations

from collections.abc import Sequence

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import Initializer, glorot_uniform
from stepforge.frontend.nn.dense import add_bias, check_layer


def conv(
    ctx: Context,
    x: Node,
    features: int,
    kernel: int | Sequence[int],
    *,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "same",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    use_bias: bool = True,
    initializer: Initializer | None = None,
) -> Node:
    """`ops.conv` with a kernel and a bias: a float x[batch, .., channels] gives [.., features].

    kernel: its size, one number for all spatial axes (one or two) or one each. strides, padding,
    dilation, groups: as `ops.conv` takes them. The kernel is not flipped.

    Variables: `w`[*kernel, channels / groups, features] by `initializer` (None: glorot_uniform, as
    Keras; torch draws from +-1/sqrt(channels / groups * kernel size), and has channels first), and
    with `use_bias` `b`[features], zeros at first. The padding is "same" by default, where Keras and
    torch pad nothing. Raises ShapeError, DTypeError.
    """
    check_layer("conv", x, rank=3)
    spatial = (kernel,) * (x.rank - 2) if isinstance(kernel, int) else tuple(kernel)
    if len(spatial) != x.rank - 2:
        expected = f"{x.rank - 2} sizes for {x.type}"
        raise ShapeError(
            "conv: the kernel has one size per spatial axis", expected=expected, got=kernel
        )
    if groups < 1 or x.shape[-1] % groups or features % groups:
        raise ShapeError(
            "conv: groups divide the channels and the features",
            expected=f"a divisor of {x.shape[-1]} and {features}",
            got=groups,
        )
    how = glorot_uniform() if initializer is None else initializer
    shape = (*spatial, x.shape[-1] // groups, features)
    w = ctx.variable("w", shape, x.dtype, initializer=how).value_graph(x.graph)
    y = ops.conv(x, w, strides=strides, padding=padding, dilation=dilation, groups=groups)
    return add_bias(ctx, y) if use_bias else y
