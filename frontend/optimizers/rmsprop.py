"""RMSProp."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, DTypeLike
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import PARAM_ADAM_DTYPE
from stepforge.frontend.optimizers.adam_family import (
    ADAM_DEFAULT_SCOPE,
    V,
    adam_compute_dtype,
    adam_settings,
    decayed,
    moving_average,
    root,
    second_beta,
)
from stepforge.frontend.optimizers.base import (
    Float,
    Integer,
    Optimizer,
    Parameters,
    Slot,
    Slots,
    loss_compute_dtype,
)
from stepforge.frontend.optimizers.values import Hyperparameters
from stepforge.frontend.resolve import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RMSProp(Optimizer):
    """Adam without the first moment (after Hinton, lecture 6, and Graves, 2013).

        v' = beta2 * v + (1 - beta2) * g^2
        q  = learning_rate * g / (sqrt(v') / sqrt(1 - beta2^t) + epsilon)
        p' = p - clip(q + learning_rate * weight_decay * p)

    v is bias-corrected, and epsilon is outside the square root. beta2: default 0.999 (from the
    Context: `adam_beta2`). Other fields and defaults are those of Adam.

    Differences. torch, optax and Keras do not correct v (optax can), decay it by 0.99, 0.9 and 0.9,
    and have a momentum; optax and Keras put epsilon inside the root. In the seed this is Adam with
    a switch, and takes a beta1 that it does not use.
    """

    learning_rate: Float = None
    beta2: Float = None
    epsilon: Float = None
    weight_decay: Float = None
    backoff_steps: Integer = None
    dtype: DTypeLike | None = None
    scope: str = ADAM_DEFAULT_SCOPE
    context_parameters: Parameters = field(default=(), repr=False)

    default_scope: ClassVar[str] = ADAM_DEFAULT_SCOPE
    dtype_parameter: ClassVar[str | None] = PARAM_ADAM_DTYPE
    slots: ClassVar[tuple[Slot, ...]] = (V,)

    @property
    def formula(self) -> str:
        return "rmsprop: bias-corrected, epsilon outside the root, decoupled decay"

    def compute_dtype(self, ctx: Context, loss_dtype: DTypeLike) -> DType:
        return adam_compute_dtype(ctx, self.dtype, loss_compute_dtype(loss_dtype))

    def settings(self) -> tuple[Setting, ...]:
        return adam_settings(
            (second_beta(self.beta2),),
            learning_rate=self.learning_rate,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            backoff_steps=self.backoff_steps,
        )

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        v = moving_average(slots["v"], ops.square(gradient), h, "beta2")
        return decayed(h["learning_rate"] * gradient / root(v, h), parameter, h), {"v": v}
