"""Updates that are copied from one that is like them: the program is the same, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pytest

from stepforge.frontend import (
    Adam,
    Adamax,
    AdamW,
    Context,
    CosineSchedule,
    Optimizer,
    RMSProp,
    Settable,
    StochasticGradientDescent,
    trace,
)
from stepforge.frontend.graph import Node
from stepforge.frontend.optimizers.repeats import Repeats
from stepforge.frontend.optimizers.values import Hyperparameters
from stepforge.frontend.program_json import program_to_json
from stepforge.frontend.resolve import Setting

WHOLE = {"clip_global_norm": 1.0, "skip_nonfinite": True, "ema_decay": 0.99, "loss_scale": 8.0}
# Of biases there are two kinds, and of each other shape the one in layer 2, which is alone.
BIASES = {"*bias": {"adam_weight_decay": 0.0}, "layer_2/*": {"learning_rate": 0.5}}
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    optimizer: Optimizer
    params: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: NOTHING)
    dtype: str = "float32"
    calls: int = 6
    """Of the rule: two for each of three shapes."""

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("adamw", AdamW()),
    Case("adam", Adam()),
    Case("adamax", Adamax()),
    Case("rmsprop", RMSProp()),
    Case("sgd", StochasticGradientDescent()),
    Case("settable", AdamW(weight_decay=Settable(0.01))),
    Case("backoff", AdamW(backoff_steps=3)),
    Case("schedule", AdamW(learning_rate=CosineSchedule(period=100))),
    Case("two groups", AdamW(), rules=BIASES, calls=9),
    Case("whole", AdamW(), WHOLE, BIASES, calls=9),
    Case("whole of sgd", StochasticGradientDescent(), WHOLE),
    Case("clip_nan", Adamax(), {"clip_nan": True, "clip_step_by_value": 0.1}),
    Case("int8", AdamW(), {"slot_dtype": "int8", "stochastic_rounding": True}),
    Case("master", Adam(), {"master_weights": True, "ema_decay": 0.9}, dtype="bfloat16"),
)


def context(case: Case) -> Context:
    ctx = Context()
    ctx.set_params(case.params)
    for pattern, params in case.rules.items():
        ctx.set_params_for(pattern, params)
    for i in range(5):
        ctx.variable(f"layer_{i}/w", (64, 96), case.dtype)
        ctx.variable(f"layer_{i}/bias", (96,), case.dtype)
        ctx.variable(f"layer_{i}/scale", (), case.dtype)
    return ctx


def traced(case: Case, ctx: Context) -> str:
    return program_to_json(trace(case.optimizer, ctx))


def never(*_: object) -> bool:
    return False


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_program_is_that_of_tracing_each(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = context(case)
    text = traced(case, copied)
    again = traced(case, copied)  # with slots that exist already
    monkeypatch.setattr(Repeats, "copy", never)
    slow = context(case)
    assert text == again == traced(case, slow)
    assert [x.spec for x in copied] == [x.spec for x in slow]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_runs_twice_for_each_kind(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, update = list[object](), type(case.optimizer).update

    def counted(self: Optimizer, parameter: Any, *rest: Any) -> Any:
        calls.append(parameter)
        return update(self, parameter, *rest)

    monkeypatch.setattr(type(case.optimizer), "update", counted)
    traced(case, context(case))
    assert len(calls) == case.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere(Optimizer):
    """A rule that is not of the package: it may look at names, or count."""

    learning_rate: Any = None
    scope: str = "elsewhere"
    context_parameters: tuple[tuple[str, Any], ...] = ()
    seen: list[str] = field(default_factory=list[str], compare=False)

    default_scope: ClassVar[str] = "elsewhere"

    @property
    def formula(self) -> str:
        return "elsewhere"

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("learning_rate", "learning_rate", self.learning_rate, 0.1),)

    def update(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], h: Hyperparameters
    ) -> tuple[Node, Mapping[str, Node]]:
        self.seen.append(parameter.attributes["name"])
        return h["learning_rate"] * gradient, {}


def test_a_rule_of_someone_else_runs_for_each_variable() -> None:
    case = Case("elsewhere", Elsewhere())
    ctx = context(case)
    traced(case, ctx)
    assert cast("Elsewhere", case.optimizer).seen == [
        variable.path for variable in ctx.trainable_variables()
    ]
