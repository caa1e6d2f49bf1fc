"""The optimizers, and how to find one by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stepforge.frontend.context import Context
from stepforge.frontend.hyperparameters import PARAM_OPTIMIZER
from stepforge.frontend.nearest import unknown_name
from stepforge.frontend.optimizers.adam import Adam
from stepforge.frontend.optimizers.adam_family import ADAM_DEFAULT_SCOPE
from stepforge.frontend.optimizers.adamax import Adamax
from stepforge.frontend.optimizers.adamw import AdamW
from stepforge.frontend.optimizers.base import Optimizer, Slot, Slots
from stepforge.frontend.optimizers.rmsprop import RMSProp
from stepforge.frontend.optimizers.sgd import StochasticGradientDescent
from stepforge.frontend.optimizers.values import Hyperparameters

KNOWN_OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = MappingProxyType(
    {
        "sgd": StochasticGradientDescent.from_context,
        "adam": Adam.from_context,
        "adamax": Adamax.from_context,
        "adamw": AdamW.from_context,
        "rmsprop": RMSProp.from_context,
    }
)
"""Each name's constructor, called with a Context and explicit arguments as keywords."""


def by_name(ctx: Context, name: str, **overrides: Any) -> Optimizer:
    """The optimizer of that name, as the Context describes it; `overrides` are explicit arguments.

    Raises UnknownNameError, which lists the valid names, for any other name.
    """
    if name not in KNOWN_OPTIMIZERS:
        raise unknown_name("optimizer", name, KNOWN_OPTIMIZERS)
    return KNOWN_OPTIMIZERS[name](ctx, **overrides)


def from_context(ctx: Context, **overrides: Any) -> Optimizer:
    """The optimizer that the Context's parameter `optimizer` names, by default "adamw"."""
    return by_name(ctx, ctx.get_param(PARAM_OPTIMIZER, "adamw"), **overrides)


__all__ = [
    "ADAM_DEFAULT_SCOPE",
    "KNOWN_OPTIMIZERS",
    "Adam",
    "AdamW",
    "Adamax",
    "Hyperparameters",
    "Optimizer",
    "RMSProp",
    "Slot",
    "Slots",
    "StochasticGradientDescent",
    "by_name",
    "from_context",
]
