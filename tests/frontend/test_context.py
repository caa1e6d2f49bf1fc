"""Contexts: scopes, parameters looked up towards the root, and the life of variables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stepforge.frontend import initializers
from stepforge.frontend.context import Context
from stepforge.frontend.errors import (
    ContextError,
    DTypeError,
    HyperparameterError,
    ShapeError,
    UnknownNameError,
)
from stepforge.frontend.graph import Graph


def test_a_name_with_slashes_is_a_name_in_a_scope() -> None:
    ctx = Context()
    one = ctx.variable("encoder/layer/w", (2,))
    assert ctx.at("encoder").at("layer").variable("w", (2,)) is one
    assert ctx.at("other").variable("/encoder/layer/w", (2,)) is one
    assert (one.path, one.scope, one.name) == ("/encoder/layer/w", "/encoder/layer", "w")
    assert ctx.at("encoder/layer").scope == "/encoder/layer"
    assert ctx.at("a").at("/b").scope == "/b"
    assert ctx.at("a").root.scope == "/"


@pytest.mark.parametrize("name", ["model.0.weight", "a b", "größe", "x:y", "a//b", "..", "1"])
def test_names_are_kept_as_given(name: str) -> None:
    variable = Context().variable(name)
    assert variable.path == f"/{name}"
    assert Context().at("s").variable(name).path == f"/s/{name}"


@pytest.mark.parametrize("name", ["", "/", "a/"])
def test_names_that_name_nothing_are_refused(name: str) -> None:
    with pytest.raises(ContextError, match="not empty and does not end with a slash"):
        Context().variable(name)


def test_a_variable_is_reused_with_the_same_shape_and_dtype_only() -> None:
    ctx = Context()
    made = ctx.variable("w", (2, 3), "float16")
    assert ctx.variable("w", [2, 3], "f16", initializer=initializers.ones()) is made
    with pytest.raises(ContextError, match=r"exists already, with another shape") as error:
        ctx.variable("w", (3, 2), "float16")
    assert "expected: (2, 3)" in str(error.value)
    assert "got: (3, 2)" in str(error.value)
    with pytest.raises(ContextError, match="another dtype"):
        ctx.variable("w", (2, 3))
    with pytest.raises(ContextError, match="another role"):
        ctx.variable("w", (2, 3), "float16", trainable=False)


def test_iteration_is_in_order_of_creation_below_a_scope() -> None:
    ctx = Context()
    for name in ("z", "b/y", "a", "b/c/x", "bb"):
        ctx.variable(name, trainable=name != "a")
    assert [v.path for v in ctx] == ["/z", "/b/y", "/a", "/b/c/x", "/bb"]
    assert [v.path for v in ctx.at("b")] == ["/b/y", "/b/c/x"]
    assert [v.path for v in ctx.trainable_variables()] == ["/z", "/b/y", "/b/c/x", "/bb"]


def test_variables_and_scopes_are_deleted() -> None:
    ctx = Context()
    for name in ("a", "b/x", "b/y", "bb"):
        ctx.variable(name)
    ctx.delete_variable("b/x")
    assert ctx.find_variable("b/x") is None
    ctx.at("b").delete_scope()
    assert [v.path for v in ctx] == ["/a", "/bb"]
    ctx.variable("b/x", (7,), "int32")  # the name is free again, for anything
    with pytest.raises(ContextError, match=r"no variable '/nothing'") as error:
        ctx.delete_variable("nothing")
    assert "one of /a, /bb, /b/x" in str(error.value)


def test_parameters_are_looked_up_towards_the_root() -> None:
    ctx = Context()
    ctx.set_param("adam_epsilon", 1e-5)
    ctx.at("a/b").set_param("adam_epsilon", 1e-3)
    seen = {scope: ctx.at(scope).get_param("adam_epsilon") for scope in ("/", "a", "a/b", "a/b/c")}
    assert seen == {"/": 1e-5, "a": 1e-5, "a/b": 1e-3, "a/b/c": 1e-3}
    assert ctx.at("a").get_param("adam_beta1") is None
    assert ctx.at("a").get_param("adam_beta1", 0.5) == 0.5
    assert ctx.find_param("adam_epsilon") == ("/", 1e-5)
    assert ctx.at("a/b/c").find_param("adam_epsilon") == ("/a/b", 1e-3)


def test_an_alias_is_the_name_it_stands_for() -> None:
    ctx = Context()
    ctx.set_param("weight_decay", 0.1)
    assert ctx.get_param("adam_weight_decay") == ctx.get_param("weight_decay") == 0.1


def test_unknown_parameters_are_refused_unless_they_are_declared_custom() -> None:
    ctx = Context()
    with pytest.raises(UnknownNameError, match="did you mean 'adam_epsilon'"):
        ctx.set_param("epsilon", 1e-5)
    ctx.set_param("hidden_units", {"any": "value"}, custom=True)
    assert ctx.at("a").get_param("hidden_units") == {"any": "value"}


def test_several_parameters_are_set_together_or_not_at_all() -> None:
    ctx = Context()
    with pytest.raises(HyperparameterError):
        ctx.set_params({"adam_epsilon": 1e-5, "adam_beta1": 2.0})
    assert ctx.visible_params() == {}
    ctx.set_params({"adam_epsilon": 1e-5, "weight_decay": 0.5})
    assert ctx.at("a").visible_params() == {"adam_epsilon": 1e-5, "adam_weight_decay": 0.5}


def test_defaults_are_asked_last_and_shared_with_scopes_below() -> None:
    ctx = Context()
    ctx.at("a").set_param("adam_beta1", 0.5)
    view = ctx.with_defaults({"adam_beta1": 0.25, "adam_beta2": 0.75})
    assert view.get_param("adam_beta1") == 0.25
    assert view.at("a").get_param("adam_beta1") == 0.5
    assert view.at("a").get_param("adam_beta2") == 0.75
    assert ctx.get_param("adam_beta1") is None


def test_values_belong_to_the_context_and_are_copied() -> None:
    variable = Context().variable("w", (2,), initializer=initializers.zeros())
    variable.value[0] = 5.0
    assert variable.value.tolist() == [0.0, 0.0]
    given = np.array([1.0, 2.0], np.float32)
    variable.set_value(given)
    given[0] = 9.0
    assert variable.value.tolist() == [1.0, 2.0]


def test_a_scalar_keeps_its_number_exactly() -> None:
    variable = Context().variable("rate", initializer=initializers.constant(0.5))
    variable.set_value(0.1)
    assert variable.spec.initializer.value == 0.1
    assert variable.value == np.float32(0.1)


def test_values_that_do_not_fit_are_refused() -> None:
    variable = Context().variable("w", (2,))
    with pytest.raises(ShapeError, match=r"/w: wrong shape"):
        variable.set_value([1.0])
    with pytest.raises(DTypeError, match=r"/w: wrong dtype") as error:
        variable.set_value(np.zeros(2))
    assert ".astype('float32')" in str(error.value)


def test_a_graph_reads_a_variable_as_an_input_and_sees_what_was_set() -> None:
    ctx, graph = Context(), Graph()
    variable = ctx.variable("w", (2,))
    before = variable.value_graph(graph)
    assert (before.op, before.attributes["name"]) == ("input", "/w")
    variable.set_value_graph(before * 2.0)
    assert variable.value_graph(graph).op == "mul"
    assert variable.input(graph) is before


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda g: g.input("x", "float32", (3,)), ShapeError),
        (lambda g: g.input("x", "float64", (2,)), DTypeError),
    ],
)
def test_a_new_value_in_a_graph_has_the_variables_type(
    make: Callable[[Graph], object], error: type[Exception]
) -> None:
    variable = Context().variable("w", (2,))
    with pytest.raises(error, match="/w: a new value"):
        variable.set_value_graph(make(Graph()))  # pyright: ignore[reportArgumentType]


def test_outputs_have_names_of_their_own() -> None:
    ctx, graph = Context(), Graph()
    node = graph.input("x", "float32")
    ctx.add_output(graph, "norm", node)
    assert ctx.at("a").outputs(graph) == {"norm": node}
    assert ctx.outputs(Graph()) == {}
    for name in ("norm", "/path"):
        with pytest.raises(ContextError, match="is taken"):
            ctx.add_output(graph, name, node)


def test_a_host_variable_is_a_single_number() -> None:
    with pytest.raises(ContextError, match="a host variable has rank 0"):
        Context().variable("w", (2,), storage="host")
    with pytest.raises(ContextError, match="/w: parameters and slots live on the device"):
        Context().variable("w", (), storage="host")
