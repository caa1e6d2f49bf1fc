"""Programs: the names of state, the order of arguments and results, and how scalars travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stepforge.frontend.context import Context
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.graph import Graph
from stepforge.frontend.initializers import zeros
from stepforge.frontend.optimizers import Adam, AdamW, RMSProp, StochasticGradientDescent
from stepforge.frontend.program import EntryPoint
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from stepforge.frontend.verify import verify
from support.programs import context, draw, program

SETTABLE = {
    "adam_beta1": Settable(0.8),
    "adam_beta2": Settable(0.95),
    "adam_epsilon": Settable(1e-3),
    "adam_weight_decay": Settable(0.02),
    "adam_backoff": Settable(2),
    "clip_step_by_value": Settable(0.004),
}


def rows(entry: EntryPoint) -> list[tuple[str, str, str, int | None]]:
    return [(x.role, x.name, x.derive, x.result) for x in entry.arguments]


def test_arguments_stand_in_the_order_of_the_abi() -> None:
    (entry,) = program(
        Adam(), {"adam_beta1": Settable(0.8), "adam_backoff": Settable(1)}
    ).entry_points
    names = ("encoder/w", "b", "scale")
    slots = [
        ("slot", f"/AdamOptimizer/{name}_{kind}_moment", "value", 3 + 3 * k + i)
        for k, kind in enumerate(("1st", "2nd"))
        for i, name in enumerate(names)
    ]
    assert rows(entry) == [
        *(("parameter", f"/{name}", "value", i) for i, name in enumerate(names)),
        *slots,
        *(("gradient", f"/{name}", "value", None) for name in names),
        ("hyperparameter", "/optimizers/learning_rate", "value", None),
        ("hyperparameter", "/optimizers/adam_beta1", "value", None),
        ("hyperparameter", "/optimizers/adam_beta1", "one_minus", None),
        ("hyperparameter", "/optimizers/adam_beta1", "log", None),
        ("hyperparameter", "/optimizers/adam_backoff", "value", None),
        ("counter", "/global_step", "value", 9),
        ("counter", "/AdamOptimizer/step", "value", 10),
    ]
    assert [x.storage for x in entry.arguments] == ["device"] * 12 + ["host"] * 7
    assert entry.parameters == ("/encoder/w", "/b", "/scale")


def test_results_are_device_state_then_outputs_then_host_state() -> None:
    optimizer = RMSProp()
    (entry,) = program(optimizer, {"nanlogger": True, "cosine_schedule_steps": 9}).entry_points
    names = ("encoder/w", "b", "scale")
    assert [(x.role, x.name) for x in entry.results] == [
        *(("state", f"/{name}") for name in names),
        *(("state", f"/AdamOptimizer/{name}_2nd_moment") for name in names),
        *(("output", f"nonfinite/{name}") for name in names),
        ("state", "/optimizers/learning_rate"),
        ("state", "/global_step"),
        ("state", "/AdamOptimizer/step"),
        ("state", "/optimizers/cosine_schedule/global_step"),
    ]
    for index, result in enumerate(entry.results):
        linked = [x.name for x in entry.arguments if x.result == index]
        assert linked == ([result.name] if result.role == "state" else [])


def test_variables_have_the_seeds_names_and_follow_the_arguments() -> None:
    ctx = context()
    ctx.variable("untouched", (7,), trainable=False)
    traced = trace(AdamW(), ctx)
    assert [(v.name, v.dtype.name, v.slot, v.of, v.group) for v in traced.variables] == [
        ("/encoder/w", "float32", None, None, 0),
        ("/b", "float32", None, None, 0),
        ("/scale", "float32", None, None, 0),
        ("/AdamOptimizer/encoder/w_1st_moment", "float32", "1st_moment", "/encoder/w", 0),
        ("/AdamOptimizer/b_1st_moment", "float32", "1st_moment", "/b", 0),
        ("/AdamOptimizer/scale_1st_moment", "float32", "1st_moment", "/scale", 0),
        ("/AdamOptimizer/encoder/w_2nd_moment", "float32", "2nd_moment", "/encoder/w", 0),
        ("/AdamOptimizer/b_2nd_moment", "float32", "2nd_moment", "/b", 0),
        ("/AdamOptimizer/scale_2nd_moment", "float32", "2nd_moment", "/scale", 0),
        ("/optimizers/learning_rate", "float32", None, None, None),
        ("/global_step", "int64", None, None, None),
        ("/AdamOptimizer/step", "int64", None, None, None),
    ]
    host = [v.name for v in traced.variables if v.storage == "host"]
    assert host == ["/optimizers/learning_rate", "/global_step", "/AdamOptimizer/step"]


def test_a_traced_graph_is_well_formed_and_has_no_node_twice() -> None:
    (entry,) = program(AdamW(), SETTABLE).entry_points
    verify(entry.graph)
    seen = [(n.op, n.inputs, repr(sorted(n.attributes.items()))) for n in entry.graph.nodes]
    assert len(seen) == len(set(seen))


def test_baked_numbers_are_folded_exactly() -> None:
    (entry,) = program(AdamW(betas=(0.9, 0.999))).entry_points
    constants = {n.attributes["value"] for n in entry.graph.nodes if n.op == "constant"}
    assert {1.0 - 0.9, 1.0 - 0.999, np.log(0.9), np.log(0.999), 0.004} <= constants


def test_a_settable_is_a_host_variable_and_the_rate_always_one() -> None:
    traced = program(Adam(weight_decay=Settable(0.25)))
    by_name = {x.name: x for x in traced.hyperparameters}
    assert by_name["adam_weight_decay"].variable == "/optimizers/adam_weight_decay"
    assert by_name["adam_weight_decay"].aliases == ("weight_decay",)
    assert by_name["adam_weight_decay"].settable
    assert by_name["learning_rate"].settable
    assert not by_name["adam_epsilon"].settable
    assert by_name["adam_epsilon"].variable is None


def test_an_existing_learning_rate_keeps_its_value() -> None:
    ctx = context()
    ctx.at("optimizers").variable(
        "learning_rate", initializer=zeros(), trainable=False, storage="host", role="hyperparameter"
    ).set_value(0.75)
    ctx.set_param("learning_rate", 0.1)
    traced = trace(Adam(), ctx)
    (rate,) = [x for x in traced.hyperparameters if x.name == "learning_rate"]
    assert rate.value == 0.75


# Two optimizers


def two(**keywords: Any) -> Mapping[str, Any]:
    return {"step_a": Adam(), "step_b": RMSProp(scope="Second", learning_rate=0.5, **keywords)}


def test_two_optimizers_share_parameters_and_the_global_step_only() -> None:
    traced = trace(two(epsilon=Settable(1e-3)), context())
    a, b = traced.entry_points
    shared = {x.name for x in a.arguments} & {x.name for x in b.arguments}
    assert shared == {"/encoder/w", "/b", "/scale", "/global_step"}
    names = {v.name for v in traced.variables}
    assert {"/Second/step", "/Second/b_2nd_moment", "/optimizers/Second/adam_epsilon"} <= names
    assert {x.name: x.variable for x in traced.hyperparameters if x.settable} == {
        "learning_rate": "/optimizers/learning_rate",
        "Second/learning_rate": "/optimizers/Second/learning_rate",
        "Second/adam_epsilon": "/optimizers/Second/adam_epsilon",
    }
    assert [group.function for group in traced.groups] == ["step_a", "step_b"]
    assert traced.formula == f"step_a = {Adam().formula}; step_b = {RMSProp().formula}"


def test_two_optimizers_step_as_each_would_alone() -> None:
    both = ReferenceStep(trace(two(), context()), "float64")
    both.initialize(draw(1))
    both.step(draw(2), "step_a")
    between = {name: both.variables[f"/{name}"] for name in draw(1)}
    both.step(draw(3), "step_b")
    alone = ReferenceStep(trace(RMSProp(learning_rate=0.5), context()), "float64")
    alone.initialize(between)
    alone.step(draw(3))
    np.testing.assert_array_equal(both.variables["/b"], alone.variables["/b"])
    assert both.variables["/global_step"] == 2
    assert both.variables["/AdamOptimizer/step"] == both.variables["/Second/step"] == 1


def test_entry_points_may_update_different_parameters() -> None:
    parameters = {"step_a": ["encoder/w"], "step_b": ["/b", "scale"]}
    traced = trace(two(), context(), parameters=parameters)
    assert [e.parameters for e in traced.entry_points] == [("/encoder/w",), ("/b", "/scale")]
    assert {v.name: v.group for v in traced.variables if v.trainable} == {
        "/encoder/w": 0,
        "/b": 1,
        "/scale": 1,
    }
    with pytest.raises(OptimizerError, match="got: /nothing"):
        trace(two(), context(), parameters={"step_a": ["nothing"]})


def test_two_optimizers_in_two_contexts_scopes_are_apart_too() -> None:
    ctx = context()
    graph = Graph()
    for scope in ("one", "two"):
        gradient = graph.input(f"gradient:{scope}", "float32", (5,))
        Adam().update_graph_with_gradients(ctx.at(scope), {"b": gradient})
    paths = {v.path for v in ctx}
    for scope in ("one", "two"):
        assert f"/{scope}/AdamOptimizer/b_1st_moment" in paths
        assert f"/{scope}/AdamOptimizer/step" in paths
        assert f"/{scope}/optimizers/learning_rate" in paths
        assert f"/{scope}/global_step" in paths


def test_optimizers_that_would_share_state_are_refused() -> None:
    with pytest.raises(OptimizerError, match="would share their slots") as error:
        trace({"a": Adam(), "b": AdamW()}, context())
    assert "AdamW(scope=...)" in str(error.value)
    with pytest.raises(OptimizerError, match="share the variable '/optimizers/learning_rate'"):
        trace({"a": Adam(), "b": StochasticGradientDescent()}, context())
    same = {"a": Adam(learning_rate=0.1), "b": StochasticGradientDescent(learning_rate=0.1)}
    assert len(trace(same, context()).entry_points) == 2


@pytest.mark.parametrize("name", ["", "a b", "1st", "self_test", "a-b"])
def test_entry_points_are_identifiers(name: str) -> None:
    with pytest.raises(OptimizerError, match="wrong name of an entry point"):
        trace({name: Adam()}, context())


@pytest.mark.parametrize("name", ["train_step", "accumulate", "evaluate", "predict", "initialize"])
def test_entry_points_are_not_those_of_training(name: str) -> None:
    ctx = context()
    before = [v.path for v in ctx]
    with pytest.raises(OptimizerError, match=f"{name!r} would be taken for .* training") as error:
        trace({"step": Adam(), name: AdamW(scope="b")}, ctx)
    assert "such as 'step'" in str(error.value)
    assert [v.path for v in ctx] == before


@pytest.mark.parametrize(
    "name", ["global_step", "optimizers/w", "AdamOptimizer/step", "trainer/x", "AdamOptimizer/a/b"]
)
def test_reserved_names_are_refused(name: str) -> None:
    ctx = Context()
    ctx.variable(name, (2,))
    with pytest.raises(OptimizerError, match=f"the name '/{name}' is reserved"):
        trace(Adam(), ctx)
    other = Context()
    other.variable(f"model/{name}", (2,))
    assert trace(Adam(), other).entry_points
