"""What is done with all gradients of a step together, before any rule sees one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepforge.frontend import ops
from stepforge.frontend.clipping import (
    clip_nans_in_gradients,
    clips_nans,
    global_norm_factor,
    sum_of_squares,
)
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import (
    PARAM_CLIP_GLOBAL_NORM,
    PARAM_LOSS_SCALE,
    PARAM_SKIP_NONFINITE,
)
from stepforge.frontend.loss_scale import unscale
from stepforge.frontend.nan_tracing import trace_nan_in_gradients
from stepforge.frontend.resolve import common_parameter, is_off
from stepforge.frontend.skipping import count_all_nonfinite
from stepforge.frontend.variables import Variable

#: What a step with reductions over all gradients sums up: one of them.
SUM_OF_SQUARES = "sum_of_squares"
NONFINITE_COUNT = "nonfinite_count"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Gradients as rules take them, in the compute dtype."""

    gradients: tuple[Node, ...]
    good: Node | None
    """With `skip_nonfinite`: whether the step is taken, a rank-0 bool."""


def prepare(
    ctx: Context, pairs: Sequence[tuple[Variable, Node]], dtype: DType, *, zeroes: bool
) -> Prepared:
    """Gradients cast, divided by the loss scale, counted, freed of NaNs and clipped, in this order.

    zeroes: whether `clip_nan` takes a gradient with non-finite values as zero. It need not where
    such a step is skipped.
    """
    variables = [variable for variable, _ in pairs]
    scale = common_parameter(ctx, PARAM_LOSS_SCALE, 1.0, variables)
    limit = common_parameter(ctx, PARAM_CLIP_GLOBAL_NORM, 0.0, variables)
    skips = bool(common_parameter(ctx, PARAM_SKIP_NONFINITE, False, variables).value)
    gradients = [unscale(ctx, scale, ops.cast(gradient, dtype)) for _, gradient in pairs]
    measured = gradients
    for variable, gradient in zip(variables, gradients, strict=True):
        trace_nan_in_gradients(ctx.around(variable), variable, gradient)
    if not skips:
        around = [ctx.around(variable) for variable in variables]
        clean = [clip_nans_in_gradients(*x) for x in zip(around, gradients, strict=True)]
        gradients = clean if zeroes else gradients
        # A rule that takes what is left of a bad gradient takes it at the norm of what is left.
        measured = clean if zeroes else [_finite(*x) for x in zip(around, measured, strict=True)]
    partials = measured[0].graph.partials
    if is_off(limit, 0.0):
        if not skips:
            return Prepared(tuple(gradients), None)
        count = count_all_nonfinite(measured)
        partials[count] = NONFINITE_COUNT
        return Prepared(tuple(gradients), ops.equal(count, 0))
    squares = sum_of_squares(measured)
    partials[squares] = SUM_OF_SQUARES
    factor = global_norm_factor(ctx, limit, squares)
    return Prepared(
        tuple(gradient * factor for gradient in gradients),
        # Nothing is read again: a sum with a NaN or an infinity is not finite.
        ops.is_finite(squares) if skips else None,
    )


def _finite(ctx: Context, gradient: Node) -> Node:
    """The finite elements, and zeros; the gradient itself without `clip_nan`."""
    return ops.where(ops.is_finite(gradient), gradient, 0.0) if clips_nans(ctx) else gradient
