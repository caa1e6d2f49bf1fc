"""Optimizers as values: keywords, names, precedence, and the Context that they came from."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

from oracles.settings import OPTIMIZERS
from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.errors import (
    HyperparameterError,
    OptimizerError,
    UnknownKeywordError,
    UnknownNameError,
)
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.optimizers import (
    KNOWN_OPTIMIZERS,
    Adam,
    Adamax,
    AdamW,
    Optimizer,
    RMSProp,
    StochasticGradientDescent,
    by_name,
    from_context,
)
from stepforge.frontend.program import Hyperparameter, Program
from stepforge.frontend.schedules import CosineSchedule
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from support.programs import context

CLASSES: tuple[type[Optimizer], ...] = (Adam, AdamW, Adamax, RMSProp, StochasticGradientDescent)


def setting(program: Program, name: str) -> Hyperparameter:
    (found,) = [x for x in program.hyperparameters if x.name == name]
    return found


def test_the_known_optimizers_are_the_seeds() -> None:
    assert set(KNOWN_OPTIMIZERS) == set(OPTIMIZERS)
    made = {name: type(by_name(Context(), name)) for name in KNOWN_OPTIMIZERS}
    assert set(made.values()) == set(CLASSES)


def test_an_unknown_optimizer_is_refused_with_the_valid_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown optimizer 'adamz'") as error:
        by_name(Context(), "adamz")
    assert "one of adam, adamax, adamw, rmsprop, sgd" in str(error.value)
    assert "did you mean 'adam" in str(error.value)


def test_the_context_names_the_optimizer_and_adamw_is_the_default() -> None:
    ctx = Context()
    assert isinstance(from_context(ctx), AdamW)
    ctx.set_param("optimizer", "rmsprop")
    assert isinstance(from_context(ctx), RMSProp)


@pytest.mark.parametrize(
    ("cls", "keyword", "nearest"),
    [
        (Adam, "lr", "learning_rate"),
        (Adam, "eps", "epsilon"),
        (AdamW, "beta1", "betas"),
        (AdamW, "wd", "weight_decay"),
        (RMSProp, "betas", "beta2"),
        (RMSProp, "rho", "beta2"),
        (Adamax, "backoff", "backoff_steps"),
        (StochasticGradientDescent, "learningrate", "learning_rate"),
    ],
)
def test_an_unknown_keyword_names_the_nearest(cls: type[Any], keyword: str, nearest: str) -> None:
    with pytest.raises(UnknownKeywordError, match=f"did you mean '{nearest}'") as error:
        cls(**{keyword: 0.5})
    assert f"unknown keyword of {cls.__name__} {keyword!r}" in str(error.value)
    assert "context_parameters" not in str(error.value)
    assert isinstance(error.value, TypeError)
    with pytest.raises(UnknownKeywordError):
        by_name(Context(), "adam").replace(**{keyword + "_": 0.5})


@pytest.mark.parametrize("cls", CLASSES)
def test_an_optimizer_is_a_frozen_value(cls: type[Any]) -> None:
    one = cls(learning_rate=0.5)
    assert one == cls(learning_rate=0.5) == copy.deepcopy(one)
    assert hash(one) == hash(cls(learning_rate=0.5))
    assert one != cls(learning_rate=0.25)
    assert one.replace(learning_rate=0.25) == cls(learning_rate=0.25)
    with pytest.raises(FrozenInstanceError):
        one.learning_rate = 0.1
    with pytest.raises(TypeError):
        cls(0.1)  # everything by keyword
    assert "learning_rate=0.5" in repr(one)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_states_its_equations_epsilon_and_differences(cls: type[Any]) -> None:
    text = cls.__doc__ or ""
    assert "p'" in text
    assert "Differences." in text
    assert "torch" in text
    assert "Keras" in text
    if "epsilon" in {field.name for field in fields(cls)}:
        assert "psilon is" in text


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (Adam, {"learning_rate": -1.0}),
        (Adam, {"betas": (0.9, 1.0)}),
        (AdamW, {"weight_decay": Settable(-0.1)}),
        (RMSProp, {"epsilon": "small"}),
        (Adamax, {"backoff_steps": 0.5}),
    ],
)
def test_wrong_values_are_refused_when_the_optimizer_is_made(
    cls: type[Any], values: dict[str, Any]
) -> None:
    with pytest.raises(HyperparameterError):
        cls(**values)


@pytest.mark.parametrize("scope", ["", "/", "/a", "a/"])
def test_a_scope_is_a_plain_name(scope: str) -> None:
    with pytest.raises(OptimizerError, match="scope is a name"):
        Adam(scope=scope)


def test_explicit_goes_before_the_context_and_that_before_the_default() -> None:
    ctx = context({"adam_epsilon": 1e-3, "adam_beta1": 0.5})
    program = trace(Adam(epsilon=1e-2), ctx)
    assert setting(program, "adam_epsilon").value == 1e-2
    assert setting(program, "adam_beta1").value == 0.5
    assert setting(program, "adam_beta2").value == 0.999


def test_one_of_two_betas_may_be_left_to_the_context() -> None:
    program = trace(Adam(betas=(None, 0.5)), context({"adam_beta1": 0.25, "adam_beta2": 0.75}))
    assert setting(program, "adam_beta1").value == 0.25
    assert setting(program, "adam_beta2").value == 0.5


@pytest.mark.parametrize(
    ("cls", "rate", "decay"),
    [(Adam, 0.001, 0.0), (AdamW, 0.001, 0.004), (Adamax, 0.001, 0.0), (RMSProp, 0.001, 0.0)],
)
def test_defaults_of_the_adam_family(cls: type[Any], rate: float, decay: float) -> None:
    program = trace(cls(), context())
    assert setting(program, "learning_rate").value == rate
    assert setting(program, "adam_weight_decay").value == decay
    assert setting(program, "adam_epsilon").value == 1e-7
    assert setting(program, "adam_dtype").value == "float32"


def test_sgd_starts_at_a_tenth_and_has_no_adam_settings() -> None:
    program = trace(StochasticGradientDescent(), context())
    assert setting(program, "learning_rate").value == 0.1
    assert not [x for x in program.hyperparameters if x.name.startswith("adam")]


def test_the_nearest_scope_of_a_variable_decides_and_makes_a_group() -> None:
    ctx = context({"adam_weight_decay": 0.1})
    ctx.at("encoder").set_param("adam_weight_decay", 0.0)
    program = trace(AdamW(), ctx)
    assert [group.variables for group in program.groups] == [("/encoder/w",), ("/b", "/scale")]
    assert setting(program, "encoder/adam_weight_decay").value == 0.0
    assert setting(program, "adam_weight_decay").value == 0.1
    assert {v.name: v.group for v in program.variables if v.role == "parameter"} == {
        "/encoder/w": 0,
        "/b": 1,
        "/scale": 1,
    }


def test_a_rate_of_a_scope_is_a_variable_of_that_scope() -> None:
    ctx = context()
    ctx.at("encoder").set_param("learning_rate", 0.5)
    program = trace(Adam(), ctx)
    assert setting(program, "encoder/learning_rate").variable == (
        "/encoder/optimizers/learning_rate"
    )
    assert setting(program, "learning_rate").variable == "/optimizers/learning_rate"


def test_from_context_remembers_what_it_saw() -> None:
    seen = Context()
    seen.set_params({"adam_epsilon": 1e-3, "clip_nan": True, "cosine_schedule_steps": 10})
    optimizer = Adam.from_context(seen, betas=(0.5, 0.5))
    program = trace(optimizer, context())
    assert setting(program, "adam_epsilon").value == 1e-3
    assert setting(program, "clip_nan").value is True
    assert setting(program, "cosine_schedule_steps").value == 10
    assert setting(program, "adam_beta1").value == 0.5
    nearer = trace(optimizer, context({"adam_epsilon": 1e-2}))
    assert setting(nearer, "adam_epsilon").value == 1e-2
    assert "adam_epsilon" not in repr(optimizer)


def test_an_explicit_schedule_is_a_rate_like_any_other() -> None:
    schedule = CosineSchedule(period=10, learning_rate=0.5)
    program = trace(Adam(learning_rate=schedule), context({"cosine_schedule_cycles": 3}))
    assert setting(program, "cosine_schedule_steps").value == 10
    assert setting(program, "cosine_schedule_cycles").value == 0


def test_a_loss_must_depend_on_a_trainable_variable() -> None:
    ctx, graph = context(), Graph()
    with pytest.raises(OptimizerError, match="depends on no trainable variable"):
        Adam().update_graph(ctx, graph, graph.input("loss", "float32"))
    assert graph.variable_values == {}
    w = ctx.get_variable("/encoder/w").value_graph(graph)
    with pytest.raises(OptimizerError, match=r"no trainable variable(.|\n)*stop_gradient"):
        Adam().update_graph(ctx, graph, ops.reduce_sum(ops.stop_gradient(w)))


def test_update_graph_is_an_update_with_the_gradients_of_the_loss() -> None:
    """Of what the loss depends on: `/b` and what is not trainable stay."""
    ctx, graph = context(), Graph()
    w, scale = (ctx.get_variable(path).value_graph(graph) for path in ("/encoder/w", "/scale"))
    loss = ops.reduce_sum(w * w) * ops.cast(ops.reduce_sum(scale), w.dtype)
    Adam().update_graph(ctx, graph, loss)
    assert {"/encoder/w", "/scale"} <= graph.variable_values.keys()
    assert "/b" not in graph.variable_values
    other = Graph()
    w, scale = (ctx.get_variable(path).value_graph(other) for path in ("/encoder/w", "/scale"))
    total = ops.reduce_sum(w * w)
    by_hand = {
        "encoder/w": w * 2 * ops.cast(ops.reduce_sum(scale), w.dtype),
        "scale": ops.broadcast_to(ops.cast(total, scale.dtype), scale.shape),
    }
    Adam().update_graph_with_gradients(ctx, by_hand, loss.dtype)
    rng = np.random.default_rng(0)
    inputs = {
        x: rng.uniform(0.5, 2, n.shape).astype(n.dtype.numpy) for x, n in graph.inputs.items()
    }
    assert graph.inputs.keys() == other.inputs.keys()
    paths = list(other.variable_values)
    assert list(graph.variable_values) == paths
    got = evaluate([graph.variable_values[path] for path in paths], inputs, "float64")
    expected = evaluate([other.variable_values[path] for path in paths], inputs, "float64")
    for path, a, b in zip(paths, got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=path)


def test_clear_deletes_slots_and_the_step_and_nothing_else() -> None:
    ctx = context()
    trace(Adam(), ctx)
    Adam().clear(ctx)
    left = [v.path for v in ctx]
    assert left == ["/encoder/w", "/b", "/scale", "/global_step", "/optimizers/learning_rate"]
    StochasticGradientDescent().clear(ctx)
    assert [v.path for v in ctx] == left


def test_gradients_must_belong_to_trainable_variables_and_fit() -> None:
    ctx, graph = context(), Graph()
    update = Adam().update_graph_with_gradients
    with pytest.raises(OptimizerError, match="nothing to update"):
        update(ctx, {})
    with pytest.raises(OptimizerError, match="no trainable variable '/c'") as error:
        update(ctx, {"c": graph.input("g", "float32", (5,))})
    assert "one of /encoder/w, /b, /scale" in str(error.value)
    with pytest.raises(OptimizerError, match="gradient of '/b' does not fit"):
        update(ctx, {"b": graph.input("h", "float32", (4,))})
    with pytest.raises(OptimizerError, match="gradient of '/b' does not fit"):
        update(ctx, {"/b": graph.input("i", "int32", (5,))})
    with pytest.raises(OptimizerError, match="a loss has a float dtype"):
        update(ctx, {"/b": graph.input("j", "float32", (5,))}, "int32")
