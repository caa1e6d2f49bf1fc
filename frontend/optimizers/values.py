"""The hyperparameters that an update rule sees: resolved for its variable, as numbers or nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType
from stepforge.frontend.global_step import as_counter
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import PARAM_LEARNING_RATE
from stepforge.frontend.resolve import Derive, Resolved, read, resolve
from stepforge.frontend.schedules.cosine import CosineSchedule
from stepforge.frontend.settable import Scalar, Settable
from stepforge.frontend.variables import Variable

if TYPE_CHECKING:
    from stepforge.frontend.optimizers.base import Optimizer


def resolve_settings(
    optimizer: Optimizer, ctx: Context, variable: Variable
) -> Mapping[str, Resolved]:
    """The optimizer's hyperparameters for one variable, by their short names.

    ctx: the optimizer's. A cosine schedule in the Context takes over a learning rate that is not a
    schedule already.
    """
    here = ctx.around(variable)
    scope = "" if optimizer.scope == optimizer.default_scope else optimizer.scope
    found = {s.key: resolve(s, here, ctx, scope) for s in optimizer.settings()}
    rate = found["learning_rate"]
    if rate.schedule is None:
        given = optimizer.learning_rate
        if given is None or rate.rule:
            given = here.get_param(PARAM_LEARNING_RATE)
        base = {"learning_rate": given} if isinstance(given, Settable) else {}
        schedule = CosineSchedule.from_context(ctx, **base)
        if schedule is not None:
            found["learning_rate"] = replace(rate, schedule=schedule, settable=False)
    return found


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a rule computes with: `h["beta1"]`, `h.one_minus("beta1")`, `h.step`, ...

    A baked hyperparameter is a Python float, so that arithmetic on baked ones alone is exact until
    it meets a node. A settable or scheduled one is a rank-0 node, computed once a step on the host.
    """

    resolved: Mapping[str, Resolved]
    ctx: Context
    graph: Graph
    dtype: DType
    counter: Node
    """The step as an integer, 1 the first time; see `counter_variable`."""

    def __getitem__(self, key: str) -> Scalar:
        return self._read(key, "value")

    def one_minus(self, key: str) -> Scalar:
        """1 - x, without the rounding of x to the dtype."""
        return self._read(key, "one_minus")

    def log(self, key: str) -> Scalar:
        """The natural logarithm."""
        return self._read(key, "log")

    @property
    def step(self) -> Node:
        """The step counter in the compute dtype."""
        return ops.cast(self.counter, self.dtype)

    def is_zero(self, key: str) -> bool:
        """Whether a term with this factor can be left out: baked, and 0."""
        found = self.resolved[key]
        return not found.has_variable and found.value == 0

    def bias_correction(self, key: str) -> Scalar:
        """1 - beta^t, as -expm1(t * log(beta)): to 1.4e-7 in float32 for every t.

        `1 - pow(beta, t)` in float32 is off by 2e-5 at t = 2 and beta = 0.999.
        """
        log = self.log(key)
        return 1.0 if log == -math.inf else -ops.expm1(self.step * log)

    def hold_back(self, step: Node) -> Node:
        """The step, or zeros while the counter has not passed `backoff_steps`."""
        if "backoff_steps" not in self.resolved:
            return step
        steps = self["backoff_steps"]
        if not isinstance(steps, Node) and steps <= 0:
            return step
        return ops.where(self.counter > as_counter(self.counter, steps), step, 0.0)

    def _read(self, key: str, derive: Derive) -> Scalar:
        return read(self.resolved[key], self.ctx, self.graph, self.dtype, derive)
