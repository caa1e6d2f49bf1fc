"""Clipping and NaN handling as graph functions of a Context, and the count of bad values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stepforge.frontend.clipping import (
    clip_nans_in_gradients,
    clip_nans_in_updates,
    clip_step_by_value,
)
from stepforge.frontend.context import Context
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.nan_tracing import Tracer, trace_nan_in_gradients
from stepforge.frontend.optimizers import Adam, StochasticGradientDescent
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from support.programs import SHAPES, context, draw

BAD = np.array([1.0, np.nan, -np.inf, np.inf, -2.0], np.float32)
NAN = math.nan


class Logger:
    def __init__(self) -> None:
        self.found: list[tuple[int, tuple[str, ...]]] = []

    def trace(self, count: int, *scopes: str) -> None:
        self.found.append((count, scopes))


def inputs(graph: Graph) -> tuple[Node, Node]:
    return graph.input("x", "float32", (5,)), graph.input("y", "float32", (5,))


def run(node: Node, **values: Any) -> list[float]:
    return evaluate([node], values)[0].tolist()


@pytest.mark.parametrize("limit", [None, 0.0, 1.5, Settable(1.5), Settable(0.0)])
def test_a_step_is_clipped_to_both_sides_unless_the_limit_is_0(limit: Any) -> None:
    ctx, graph = Context(), Graph()
    if limit is not None:
        ctx.set_param("clip_step_by_value", limit)
    step, _ = inputs(graph)
    clipped = clip_step_by_value(ctx, step)
    plain = limit.value if isinstance(limit, Settable) else limit
    settable = {"/optimizers/clip_step_by_value": np.float32(plain or 0.0)}
    given = np.array([-2.0, -1.5, NAN, 0.5, np.inf], np.float32)
    expected = given if not plain else np.clip(given, -plain, plain)
    np.testing.assert_array_equal(run(clipped, x=given, **settable), expected)
    if not plain and not isinstance(limit, Settable):
        assert clipped is step


@pytest.mark.parametrize("on", [True, False, None])
def test_a_gradient_with_any_bad_value_becomes_zero_as_a_whole(on: bool | None) -> None:
    ctx, graph = Context(), Graph()
    if on is not None:
        ctx.set_param("clip_nan", on)
    gradient, _ = inputs(graph)
    clean = clip_nans_in_gradients(ctx, gradient)
    good = np.arange(5, dtype=np.float32)
    assert run(clean, x=good) == good.tolist()
    np.testing.assert_array_equal(run(clean, x=BAD), np.zeros(5) if on else BAD)
    assert (clean is gradient) == (not on)


@pytest.mark.parametrize("on", [True, False])
def test_updates_keep_the_original_element_where_they_are_bad(on: bool) -> None:
    ctx, graph = Context(), Graph()
    ctx.set_param("clip_nan", on)
    original, updates = inputs(graph)
    kept = clip_nans_in_updates(ctx, original, updates)
    expected = [1.0, 7.0, 7.0, 7.0, -2.0] if on else BAD
    np.testing.assert_array_equal(run(kept, x=np.full(5, 7.0, np.float32), y=BAD), expected)


def test_a_tracer_is_anything_that_can_trace() -> None:
    assert isinstance(Logger(), Tracer)
    assert not isinstance(object(), Tracer)


@pytest.mark.parametrize("tracer", [True, Logger()])
def test_tracing_counts_what_is_not_finite_per_variable(tracer: Any) -> None:
    ctx, graph = context({"nanlogger": tracer}), Graph()
    gradient, _ = inputs(graph)
    trace_nan_in_gradients(ctx, ctx.get_variable("b"), gradient)
    ((name, count),) = ctx.outputs(graph).items()
    assert (name, count.dtype.name, count.shape) == ("nonfinite/b", "int32", ())
    assert run(count, x=BAD) == 3
    assert run(count, x=np.ones(5, np.float32)) == 0


def test_nothing_is_traced_without_a_tracer() -> None:
    ctx, graph = context(), Graph()
    trace_nan_in_gradients(ctx, ctx.get_variable("b"), inputs(graph)[0])
    assert ctx.outputs(graph) == {}
    assert not trace(Adam(), ctx).nan_tracing


def test_a_step_counts_the_gradient_as_given_and_then_clips_it() -> None:
    logger = Logger()
    ctx = context({"nanlogger": logger, "clip_nan": True})
    program = trace(Adam(), ctx)
    assert program.nan_tracing
    reference = ReferenceStep(program)
    start = draw(1, dtype="float32")
    reference.initialize(start)
    counts = reference.step({**draw(2, dtype="float32"), "b": BAD})
    assert {name: int(count) for name, count in counts.items()} == {
        "nonfinite/encoder/w": 0,
        "nonfinite/b": 3,
        "nonfinite/scale": 0,
    }
    np.testing.assert_array_equal(reference.variables["/b"], start["b"])
    assert not np.array_equal(reference.variables["/encoder/w"], start["encoder/w"])
    assert logger.found == []  # only its presence is compiled


def test_sgd_uses_the_good_elements_of_a_bad_gradient() -> None:
    reference = ReferenceStep(trace(StochasticGradientDescent(), context({"clip_nan": True})))
    reference.initialize({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})
    reference.step({**draw(2, dtype="float32"), "b": BAD})
    expected = np.float32(-0.1) * np.array([1.0, 0.0, 0.0, 0.0, -2.0], np.float32)
    np.testing.assert_array_equal(reference.variables["/b"], expected)


def test_a_scope_may_clip_alone() -> None:
    ctx = context()
    ctx.at("encoder").set_param("clip_step_by_value", 1e-6)
    reference = ReferenceStep(trace(Adam(), ctx), "float64")
    start = draw(1)
    reference.initialize(start)
    reference.step(draw(2))
    moved = np.abs(reference.variables["/encoder/w"] - start["encoder/w"])
    np.testing.assert_allclose(moved, 1e-6, rtol=1e-6)
    assert np.abs(reference.variables["/b"] - start["b"]).min() > 1e-4


def test_a_settable_limit_lives_in_the_scope_that_set_it() -> None:
    ctx = context({"clip_step_by_value": 0.5})
    ctx.at("encoder").set_param("clip_step_by_value", Settable(0.25))
    settable = [x for x in trace(Adam(), ctx).hyperparameters if x.settable]
    assert [(x.name, x.value, x.variable) for x in settable] == [
        ("learning_rate", 0.001, "/optimizers/learning_rate"),
        ("encoder/clip_step_by_value", 0.25, "/encoder/optimizers/clip_step_by_value"),
    ]
