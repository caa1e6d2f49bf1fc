"""AdamW."""

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
    V,
    adam_compute_dtype,
    adam_settings,
    both_betas,
    decayed,
    moving_average,
    root,
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
class AdamW(Optimizer):
    """Adam with decoupled weight decay, 0.004 by default (Loshchilov and Hutter, 2017).

        m' = beta1 * m + (1 - beta1) * g
        v' = beta2 * v + (1 - beta2) * g^2
        q  = learning_rate / (1 - beta1^t) * m' / (sqrt(v') / sqrt(1 - beta2^t) + epsilon)
        p' = p - clip(q + learning_rate * weight_decay * p)

    with the optimizer's own step t, 1 the first time. Epsilon is outside the square root, and added
    after the bias correction. Fields and their other defaults are those of Adam.

    Differences. torch: weight_decay 0.01, epsilon 1e-8, and p is decayed before the step, which
    differs by rounding alone. optax: weight_decay 1e-4, epsilon 1e-8. Keras: weight_decay 0.004
    too, but epsilon before the correction. In the seed "adamw" decays by 0 unless
    `adam_weight_decay` is set, because reading the Context overwrites its 0.004; here it decays by
    0.004.
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
    slots: ClassVar[tuple[Slot, ...]] = (M, V)

    @property
    def formula(self) -> str:
        return "adamw: epsilon outside the root, decoupled decay"

    def compute_dtype(self, ctx: Context, loss_dtype: DTypeLike) -> DType:
        return adam_compute_dtype(ctx, self.dtype, loss_compute_dtype(loss_dtype))

    def settings(self) -> tuple[Setting, ...]:
        return adam_settings(
            both_betas(self.betas),
            learning_rate=self.learning_rate,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            backoff_steps=self.backoff_steps,
            default_decay=0.004,
        )

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        m = moving_average(slots["m"], gradient, h, "beta1")
        v = moving_average(slots["v"], ops.square(gradient), h, "beta2")
        rate = h["learning_rate"] / h.bias_correction("beta1")
        return decayed(rate * m / root(v, h), parameter, h), {"m": m, "v": v}
