"""SGD, Adam and AdamW with all that a Context may ask of a whole step, in plain float64 NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(kw_only=True)
class NumpyStep:
    """One optimizer's state. Adam's betas and epsilon, and the rates, are the defaults.

    Written from the formulas of docs/whole-step.md alone, tensor by tensor.
    """

    rule: str
    parameters: dict[str, NDArray[np.float64]]
    learning_rate: float
    clip_global_norm: float = 0.0
    loss_scale: float = 1.0
    ema_decay: float = 0.0
    skip_nonfinite: bool = False
    steps: int = 0
    skipped: int = 0
    m: dict[str, Any] = field(default_factory=dict[str, Any])
    v: dict[str, Any] = field(default_factory=dict[str, Any])
    ema: dict[str, Any] = field(default_factory=dict[str, Any])

    def step(self, given: Arrays) -> None:
        gradients = {k: x.astype(np.float64) / self.loss_scale for k, x in given.items()}
        if self.skip_nonfinite and not all(np.isfinite(x).all() for x in gradients.values()):
            self.skipped += 1
            return
        self.steps += 1
        if self.clip_global_norm:
            norm = np.sqrt(sum((x**2).sum() for x in gradients.values()))
            gradients = {
                k: x * min(1.0, self.clip_global_norm / norm) for k, x in gradients.items()
            }
        for key, gradient in gradients.items():
            self.parameters[key] = new = self.parameters[key] - self._change(key, gradient)
            if self.ema_decay:
                d = self.ema_decay if self.steps > 1 else 0.0
                self.ema[key] = d * self.ema.get(key, 0.0) + (1 - d) * new

    def _change(self, key: str, gradient: NDArray[Any]) -> NDArray[Any]:
        t, rate = self.steps, self.learning_rate
        if self.rule == "sgd":
            return rate / np.sqrt(t) * gradient
        self.m[key] = m = 0.9 * self.m.get(key, 0.0) + 0.1 * gradient
        self.v[key] = v = 0.999 * self.v.get(key, 0.0) + 0.001 * gradient**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        decay = 0.004 if self.rule == "adamw" else 0.0
        return rate * (step + decay * self.parameters[key])
