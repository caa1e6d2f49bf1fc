"""What an oracle needs to know of an optimizer: its formula and its hyperparameters.

Hyperparameters are Python floats and mean the decimal their `repr` shows: `0.1` is one tenth,
exactly, in the 50-digit twin. What float32 makes of it belongs to the error budget.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

OptimizerName = Literal["sgd", "adam", "adamw", "adamax", "rmsprop"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("sgd", "adam", "adamw", "adamax", "rmsprop")

# Slot names in paper notation; on the artifact's side they are the seed's "_1st_moment" and
# "_2nd_moment". Adamax keeps the largest gradient (u) where Adam keeps the second moment.
SLOTS: dict[OptimizerName, tuple[str, ...]] = {
    "sgd": (),
    "adam": ("m", "v"),
    "adamw": ("m", "v"),
    "adamax": ("m", "v"),
    "rmsprop": ("v",),
}
SLOT_SUFFIXES: dict[str, str] = {"m": "_1st_moment", "v": "_2nd_moment"}
DEFAULT_WEIGHT_DECAY: dict[OptimizerName, float] = {"adamw": 0.004}
DEFAULT_LEARNING_RATE: dict[OptimizerName, float] = {"sgd": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """The seed's cosine schedule. `period` steps, or `cycles` over `last_step` steps."""

    period: int = 0
    cycles: int = 0
    last_step: int = 1_000_000_000
    warm_up: int = 0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        if (self.period > 0) == (self.cycles > 0):
            raise ValueError(f"a cosine schedule takes a period or cycles, not both: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One optimizer with one value of every hyperparameter. Build it with `settings_for`."""

    optimizer: OptimizerName
    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clip_step_by_value: float = 0.0
    clip_nan: bool = False
    backoff_steps: int = 0
    decay: bool = True
    """SGD only: divide the rate by the square root of the global step."""
    cosine: Cosine | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        return SLOTS[self.optimizer]

    @property
    def has_first_moment(self) -> bool:
        return "m" in self.slots

    @property
    def decays_weights(self) -> bool:
        """SGD has no weight decay in the seed and ignores the parameter."""
        return self.optimizer != "sgd" and self.weight_decay > 0.0


def settings_for(optimizer: OptimizerName, **values: Any) -> Settings:
    """The seed's defaults of `optimizer`, with `values` over them.

    The default weight decay of "adamw" is the nominal 0.004, not the 0 that upstream's
    `FromContext` leaves.
    """
    defaults = Settings(
        optimizer=optimizer,
        learning_rate=DEFAULT_LEARNING_RATE.get(optimizer, 0.001),
        weight_decay=DEFAULT_WEIGHT_DECAY.get(optimizer, 0.0),
    )
    return replace(defaults, **values)
