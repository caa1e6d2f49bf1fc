"""Rules: globs on names, before the optimizer's arguments and before scopes; groups of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import (
    AdamW,
    Context,
    CosineSchedule,
    FrontendError,
    Graph,
    Node,
    Settable,
    StochasticGradientDescent,
    ops,
    trace,
    train_program,
)
from stepforge.frontend.describe import resolved_values, values_of_all
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.optimizers import Optimizer
from stepforge.frontend.program import Hyperparameter, Program
from stepforge.frontend.program_json import program_from_json, program_to_json
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.rules import matches
from support.programs import context, draw

NAMES = ("encoder/w", "encoder/bias", "norm.weight", "norm.bias", "head/w", "bias")
SHAPES: Mapping[str, tuple[int, ...]] = dict.fromkeys(NAMES, (3,))
DECAY = "adam_weight_decay"

Rules = list[tuple[str, Mapping[str, Any]]]


def ruled(rules: Rules, params: Mapping[str, Any] | None = None) -> Context:
    """A Context with parameters and hyperparameters, and with rules in their order."""
    ctx = context(params, SHAPES)
    for pattern, values in rules:
        ctx.set_params_for(pattern, values)
    return ctx


def values_of(
    ctx: Context, optimizer: Optimizer | None = None, name: str = DECAY
) -> dict[str, object]:
    """The value of a hyperparameter by parameter."""
    optimizer = AdamW() if optimizer is None else optimizer
    resolved = {v.path.removeprefix("/"): resolved_values(optimizer, ctx, v) for v in ctx}
    return {key: x.value for key, values in resolved.items() for x in values if x.name == name}


def chosen(ctx: Context, value: float = 0.5) -> list[str]:
    return [name for name, got in values_of(ctx).items() if got == value]


def by_label(program: Program) -> dict[str, Hyperparameter]:
    return {x.name: x for x in program.hyperparameters}


MATCHES = [
    ("*.bias", ["norm.bias"]),
    ("*bias", ["encoder/bias", "norm.bias", "bias"]),
    ("encoder/*", ["encoder/w", "encoder/bias"]),
    ("*/w", ["encoder/w", "head/w"]),
    ("*o*/*", ["encoder/w", "encoder/bias"]),
    ("*", list(NAMES)),
    ("bias", ["bias"]),
    ("/bias", ["bias"]),
    ("norm?bias", ["norm.bias"]),
    ("*.[!b]*", ["norm.weight"]),
    ("*BIAS", []),
]


@pytest.mark.parametrize(("pattern", "names"), MATCHES)
def test_a_glob_is_of_whole_names_and_a_star_crosses_slashes(
    pattern: str, names: list[str]
) -> None:
    assert chosen(ruled([(pattern, {DECAY: 0.5})])) == names
    assert [name for name in NAMES if matches(name, pattern.removeprefix("/"))] == names


def test_a_pattern_of_a_scope_is_relative_to_it() -> None:
    ctx = context(shapes={**SHAPES, "a[1]/w": (3,), "a1/w": (3,)})
    ctx.at("encoder").set_params_for("*", {DECAY: 0.5})
    assert chosen(ctx) == ["encoder/w", "encoder/bias"]
    ctx.at("encoder").set_params_for("/head/*", {DECAY: 0.5})
    assert chosen(ctx) == ["encoder/w", "encoder/bias", "head/w"]
    ctx.at("a[1]").set_params_for("*", {DECAY: 0.25})  # the scope's own name is no glob
    assert chosen(ctx, 0.25) == ["a[1]/w"]


ORDERS: list[tuple[str, Rules, list[object]]] = [
    ("nothing set: the class's default", [], [0.004] * 6),
    (
        "a rule for some",
        [("*.bias", {DECAY: 0.0})],
        [0.004, 0.004, 0.004, 0.0, 0.004, 0.004],
    ),
    (
        "the last rule that matches wins",
        [("*", {DECAY: 0.1}), ("*bias", {DECAY: 0.0}), ("encoder/*", {DECAY: 0.2})],
        [0.2, 0.2, 0.1, 0.0, 0.1, 0.0],
    ),
    (
        "a later rule without the name leaves an earlier one alone",
        [("*bias", {DECAY: 0.0}), ("*", {"adam_beta1": 0.5})],
        [0.004, 0.0, 0.004, 0.0, 0.004, 0.0],
    ),
    (
        "the same glob twice",
        [("*bias", {DECAY: 0.0}), ("head/*", {DECAY: 0.3}), ("*bias", {"weight_decay": 0.1})],
        [0.004, 0.1, 0.004, 0.1, 0.3, 0.1],
    ),
]


@pytest.mark.parametrize(("rules", "expected"), [x[1:] for x in ORDERS], ids=[x[0] for x in ORDERS])
def test_which_rule_wins(rules: Rules, expected: list[object]) -> None:
    assert list(values_of(ruled(rules)).values()) == expected


def test_a_rule_goes_before_arguments_and_before_scopes_and_these_stay_as_they_were() -> None:
    rules: Rules = [("*.bias", {DECAY: 0.0}), ("encoder/bias", {DECAY: 0.0})]
    ctx = ruled(rules, {DECAY: 0.1})
    ctx.at("encoder").set_param(DECAY, 0.2)
    assert list(values_of(ctx).values()) == [0.2, 0.0, 0.1, 0.0, 0.1, 0.1]
    explicit = values_of(ctx, AdamW(weight_decay=0.3))
    assert list(explicit.values()) == [0.3, 0.0, 0.3, 0.0, 0.3, 0.3]
    remembered = AdamW.from_context(ctx)
    assert list(values_of(ctx, remembered).values()) == [0.2, 0.0, 0.1, 0.0, 0.1, 0.1]


def test_parameters_of_the_context_alone_follow_rules_too() -> None:
    ctx = ruled([("*bias", {"clip_nan": True, "clip_step_by_value": 0.5, "nanlogger": True})])
    (entry,) = trace(AdamW(), ctx).entry_points
    outputs = [x.name for x in entry.results if x.role == "output"]
    assert outputs == ["nonfinite/encoder/bias", "nonfinite/norm.bias", "nonfinite/bias"]
    for name, value in (("clip_nan", True), ("clip_step_by_value", 0.5)):
        got = values_of(ctx, name=name)
        assert [key for key in got if got[key] == value] == ["encoder/bias", "norm.bias", "bias"]
    assert ctx.get_param("clip_nan") is None


# Groups


def test_equal_values_are_one_group_whoever_set_them() -> None:
    rules: Rules = [("*.bias", {DECAY: 0.0}), ("norm.*", {DECAY: 0.0}), ("bias", {DECAY: 0.004})]
    program = trace(AdamW(), ruled(rules))
    assert [group.variables for group in program.groups] == [
        ("/encoder/w", "/encoder/bias", "/head/w", "/bias"),
        ("/norm.weight", "/norm.bias"),
    ]
    plain, without = (
        next(x for x in group.hyperparameters if x.name.endswith(DECAY)) for group in program.groups
    )
    assert (plain.name, plain.value) == (DECAY, 0.004)
    assert plain.aliases == ("weight_decay", f"bias:{DECAY}", "bias:weight_decay")
    assert (without.name, without.value) == (f"norm.*:{DECAY}", 0.0)
    assert {v.name: v.group for v in program.variables if v.role == "slot"} == {
        f"/AdamOptimizer/{name}_{kind}_moment": int(name.startswith("norm"))
        for name in NAMES
        for kind in ("1st", "2nd")
    }
    assert program_from_json(program_to_json(program)).groups == program.groups


def test_scopes_with_equal_values_are_one_group_too() -> None:
    ctx = context(shapes=SHAPES)
    for scope in ("encoder", "head"):
        ctx.at(scope).set_param(DECAY, 0.0)
    groups = trace(AdamW(), ctx).groups
    assert [g.variables and len(g.variables) for g in groups] == [3, 3]
    (decay,) = [x for x in groups[0].hyperparameters if x.name == f"encoder/{DECAY}"]
    assert decay.aliases == ("encoder/weight_decay", f"head/{DECAY}", "head/weight_decay")


def test_a_settable_of_a_rule_is_a_variable_of_its_own() -> None:
    rules: Rules = [
        ("encoder/*", {"learning_rate": 0.5, "adam_beta1": Settable(0.8)}),
        ("head/*", {"learning_rate": 0.5}),
    ]
    program = trace(AdamW(learning_rate=0.25, betas=(0.9, None)), ruled(rules))
    assert len(program.groups) == 3
    found = by_label(program)
    assert {key: (x.value, x.variable) for key, x in found.items() if x.settable} == {
        "encoder/*:learning_rate": (0.5, "/optimizers/encoder/*:learning_rate"),
        "encoder/*:adam_beta1": (0.8, "/optimizers/encoder/*:adam_beta1"),
        "learning_rate": (0.25, "/optimizers/learning_rate"),
        "head/*:learning_rate": (0.5, "/optimizers/head/*:learning_rate"),
    }
    derived = [x.derive for x in program.entry_points[0].arguments if x.name.endswith("adam_beta1")]
    assert derived == ["value", "one_minus", "log"]


def test_schedules_of_rules_step_beside_a_settable_rate() -> None:
    """The rate of each group, read from plain gradient descent on zeros."""
    falling = CosineSchedule(period=4, learning_rate=1.0)
    ctx = ruled([("*bias", {"learning_rate": falling}), ("head/*", {"learning_rate": 0.5})])
    step = ReferenceStep(trace(StochasticGradientDescent(decay=False), ctx), "float64")
    step.initialize(dict.fromkeys(NAMES, np.zeros(3)))
    for k in range(4):
        before = {name: step.variables[f"/{name}"][0] for name in NAMES}
        step.step(dict.fromkeys(NAMES, np.ones(3)))
        taken = {name: before[name] - step.variables[f"/{name}"][0] for name in NAMES}
        cosine = (1 + np.cos(np.pi * k / 4)) / 2
        rates = {"encoder/w": 0.1, "norm.weight": 0.1, "head/w": 0.5}
        assert taken == pytest.approx({**dict.fromkeys(NAMES, cosine), **rates}, rel=1e-12)


def test_the_contexts_cosine_schedule_starts_at_the_rules_rate() -> None:
    ctx = ruled([("*bias", {"learning_rate": 0.5})], {"cosine_schedule_steps": 10})
    step = ReferenceStep(trace(StochasticGradientDescent(decay=False), ctx), "float64")
    step.initialize(dict.fromkeys(NAMES, np.zeros(3)))
    step.step(dict.fromkeys(NAMES, np.ones(3)))
    taken = [-step.variables[f"/{name}"][0] for name in NAMES]
    assert taken == pytest.approx([0.1, 0.5, 0.1, 0.5, 0.1, 0.5], rel=1e-12)


def test_each_group_steps_as_an_optimizer_of_its_own() -> None:
    """To the last bit of float64: the same graph with other numbers."""
    rules: Rules = [
        ("*bias", {DECAY: 0.0}),
        ("head/*", {"learning_rate": 0.5, "adam_beta2": Settable(0.9)}),
    ]
    step = ReferenceStep(trace(AdamW(weight_decay=0.1), ruled(rules)), "float64")
    alone = {
        "norm.bias": AdamW(weight_decay=0.0),
        "head/w": AdamW(weight_decay=0.1, learning_rate=0.5, betas=(None, 0.9)),
        "encoder/w": AdamW(weight_decay=0.1),
    }
    steps = {
        name: ReferenceStep(trace(optimizer, context(shapes={name: (3,)})), "float64")
        for name, optimizer in alone.items()
    }
    step.initialize(draw(1, SHAPES))
    for name, single in steps.items():
        single.initialize({name: draw(1, SHAPES)[name]})
    for seed in (2, 3, 4):
        gradients = draw(seed, SHAPES)
        step.step(gradients)
        for name, single in steps.items():
            single.step({name: gradients[name]})
            np.testing.assert_array_equal(step.variables[f"/{name}"], single.variables[f"/{name}"])


# Frozen


def test_what_a_rule_freezes_has_neither_gradient_nor_slots() -> None:
    ctx = ruled([("*bias", {DECAY: 0.0})])
    ctx.freeze("encoder/*")
    ctx.freeze("*/bias", frozen=False)
    assert [v.path for v in ctx.trainable_variables()] == [f"/{name}" for name in NAMES[1:]]
    (entry,) = trace(AdamW(), ctx).entry_points
    assert entry.parameters == tuple(f"/{name}" for name in NAMES[1:])
    assert not [x for x in entry.arguments if "encoder/w" in x.name]


def test_a_rule_freezes_and_thaws_before_scopes() -> None:
    ctx = context(shapes=SHAPES)
    ctx.freeze()
    ctx.at("encoder").freeze("b*", frozen=False)
    ctx.set_params_for("head/*", {"frozen": False, DECAY: 0.0})
    assert [v.path for v in ctx.trainable_variables()] == ["/encoder/bias", "/head/w"]


# Training: variables that the loss function makes


def model(ctx: Context, x: Node) -> Node:
    total = ctx.variable("scale", (4,), initializer=None).value_graph(x.graph)
    for name in ("one", "two"):
        here = ctx.at(name)
        total = total * here.variable("w", (4,)).value_graph(x.graph) * x
        total = total + here.variable("bias", (4,)).value_graph(x.graph)
    return ops.reduce_sum(total)


def test_rules_hold_for_variables_that_the_loss_makes() -> None:
    ctx = Context()
    ctx.set_params_for("*/bias", {DECAY: 0.0})
    ctx.freeze("two/*")
    program = train_program(model, ctx, AdamW(), inputs={"x": "?xf32"}, batch_sizes=(4,))
    assert [group.variables for group in program.groups] == [("/scale", "/one/w"), ("/one/bias",)]
    assert program.entry_point("train_step").parameters == ("/scale", "/one/w", "/one/bias")
    assert not [v.name for v in program.variables if v.role == "slot" and "two" in v.name]


# Refusals


def test_a_rule_that_matches_no_parameter_is_refused_when_the_update_is_built() -> None:
    ctx = ruled([("*.bais", {DECAY: 0.0})])
    ctx.variable("running.bais", (3,), trainable=False)  # no parameter
    with pytest.raises(FrontendError, match=r"the rule '\*\.bais' matches no parameter") as error:
        trace(AdamW(), ctx)
    assert "a glob of names such as 'bias', 'norm.bias', " in str(error.value)
    assert "got: 6 parameters" in str(error.value)
    ctx = Context()
    ctx.at("one").freeze("b")
    with pytest.raises(FrontendError, match="the rule 'one/b' matches no parameter") as error:
        train_program(model, ctx, AdamW(), inputs={"x": "4xf32"})
    assert "'one/bias'" in str(error.value)
    gradient = Graph().input("g", "float32", (4,))
    with pytest.raises(FrontendError, match="matches no parameter"):
        AdamW().update_graph_with_gradients(ctx, {"scale": gradient})


def test_a_rule_may_match_what_is_frozen() -> None:
    ctx = ruled([("encoder/*", {DECAY: 0.0})])
    ctx.at("encoder").freeze()
    assert len(trace(AdamW(), ctx).groups) == 1


def test_settable_numbers_of_schedules_are_one_for_all_groups() -> None:
    rules: Rules = [
        ("*bias", {"learning_rate": Settable(0.5)}),
        ("head/*", {"learning_rate": Settable(0.25)}),
    ]
    ctx = ruled(rules, {"cosine_schedule_steps": 10})
    with pytest.raises(OptimizerError, match="two groups of 'step' share the variable") as error:
        trace(AdamW(), ctx)
    assert "settable numbers of schedules are one for all groups" in str(error.value)


WRONG: list[tuple[str, Mapping[str, Any], str]] = [
    ("", {DECAY: 0.0}, "a rule is for a glob of names"),
    ("/", {DECAY: 0.0}, "a rule is for a glob of names"),
    (" *", {DECAY: 0.0}, "a rule is for a glob of names"),
    ("a\n*", {DECAY: 0.0}, "a rule is for a glob of names"),
    ("*", {"wd": 0.0}, "did you mean 'adam_weight_decay'"),
    ("*", {DECAY: -1.0}, "a number of at least 0"),
    ("*", {"frozen": 1}, "a rule says 'frozen' or not(.|\n)*True or False(.|\n)*got: 1"),
    ("*", {"adam_dtype": "float64"}, "'adam_dtype' is one for all parameters of an optimizer"),
    ("*", {"cosine_schedule_steps": 3}, "is one for all parameters(.|\n)*without a glob"),
    ("*", {"optimizer": "sgd"}, "is one for all parameters"),
]


@pytest.mark.parametrize(("pattern", "values", "message"), WRONG)
def test_a_wrong_rule_sets_nothing(pattern: str, values: Mapping[str, Any], message: str) -> None:
    ctx = ruled([])
    with pytest.raises(FrontendError, match=message):
        ctx.set_params_for(pattern, {"adam_beta1": 0.5, **values})
    assert set(values_of(ctx, name="adam_beta1").values()) == {0.9}


def test_names_of_an_optimizers_own_are_taken_as_custom() -> None:
    ctx = ruled([])
    with pytest.raises(FrontendError, match="unknown hyperparameter 'lion_decay'"):
        ctx.set_params_for("*bias", {"lion_decay": 0.5})
    ctx.set_params_for("*bias", {"lion_decay": 0.5, DECAY: 0.5}, custom=True)
    assert chosen(ctx) == ["encoder/bias", "norm.bias", "bias"]
    with pytest.raises(FrontendError, match="a number of at least 0"):
        ctx.set_params_for("*bias", {DECAY: -0.5}, custom=True)


def test_a_failed_build_leaves_rules_as_they_were() -> None:
    ctx = ruled([])

    def freezes_and_fails() -> None:
        with ctx.unchanged_on_error():
            ctx.freeze("*")
            trace(AdamW(), ctx)

    with pytest.raises(OptimizerError, match="nothing to update"):
        freezes_and_fails()
    assert len(ctx.trainable_variables()) == len(NAMES)


def test_equal_sights_mean_equal_hyperparameters() -> None:
    ctx = Context()
    variables = [ctx.variable(name, (2,)) for name in ("a/w", "a/b", "b/w", "b/c/w", "w")]
    ctx.at("b").set_param("adam_epsilon", 1e-3)
    ctx.at("elsewhere").set_param("adam_epsilon", 1e-2)
    ctx.set_params_for("*b", {"adam_weight_decay": 0.0})
    assert [ctx.sight(v) for v in variables] == [(), (0,), ("/b",), ("/b",), ()]
    expected = [resolved_values(AdamW(), ctx, v) for v in variables]
    assert values_of_all(AdamW(), ctx, variables) == expected
    assert len(set(expected)) == 3
