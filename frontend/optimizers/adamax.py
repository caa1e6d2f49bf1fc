"""Adamax."""

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
    Betas,
    M,
    adam_compute_dtype,
    adam_settings,
    both_betas,
    decayed,
    moving_average,
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

# In paper notation u; its variables are named as the seed names them, like Adam's second moment.
U = Slot("u", "2nd_moment", "magnitude")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adamax(Optimizer):
    """Adam with the largest past gradient in place of the second moment (Kingma and Ba, section 7).

        m' = beta1 * m + (1 - beta1) * g
        u' = max(beta2 * u, |g|)
        q  = learning_rate / (1 - beta1^t) * m' / (u' + epsilon)
        p' = p - clip(q + learning_rate * weight_decay * p)

    Epsilon is added to the denominator, outside the maximum. u needs no bias correction. Fields and
    defaults are those of Adam; the default learning rate is 0.001.

    Differences. torch and optax put epsilon inside, u' = max(beta2 * u, |g| + epsilon), with 1e-8,
    and torch's rate is 0.002. Keras: the same formula as here.
    """

    learning_rate: Float = None
    betas: Betas = None
    epsilon: Float = None
    weight_decay: Float = None
    backoff_steps: Integer = None
    dtype: DTypeLike | None = None
    scope: str = ADAM_DEFAULT_SCOPE
    context_parameters: Parameters = field(default=(), repr=False)

    default_scope: ClassVar[str] = ADAM_DEFAULT_SCOPE
    dtype_parameter: ClassVar[str | None] = PARAM_ADAM_DTYPE
    slots: ClassVar[tuple[Slot, ...]] = (M, U)

    @property
    def formula(self) -> str:
        return "adamax: epsilon outside the maximum, decoupled decay"

    def compute_dtype(self, ctx: Context, loss_dtype: DTypeLike) -> DType:
        return adam_compute_dtype(ctx, self.dtype, loss_compute_dtype(loss_dtype))

    def settings(self) -> tuple[Setting, ...]:
        return adam_settings(
            both_betas(self.betas),
            learning_rate=self.learning_rate,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            backoff_steps=self.backoff_steps,
        )

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        m = moving_average(slots["m"], gradient, h, "beta1")
        u = ops.maximum(h["beta2"] * slots["u"], ops.abs(gradient))
        rate = h["learning_rate"] / h.bias_correction("beta1")
        return decayed(rate * m / (u + h["epsilon"]), parameter, h), {"m": m, "u": u}
