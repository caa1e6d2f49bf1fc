"""Adam."""

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
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014, algorithm 1), with optional decoupled weight decay.

        m' = beta1 * m + (1 - beta1) * g
        v' = beta2 * v + (1 - beta2) * g^2
        q  = learning_rate / (1 - beta1^t) * m' / (sqrt(v') / sqrt(1 - beta2^t) + epsilon)
        p' = p - clip(q + learning_rate * weight_decay * p)

    with the optimizer's own step t, 1 the first time. Epsilon is outside the square root, and added
    after the bias correction.

    learning_rate: default 0.001. betas: (0.9, 0.999); either may be None. epsilon: 1e-7.
    weight_decay: 0. backoff_steps: so many first steps change m and v only; 0.
    dtype: of m, v and the arithmetic; by default the loss's, but float32 for 16-bit floats.

    Differences. torch and optax: the same formula with epsilon 1e-8; torch's `Adam(weight_decay=)`
    is another algorithm (it adds to the gradient), its `AdamW` is this. Keras adds epsilon before
    the correction, which makes its effect 31.6 times larger at t = 1 and 1.26 times at t = 1000.
    The seed computes 1 - beta^t with `pow` in the loss's dtype, and keeps t in it; here t is an i64
    and the correction is good to 1.4e-7 at every t.
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
        return "adam: epsilon outside the root, decoupled decay"

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
        v = moving_average(slots["v"], ops.square(gradient), h, "beta2")
        rate = h["learning_rate"] / h.bias_correction("beta1")
        return decayed(rate * m / root(v, h), parameter, h), {"m": m, "v": v}
