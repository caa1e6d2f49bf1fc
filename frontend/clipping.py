"""Limits that a Context sets on gradients, steps and new values."""

from __future__ import annotations

import math

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import PARAM_CLIP_NAN, PARAM_CLIP_STEP_BY_VALUE
from stepforge.frontend.resolve import parameter, read


def clip_step_by_value(ctx: Context, step: Node) -> Node:
    """Each element of `step` limited to +-`clip_step_by_value`; unchanged where that is 0.

    The step has its learning rate, and its weight decay, inside. NaN stays NaN.
    """
    limit = read(parameter(ctx, PARAM_CLIP_STEP_BY_VALUE, 0.0), ctx, step.graph, step.dtype)
    if isinstance(limit, Node):
        # 0 means off for a settable limit too.
        limit = ops.where(limit > 0.0, limit, math.inf)
    elif limit == 0.0:
        return step
    return ops.clip(step, -limit, limit)


def clip_nans_in_gradients(ctx: Context, gradients: Node) -> Node:
    """Zeros instead of the whole tensor if any element is NaN or infinite; only with `clip_nan`."""
    if not ctx.get_param(PARAM_CLIP_NAN, False):
        return gradients
    return ops.where(ops.reduce_all(ops.is_finite(gradients)), gradients, 0.0)


def clip_nans_in_updates(ctx: Context, original: Node, updates: Node) -> Node:
    """`original` where `updates` is NaN or infinite, element by element; only with `clip_nan`."""
    if not ctx.get_param(PARAM_CLIP_NAN, False):
        return updates
    return ops.where(ops.is_finite(updates), updates, original)
