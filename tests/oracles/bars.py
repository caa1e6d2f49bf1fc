"""How far one float32 step may be from the exact one, per quantity and backend, and why.

Unit: u = 2^-24, the relative error of one correctly rounded operation; 1 ULP = 2u relative to
the exact value, 2^-23 * |exact|. kappa = (|beta1 m| + |(1 - beta1) g|) / |m'| says how much the
new first moment cancels; what comes through m' is allowed kappa times as much.

A bar is `fixed + moment * kappa` ULP; the two add up to the published figure at kappa = 1.
Per operation (IEEE on CPU and VMVX; PTX on CUDA; the Vulkan specification's column otherwise):

    + - *   1u, 1u, 2u        / 1u, 1u, 5u        sqrt 1u, 2u, 9u        a constant 1u

Scalars are float32 on the host: up to 4u more in the rate and 3u in 1/sqrt(1 - beta2**t). They are
not in the bars: the proven bound with them is 9.5 ULP for Adam's q on a CPU, 3.5 is seen, 6 is
what we hold ourselves to.
"""

from dataclasses import dataclass
from typing import Literal

from .settings import OptimizerName

Backend = Literal["cpu", "vmvx", "cuda", "vulkan"]
ULP = 2.0**-23
UNIT = 2.0**-24
TINY = 2.0**-126
"""The smallest normal float32: below it CPU and VMVX flush to zero, and Vulkan may."""


@dataclass(frozen=True, slots=True)
class Bar:
    """`fixed + moment * kappa` ULP, and where the figure comes from."""

    fixed: float
    moment: float
    reason: str

    @property
    def ulp(self) -> float:
        """The bar at kappa = 1."""
        return self.fixed + self.moment


def _bars(cpu: Bar, cuda: Bar, vulkan: Bar) -> dict[Backend, Bar]:
    return {"cpu": cpu, "vmvx": cpu, "cuda": cuda, "vulkan": vulkan}


MOMENT1 = _bars(
    Bar(0.0, 1.5, "beta1 and its product 2u, the sum 1u: 3u kappa"),
    Bar(0.0, 1.5, "as CPU"),
    Bar(0.0, 3.0, "product 2u + constant 1u, the sum 2u: 5u kappa, bar 6u"),
)
MOMENT2 = _bars(
    Bar(2.0, 0.0, "g*g 1u, (1 - beta2) and its product 2u, the sum 1u: 4u; nothing cancels"),
    Bar(2.0, 0.0, "as CPU"),
    Bar(4.0, 0.0, "g*g 2u, constant and product 3u, the sum 2u: 7u, bar 8u"),
)
LARGEST = _bars(
    Bar(1.0, 0.0, "beta2 and its product 2u; max is exact"),
    Bar(1.0, 0.0, "as CPU"),
    Bar(1.5, 0.0, "constant 1u, product 2u"),
)
SECOND_SLOT: dict[OptimizerName, dict[Backend, Bar]] = {
    "adam": MOMENT2,
    "adamw": MOMENT2,
    "adamax": LARGEST,
    "rmsprop": MOMENT2,
}

_ADAM = _bars(
    Bar(4.5, 1.5, "v' 4u, sqrt 3u, *s 4u, +eps 6u with its constant, rate 2u, / 1u; m' 3u kappa"),
    Bar(5.5, 1.5, "as CPU and sqrt.approx 1u more, rounded up"),
    Bar(13.5, 2.5, "v' 7u, sqrt 12.5u, *s 15.5u, +eps 17.5u, rate 3u, / 5u; m' 5u kappa: 15.3 ULP"),
)
DIRECTION: dict[OptimizerName, dict[Backend, Bar]] = {
    "sgd": _bars(
        Bar(2.0, 0.0, "rate 3u with its root and division on the host, product 1u"),
        Bar(2.0, 0.0, "as CPU"),
        Bar(2.5, 0.0, "as CPU, product 2u"),
    ),
    "adam": _ADAM,
    "adamw": _ADAM,
    "adamax": _bars(
        Bar(2.5, 1.5, "u' 2u, +eps 3u, rate 1u, / 1u; m' 3u kappa: 8u"),
        Bar(2.5, 1.5, "as CPU: there is no root"),
        Bar(6.5, 2.5, "u' 3u, +eps 5u, rate 2u, / 5u; m' 5u kappa: 17u, bar 18u"),
    ),
    "rmsprop": _bars(
        Bar(5.0, 0.0, "v' 4u, sqrt 3u, *s 4u, +eps 6u, rate and product 2u, / 1u: 9u, bar 10u"),
        Bar(5.5, 0.0, "as CPU and sqrt.approx 1u more"),
        Bar(13.0, 0.0, "+eps 17.5u as Adam, rate and product 3u, / 5u: 25.5u, bar 26u"),
    ),
}

DECAY = _bars(
    Bar(2.0, 0.0, "lr and weight decay 1u each, their product 1u on the host, times p 1u"),
    Bar(2.0, 0.0, "as CPU"),
    Bar(2.5, 0.0, "as CPU, times p 2u"),
)
ROUNDING = _bars(
    Bar(0.5, 0.0, "one correctly rounded sum or difference"),
    Bar(0.5, 0.0, "as CPU"),
    Bar(1.0, 0.0, "rounded in either direction"),
)
