"""`loss_scale`: gradients of a loss that was multiplied, as 16-bit floats need it."""

from __future__ import annotations

from stepforge.frontend.context import Context
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import PARAM_LOSS_SCALE
from stepforge.frontend.resolve import Resolved, is_off, parameter, read


def scale_loss(ctx: Context, loss: Node) -> Node:
    """loss * loss_scale, to differentiate; the loss itself where that is 1.

    Gradients of a scaled loss are that much larger, and small ones no longer vanish in a 16-bit
    float.
    """
    setting = parameter(ctx, PARAM_LOSS_SCALE, 1.0)
    if is_off(setting, 1.0):
        return loss
    return loss * read(setting, ctx, loss.graph, loss.dtype)


def unscale(ctx: Context, setting: Resolved, gradient: Node) -> Node:
    """gradient * (1 / loss_scale), with the quotient computed once; exact for powers of two."""
    if is_off(setting, 1.0):
        return gradient
    return gradient * (1.0 / read(setting, ctx, gradient.graph, gradient.dtype))
