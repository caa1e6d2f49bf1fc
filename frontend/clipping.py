"""Limits that a Context sets on gradients, steps and new values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import PARAM_CLIP_NAN, PARAM_CLIP_STEP_BY_VALUE
from stepforge.frontend.resolve import Resolved, parameter, read


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


def sum_of_squares(gradients: Sequence[Node]) -> Node:
    """Of all elements of all gradients, which have one dtype; a rank-0 node of it.

    A left-to-right sum of one sum for each gradient. In float32 it is infinite beyond 3.4e38.
    """
    return reduce(ops.add, [ops.reduce_sum(ops.square(x)) for x in gradients])


def global_norm_factor(ctx: Context, setting: Resolved, squares: Node) -> Node:
    """What `clip_global_norm` multiplies every gradient by: rank 0, of the squares' dtype.

        factor = min(1, clip_global_norm / sqrt(sum of squares))

    No epsilon: at a norm of 0 the quotient is infinite, and the factor 1. NaN if the sum is, and 0
    if it is infinite, as torch's and optax's.
    """
    limit = read(setting, ctx, squares.graph, squares.dtype)
    factor = ops.minimum(limit / ops.sqrt(squares), 1.0)
    # 0 means off for a settable or scheduled limit too.
    return ops.where(limit > 0.0, factor, 1.0) if isinstance(limit, Node) else factor


def clips_nans(ctx: Context) -> bool:
    """Whether `clip_nan` is on."""
    return bool(ctx.get_param(PARAM_CLIP_NAN, False))


def clip_nans_in_gradients(ctx: Context, gradients: Node) -> Node:
    """Zeros instead of the whole tensor if any element is NaN or infinite; only with `clip_nan`."""
    if not clips_nans(ctx):
        return gradients
    return ops.where(ops.reduce_all(ops.is_finite(gradients)), gradients, 0.0)


def clip_nans_in_updates(ctx: Context, original: Node, updates: Node) -> Node:
    """`original` where `updates` is NaN or infinite, element by element; only with `clip_nan`."""
    if not clips_nans(ctx):
        return updates
    return ops.where(ops.is_finite(updates), updates, original)
