"""Programs of any length: what they are, what they mean at a length, and what cannot be one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from stepforge.frontend import (
    KNOWN_OPTIMIZERS,
    PARAM_LEARNING_RATE,
    AdamW,
    Context,
    CosineSchedule,
    Float,
    Hyperparameters,
    Node,
    Optimizer,
    Parameters,
    Settable,
    Setting,
    Slots,
    by_name,
    evaluate,
    initializers,
    ops,
)
from stepforge.frontend.any_length import of_length, trace_any_length
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.program import EntryPoint, Program
from stepforge.frontend.program_json import program_from_json, program_to_json
from stepforge.frontend.trace import trace

# Everything that a step of any length may have.
SETTINGS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "settable": {"learning_rate": Settable(0.01), "adam_weight_decay": Settable(0.1)},
    "clipped by value": {"clip_step_by_value": 0.5},
    "scaled": {"loss_scale": 4.0},
    "averaged": {"ema_decay": 0.99},
    "bfloat16 slots": {"slot_dtype": "bfloat16"},
    "stochastic": {"slot_dtype": "bfloat16", "stochastic_rounding": True},
    "float64": {"adam_dtype": "float64"},
    "scheduled": {"cosine_schedule_steps": 7},
    "all": {"clip_step_by_value": 0.5, "loss_scale": 4.0, "ema_decay": 0.99},
}
REFUSED: Mapping[str, tuple[Any, str]] = {
    "clip_global_norm": (1.0, "the norm sums over all gradients"),
    "clip_nan": (True, "by a count over one variable"),
    "skip_nonfinite": (True, "by a count over all gradients"),
    "nanlogger": (True, "non-finite values of each variable"),
    "slot_dtype": ("int8", "one scale for each block"),
}


def context(params: Mapping[str, Any] | None = None) -> Context:
    ctx = Context()
    ctx.set_params(params or {})
    return ctx


def arguments(entry: EntryPoint) -> dict[str, Any]:
    """Random values of ordinary size for every argument."""
    generator = np.random.default_rng(5)
    return {
        x.node.attributes["name"]: np.asarray(
            generator.integers(1, 9, x.node.shape)
            if x.node.dtype.is_integer
            else generator.uniform(0.1, 1.0, x.node.shape)
        ).astype(x.node.dtype.numpy)
        for x in entry.arguments
    }


def fixed(optimizer: Optimizer, length: int, params: Mapping[str, Any]) -> Program:
    ctx = context(params)
    ctx.variable("*", (length,), initializer=initializers.required())
    return trace(optimizer, ctx)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
@pytest.mark.parametrize("length", [1, 15, 33])
def test_at_a_length_it_is_the_program_for_it(
    name: str, settings: dict[str, Any], length: int
) -> None:
    free = trace_any_length(by_name(Context(), name), context(settings))
    again = program_from_json(program_to_json(free))
    assert again.any_length
    expected = fixed(by_name(Context(), name), length, settings)
    got = of_length(again, length)
    assert got.variables == expected.variables
    assert got.formula == expected.formula
    (entry,), (other,) = got.entry_points, expected.entry_points
    given = arguments(other)
    assert [x.name for x in entry.arguments] == [x.name for x in other.arguments]
    found = evaluate([x.node for x in entry.results], given)
    wanted = evaluate([x.node for x in other.results], given)
    for result, a, b in zip(entry.results, found, wanted, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=result.name)


def test_other_programs_do_not_mention_it() -> None:
    program = fixed(AdamW(), 16, {})
    assert "any_length" not in program_to_json(program)
    assert not program_from_json(program_to_json(program)).any_length


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_looks_at_more_than_one_element_is_refused(name: str) -> None:
    value, why = REFUSED[name]
    with pytest.raises(OptimizerError, match=why) as caught:
        trace_any_length(AdamW(), context({name: value}))
    assert name in str(caught.value)


def test_a_norm_that_could_be_switched_on_is_refused() -> None:
    with pytest.raises(OptimizerError, match="clip_global_norm"):
        trace_any_length(AdamW(), context({"clip_global_norm": Settable(0.0)}))


def _ruled(ctx: Context) -> None:
    ctx.set_params_for("*.bias", {"adam_weight_decay": 0.0})


def _scoped(ctx: Context) -> None:
    ctx.at("encoder").set_param("adam_epsilon", 1e-3)


def _frozen(ctx: Context) -> None:
    ctx.at("encoder").freeze()


def _with_parameters(ctx: Context) -> None:
    ctx.variable("w", (3,))


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_ruled, "'*.bias'"),
        (_scoped, "'/encoder'"),
        (_frozen, "'/encoder'"),
        (_with_parameters, "with /w"),
    ],
)
def test_what_names_some_parameters_is_refused(
    prepare: Callable[[Context], None], said: str
) -> None:
    ctx = context()
    prepare(ctx)
    with pytest.raises(OptimizerError) as caught:
        trace_any_length(AdamW(), ctx)
    assert said in str(caught.value)


def test_a_scope_and_whole_numbers_are_refused() -> None:
    with pytest.raises(OptimizerError, match="root of a Context"):
        trace_any_length(AdamW(), context().at("model"))
    with pytest.raises(OptimizerError, match="floating point"):
        trace_any_length(AdamW(), context(), dtype="int32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Along(Optimizer):
    """Gradient descent by what a function makes of the gradient."""

    change: Callable[[Node], Node] = ops.neg
    learning_rate: Float = None
    scope: str = "Along"
    context_parameters: Parameters = field(default=(), repr=False)

    default_scope: ClassVar[str] = "Along"
    counts_steps: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        return "along"

    def settings(self) -> tuple[Setting, ...]:
        return (Setting("learning_rate", PARAM_LEARNING_RATE, self.learning_rate, 0.1),)

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        return h["learning_rate"] * self.change(gradient), {}


CHANGES: Mapping[str, tuple[Callable[[Node], Node], str]] = {
    "norm": (lambda g: g / ops.sqrt(ops.reduce_sum(g * g)), "reduce_sum"),
    "order": (lambda g: ops.reverse(g, [0]), "reverse"),
    "sum": (lambda g: ops.cumsum(g, 0), "cumsum"),
    "place": (lambda g: g * g.graph.constant(tuple(map(float, range(16))), "float32"), "constant"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_rule_that_looks_along_an_axis_is_refused(name: str) -> None:
    change, op = CHANGES[name]
    with pytest.raises(OptimizerError, match="more than one element") as caught:
        trace_any_length(Along(change=change), context())
    assert f"= {op} :" in str(caught.value)


def test_a_rule_of_single_elements_is_taken() -> None:
    assert trace_any_length(Along(), context()).any_length


def test_a_schedule_is_computed_once_for_all() -> None:
    program = trace_any_length(AdamW(learning_rate=CosineSchedule(period=5)), context())
    assert [v.name for v in program.variables if v.storage == "device"] == [
        "/*",
        "/AdamOptimizer/*_1st_moment",
        "/AdamOptimizer/*_2nd_moment",
    ]
