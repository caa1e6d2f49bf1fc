"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from stepforge.frontend import ops
from stepforge.frontend.graph import Node
from stepforge.frontend.hyperparameters import PARAM_LEARNING_RATE
from stepforge.frontend.learning_rate import SGD_DEFAULT_LEARNING_RATE
from stepforge.frontend.optimizers.base import Float, Optimizer, Parameters, Slots
from stepforge.frontend.optimizers.values import Hyperparameters
from stepforge.frontend.resolve import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class StochasticGradientDescent(Optimizer):
    """Gradient descent whose rate falls with the square root of the global step t.

        step = learning_rate / sqrt(t) * g
        p'   = p - clip(step)

    decay: divide by sqrt(t), with t = 1 at the first step; False leaves the rate as it is.
    learning_rate: default 0.1.

    No momentum and no weight decay. With `clip_nan` the elements whose new value would not be
    finite keep their old one; as there is no state to spoil, the rest of the gradient is used.

    Differences. torch's SGD and Keras's do not divide by sqrt(t) (use decay=False), and have
    momentum. The seed reports NaNs of the scaled step, this reports those of the gradient.
    """

    learning_rate: Float = None
    decay: bool = True
    scope: str = "StochasticGradientDescent"
    context_parameters: Parameters = field(default=(), repr=False)

    default_scope: ClassVar[str] = "StochasticGradientDescent"
    counts_steps: ClassVar[bool] = False
    zeroes_gradients: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        return "sgd: lr/sqrt(t)*g" if self.decay else "sgd: lr*g"

    def settings(self) -> tuple[Setting, ...]:
        default = SGD_DEFAULT_LEARNING_RATE
        return (Setting("learning_rate", PARAM_LEARNING_RATE, self.learning_rate, default),)

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        rate = h["learning_rate"]
        if self.decay:
            rate = rate / ops.sqrt(h.step)
        return rate * gradient, {}
