"""What Adam, AdamW, Adamax and RMSProp share: settings, dtype, and terms of the update."""

from __future__ import annotations

import math
from typing import TypeAlias

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, DTypeLike, as_dtype
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import (
    PARAM_ADAM_BACKOFF_STEPS,
    PARAM_ADAM_BETA1,
    PARAM_ADAM_BETA2,
    PARAM_ADAM_DTYPE,
    PARAM_ADAM_EPSILON,
    PARAM_ADAM_WEIGHT_DECAY,
    PARAM_LEARNING_RATE,
    check_value,
)
from stepforge.frontend.learning_rate import ADAM_DEFAULT_LEARNING_RATE
from stepforge.frontend.optimizers.base import Float, Integer, Slot
from stepforge.frontend.optimizers.values import Hyperparameters
from stepforge.frontend.resolve import Setting
from stepforge.frontend.settable import Scalar

ADAM_DEFAULT_SCOPE = "AdamOptimizer"
M = Slot("m", "1st_moment")
V = Slot("v", "2nd_moment", "square")

Betas: TypeAlias = "tuple[Float, Float] | None"


def adam_settings(
    betas: tuple[Setting, ...],
    *,
    learning_rate: Float,
    epsilon: Float,
    weight_decay: Float,
    backoff_steps: Integer,
    default_decay: float = 0.0,
) -> tuple[Setting, ...]:
    """The settings of one of the family, with its betas."""
    return (
        Setting("learning_rate", PARAM_LEARNING_RATE, learning_rate, ADAM_DEFAULT_LEARNING_RATE),
        *betas,
        Setting("epsilon", PARAM_ADAM_EPSILON, epsilon, 1e-7),
        Setting("weight_decay", PARAM_ADAM_WEIGHT_DECAY, weight_decay, default_decay),
        Setting("backoff_steps", PARAM_ADAM_BACKOFF_STEPS, backoff_steps, 0),
    )


def both_betas(betas: Betas) -> tuple[Setting, Setting]:
    """The settings of beta1 and beta2; either may be None, as a whole None means both."""
    beta1, beta2 = betas or (None, None)
    return Setting("beta1", PARAM_ADAM_BETA1, beta1, 0.9), second_beta(beta2)


def second_beta(beta2: Float) -> Setting:
    return Setting("beta2", PARAM_ADAM_BETA2, beta2, 0.999)


def adam_compute_dtype(ctx: Context, explicit: DTypeLike | None, otherwise: DType) -> DType:
    """The explicit dtype, else the Context's `adam_dtype`, else (or if empty) the loss's."""
    raw = ctx.get_param(PARAM_ADAM_DTYPE, "") if explicit is None else explicit
    name = check_value(PARAM_ADAM_DTYPE, raw)
    return as_dtype(str(name)) if name else otherwise


def moving_average(old: Node, new: Node, h: Hyperparameters, beta: str) -> Node:
    """beta * old + (1 - beta) * new."""
    return h[beta] * old + h.one_minus(beta) * new


def root(v: Node, h: Hyperparameters) -> Node:
    """sqrt(v / (1 - beta2^t)) + epsilon, with the correction as a factor after the root."""
    correction = h.bias_correction("beta2")
    scale = _reciprocal_root(correction)
    return ops.sqrt(v) * scale + h["epsilon"]


def decayed(step: Node, parameter: Node, h: Hyperparameters) -> Node:
    """step + (learning_rate * weight_decay) * parameter."""
    if h.is_zero("weight_decay"):
        return step
    return step + (h["learning_rate"] * h["weight_decay"]) * parameter


def _reciprocal_root(x: Scalar) -> Scalar:
    return 1.0 / ops.sqrt(x) if isinstance(x, Node) else 1.0 / math.sqrt(x)
