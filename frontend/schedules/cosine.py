"""The cosine annealing schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, int64
from stepforge.frontend.errors import HyperparameterError
from stepforge.frontend.global_step import (
    GLOBAL_STEP_VARIABLE_NAME,
    as_counter,
    counter_variable,
    largest_count,
)
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    PARAM_COSINE_SCHEDULE_CYCLES,
    PARAM_COSINE_SCHEDULE_LEARNING_RATE,
    PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE,
    PARAM_COSINE_SCHEDULE_STEPS,
    PARAM_COSINE_SCHEDULE_WARM_UP_STEPS,
    PARAM_TRAIN_LAST_STEP,
    check_value,
)
from stepforge.frontend.keywords import check_keywords
from stepforge.frontend.learning_rate import OPTIMIZERS_SCOPE, host_number
from stepforge.frontend.resolve import Resolved, Setting, read, resolve
from stepforge.frontend.settable import Scalar, Schedule, Settable
from stepforge.frontend.variables import Variable

COSINE_SCHEDULE_SCOPE = "cosine_schedule"
DEFAULT_LAST_STEP = 1_000_000_000
"""Steps of a training whose length is not known yet."""
TRAINER_SCOPE = "/trainer"

Float: TypeAlias = "float | Settable | None"
Integer: TypeAlias = "int | Settable | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineSchedule(Schedule):
    """Cosine annealing with restarts (Loshchilov and Hutter, "SGDR", 2016) and linear warm-up.

    With k steps taken before this one, W = warm_up_steps, and P the period:

        k <  W:  minimum + (k / W) * (rate - minimum)
        k >= W:  minimum + (1 + cos(pi * frac((k - W) / P))) / 2 * (rate - minimum)

    so the first step of a warm-up takes the minimum, and each period starts again at the full rate.
    P is `period` steps, or what is left of the training after the warm-up divided by `cycles`; the
    length of the training is the settable i64 variable `/trainer/train_last_global_step`, where a
    negative value means unknown and counts as 10^9. The fraction is exact: the step is an i64,
    reduced modulo the period before it becomes a float, and a period need not be a whole number.

    The schedule counts its own steps, in `optimizers/cosine_schedule/global_step`; with
    `skip_nonfinite` those that are taken, on the device, in 32 bits.

    None means the Context parameter (`cosine_schedule_steps`, `cosine_schedule_cycles`,
    `cosine_schedule_warmup_steps`, `cosine_schedule_min_learning_rate`,
    `cosine_schedule_learning_rate`), else off, or 0, or for the full rate (learning_rate) that of
    the optimizer. All may be Settable.
    Raises HyperparameterError when both or neither of period and cycles are given.

    Differences. torch's CosineAnnealingLR goes down and up again without a restart (its period is
    2 * T_max), and CosineAnnealingWarmRestarts has no warm-up; Keras's CosineDecay stays at its
    minimum after one period.
    """

    period: Integer = None
    """Steps; -n means n cycles, as in the seed's parameter (not if it is Settable)."""
    cycles: Integer = None
    warm_up_steps: Integer = None
    minimum: Float = None
    learning_rate: Float = None

    def __new__(cls, *args: object, **values: object) -> Self:
        check_keywords(cls, values)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for setting in self._settings(0.0):
            if setting.explicit is not None:
                check_value(setting.name, setting.explicit)
        if self.period and self.cycles:
            raise _both(self.period, self.cycles)

    @classmethod
    def from_context(cls, ctx: Context, **overrides: Any) -> CosineSchedule | None:
        """The schedule that the Context's parameters describe; None when they leave it off."""
        period = overrides.get("period", ctx.get_param(PARAM_COSINE_SCHEDULE_STEPS))
        cycles = overrides.get("cycles", ctx.get_param(PARAM_COSINE_SCHEDULE_CYCLES))
        return cls(**overrides) if period or cycles else None

    def _settings(self, rate: float) -> tuple[Setting, ...]:
        """An explicit period hides the Context's cycles, and the other way round."""
        given = self.period is not None or self.cycles is not None
        period = 0 if given and self.period is None else self.period
        cycles = 0 if given and self.cycles is None else self.cycles
        return (
            Setting("period", PARAM_COSINE_SCHEDULE_STEPS, period, 0),
            Setting("cycles", PARAM_COSINE_SCHEDULE_CYCLES, cycles, 0),
            Setting("warm_up", PARAM_COSINE_SCHEDULE_WARM_UP_STEPS, self.warm_up_steps, 0),
            Setting("minimum", PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE, self.minimum, 0.0),
            Setting("rate", PARAM_COSINE_SCHEDULE_LEARNING_RATE, self.learning_rate, rate),
        )

    def resolved(self, ctx: Context, base: float) -> tuple[Resolved, ...]:
        """Its hyperparameters, in the order period, cycles, warm-up, minimum, full rate."""
        return tuple(resolve(setting, ctx, ctx) for setting in self._settings(base))

    def counts_cycles(self, ctx: Context) -> bool:
        """Whether its period comes from the length of the whole training."""
        period, cycles = self.resolved(ctx, 0.0)[:2]
        negative = isinstance(period.value, int) and period.value < 0
        return bool(cycles.settable or cycles.value or negative)

    def node(self, ctx: Context, graph: Graph, base: float, dtype: DType) -> Node:
        """The rate of this step; see the class."""
        found = self.resolved(ctx, base)
        if all(x.settable or x.value for x in found[:2]):
            raise _both(found[0].value, found[1].value)
        if found[0].settable and found[0].value <= 0:  # pyright: ignore[reportOperatorIssue]
            raise HyperparameterError(
                "a settable cosine period is a number of steps, so that it can change",
                expected="a positive integer",
                got=repr(found[0].value),
                hint="for a number of cycles, give cycles=Settable(n)",
            )
        period, cycles, warm_up, minimum, full = (read(x, ctx, graph, dtype) for x in found)
        here = ctx.at(OPTIMIZERS_SCOPE).at(COSINE_SCHEDULE_SCOPE)
        counter = counter_variable(here, GLOBAL_STEP_VARIABLE_NAME)
        step = counter.input(graph)
        counter.set_value_graph(step + 1)
        first = as_counter(step, warm_up)
        position, length = _cycle(ctx, step - first, period, cycles, warm_up)
        fraction = ops.cast(position, dtype) / ops.cast(length, dtype)
        span = full - minimum
        rate = (ops.cos(fraction * math.pi) + 1.0) * 0.5 * span + minimum
        if not isinstance(warm_up, Node) and warm_up == 0:
            return rate
        steps = ops.maximum(first, 1)
        ramp = ops.cast(ops.minimum(step, steps), dtype) / ops.cast(steps, dtype) * span + minimum
        return ops.where(step < first, ramp, rate)


def train_last_step_var(ctx: Context) -> Variable:
    """The settable i64 length of the whole training in steps, from the root; -1 while unknown."""
    return host_number(ctx.at(TRAINER_SCOPE), PARAM_TRAIN_LAST_STEP, int64, first_last_step(ctx))


def first_last_step(ctx: Context) -> int:
    """What the Context says of the length of the training: the first value of its variable."""
    first = ctx.get_param(PARAM_TRAIN_LAST_STEP, -1)
    return int(first.value if isinstance(first, Settable) else first)


def _cycle(
    ctx: Context, step: Node, period: Scalar, cycles: Scalar, warm_up: Scalar
) -> tuple[Node, Node]:
    """(position in the cycle, length of the cycle), whole numbers of a common unit."""
    graph = step.graph
    if not isinstance(period, Node) and period < 0:
        cycles = -period
    if isinstance(cycles, Node) or cycles:
        last = train_last_step_var(ctx).value_graph(graph)
        known = ops.where(last < 0, DEFAULT_LAST_STEP, last)
        total = ops.minimum(ops.maximum(known - warm_up, 1), largest_count(step))
        length = as_counter(step, total)
        within = ops.rem(step, length)
        if step.dtype == int64:
            # In units of 1 / cycles of a step; reduced first, so that the product cannot wrap.
            return ops.rem(within * cycles, length), length
        return _in_narrow_cycles(within, length, total, cycles), length
    if not isinstance(period, Node) and not period:
        raise HyperparameterError(
            "a cosine schedule needs a period or a number of cycles",
            hint=f"give period or cycles, or set {PARAM_COSINE_SCHEDULE_STEPS!r} in the Context",
        )
    length = ops.maximum(as_counter(step, period), 1)
    return ops.rem(step, length), length


def _in_narrow_cycles(within: Node, length: Node, total: Node, cycles: Scalar) -> Node:
    """within * cycles mod length in 32 bits, where the product would wrap.

    With q = length / cycles and r = length - q * cycles, a step a * q + b is at b * cycles - a * r.
    total: the length as the host has it.
    """
    quotient = ops.maximum(total / cycles, 1)
    q, r = (as_counter(within, x) for x in (quotient, total - quotient * cycles))
    a = within / q
    position = ops.rem((within - a * q) * as_counter(within, cycles) - a * r, length)
    return ops.where(position < 0, position + length, position)


def _both(period: object, cycles: object) -> HyperparameterError:
    return HyperparameterError(
        "a cosine schedule takes a period or a number of cycles, not both",
        expected="one of them, the other 0",
        got=f"period {period!r} and cycles {cycles!r}",
    )
