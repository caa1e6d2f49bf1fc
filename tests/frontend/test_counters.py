"""The global step and the learning rate as variables of a Context and of its graphs."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend.context import Context
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.global_step import (
    GLOBAL_STEP_VARIABLE_NAME,
    delete_global_step,
    get_global_step,
    get_global_step_var,
    increment_global_step_graph,
)
from stepforge.frontend.graph import Graph
from stepforge.frontend.learning_rate import learning_rate_var, learning_rate_var_with_value


def test_the_global_step_is_an_i64_that_starts_at_0() -> None:
    ctx = Context()
    assert get_global_step(ctx) == 0
    variable = get_global_step_var(ctx)
    assert (variable.path, variable.dtype.name, variable.shape) == ("/global_step", "int64", ())
    assert (variable.spec.role, variable.spec.storage) == ("counter", "host")
    assert not variable.trainable
    variable.set_value(2**40)
    assert get_global_step(ctx) == 2**40
    assert GLOBAL_STEP_VARIABLE_NAME == "global_step"


def test_deleting_it_starts_again() -> None:
    ctx = Context()
    delete_global_step(ctx)
    get_global_step_var(ctx).set_value(7)
    delete_global_step(ctx)
    assert list(ctx) == []
    assert get_global_step(ctx) == 0


@pytest.mark.parametrize("dtype", ["int64", "float32", "float16", "bfloat16"])
def test_the_increment_is_1_first_and_stored_whole(dtype: str) -> None:
    ctx, graph = Context(), Graph()
    step = increment_global_step_graph(ctx, graph, dtype)
    assert step.dtype.name == dtype
    stored = get_global_step_var(ctx).value_graph(graph)
    assert stored.dtype.name == "int64"
    for before in (0, 2**24, 2**53):
        value, kept = evaluate([step, stored], {"/global_step": np.int64(before)})
        assert int(kept) == before + 1
        assert before or int(value) == 1


def test_two_increments_in_one_graph_count_twice() -> None:
    ctx, graph = Context(), Graph()
    increment_global_step_graph(ctx, graph)
    second = increment_global_step_graph(ctx, graph)
    assert evaluate([second], {"/global_step": np.int64(5)})[0] == 7


def test_a_scope_has_its_own() -> None:
    ctx = Context()
    get_global_step_var(ctx.at("inner")).set_value(3)
    assert get_global_step(ctx) == 0
    assert get_global_step(ctx.at("inner")) == 3


def test_a_learning_rate_that_exists_keeps_its_value() -> None:
    ctx = Context()
    first = learning_rate_var(ctx, "float32", 0.25)
    assert (first.path, first.spec.role, first.spec.storage) == (
        "/optimizers/learning_rate",
        "hyperparameter",
        "host",
    )
    assert learning_rate_var_with_value(ctx, "float64", 0.75) is first
    assert float(first.value) == 0.25
    assert float(learning_rate_var(ctx.at("inner"), "float64", 0.75).value) == 0.75
