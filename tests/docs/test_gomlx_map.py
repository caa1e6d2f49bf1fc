"""docs/gomlx-map.md: complete, and every expression does what its row says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from docs import pages
from stepforge.frontend import Adam, Context, Graph, by_name, float32
from stepforge.frontend.optimizers.values import resolve_settings
from stepforge.frontend.variables import Variable

PAGE = "gomlx-map.md"
IDENTIFIERS = Path(__file__).parent / "gomlx_identifiers.txt"
ROWS = {row[0].strip("`"): row for row in pages.rows(PAGE)}


def identifiers() -> dict[str, Any]:
    """The seed's identifiers in order; those with a value, with it."""
    found: dict[str, Any] = {}
    for line in IDENTIFIERS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition(" = ")
            found[name] = ast.literal_eval(value) if value else None
    return found


VALUES = {name: value for name, value in identifiers().items() if value is not None}


@pytest.fixture
def namespace() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(pages.fence(PAGE, "From GoMLX's optimizers to stepforge", "python"), names)
    return names


def evaluated(name: str, names: dict[str, Any]) -> Any:
    return eval(ROWS[name][1].strip("`"), names)


def test_every_identifier_has_one_row() -> None:
    assert [row[0].strip("`") for row in pages.rows(PAGE)] == list(identifiers())


@pytest.mark.parametrize("name", ROWS)
def test_the_expression_does_what_the_row_says(name: str, namespace: dict[str, Any]) -> None:
    assert evaluated(name, namespace) is not False


@pytest.mark.parametrize("name", VALUES)
def test_constants_have_the_value_of_the_seed(name: str, namespace: dict[str, Any]) -> None:
    assert evaluated(name, namespace) == VALUES[name]


# What an expression gives, where the row's meaning is a value: (identifier, question, answer).
ANSWERS: tuple[tuple[str, Callable[[Any], Any], Any], ...] = (
    ("KnownOptimizers", lambda x: type(x).__name__, "Adam"),
    ("GetGlobalStep", lambda x: x, 0),
    ("GetGlobalStepVar", lambda x: (x.path, x.dtype.name), ("/global_step", "int64")),
    ("IncrementGlobalStepGraph", lambda x: (x.dtype.name, x.shape), ("float32", ())),
    ("LearningRateVar", lambda x: (x.path, x.dtype.name), ("/optimizers/learning_rate", "float32")),
    ("ClipNaNsInGradients", lambda x: x.op, "where"),
    ("ClipNaNsInUpdates", lambda x: x.op, "where"),
    ("ClipStepByValue", lambda x: x.shape, (4, 3)),
    ("MonotonicProjection", lambda x: x.shape, (4, 3)),
    ("AdamConfig.Betas", lambda x: x.betas, (0.8, 0.99)),
    ("AdamConfig.DType", lambda x: x.dtype, "float64"),
    ("AdamConfig.Epsilon", lambda x: x.epsilon, 1e-3),
    ("AdamConfig.FromContext", lambda x: x.epsilon, 1e-3),
    ("AdamConfig.LearningRate", lambda x: x.learning_rate, 0.003),
    ("AdamConfig.Scope", lambda x: x.scope, "Second"),
    ("AdamConfig.WeightDecay", lambda x: x.weight_decay, 0.01),
    ("AdamConfig.WithBackoffSteps", lambda x: x.backoff_steps, 100),
    ("ByName", lambda x: type(x).__name__, "AdamW"),
    ("FromContext", lambda x: type(x).__name__, "AdamW"),
    ("SGDConfig.WithDecay", lambda x: x.decay, False),
    ("SGDConfig.WithLearningRate", lambda x: x.learning_rate, 0.05),
    ("cosineschedule.Config.FromContext", lambda x: x.period, 1000),
    ("cosineschedule.Config.NumCycles", lambda x: x.cycles, 3),
    ("cosineschedule.Config.Done", lambda x: x.learning_rate.period, 1000),
)


@pytest.mark.parametrize(("name", "question", "answer"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_the_expression_gives(
    name: str, question: Callable[[Any], Any], answer: Any, namespace: dict[str, Any]
) -> None:
    assert question(evaluated(name, namespace)) == answer


def test_the_trace_is_an_output(namespace: dict[str, Any]) -> None:
    evaluated("TraceNaNInGradients", namespace)
    assert list(namespace["ctx"].outputs(namespace["graph"])) == ["nonfinite/encoder/w"]


def test_the_sgd_step_sets_the_variable_and_clear_deletes_nothing_else(
    namespace: dict[str, Any],
) -> None:
    evaluated("SGDConfig.UpdateGraphWithGradients", namespace)
    graph, ctx = namespace["graph"], namespace["ctx"]
    assert {"/encoder/w", "/global_step"} <= graph.variable_values.keys()
    before = [v.path for v in ctx]
    evaluated("SGDConfig.Clear", namespace)
    assert [v.path for v in ctx] == before


# The differences that the table names, and the general ones above it.


def updated(optimizer_name: str, params: Mapping[str, Any], **overrides: Any) -> Any:
    """The resolved hyperparameters and the Context after one update of one variable."""
    ctx = Context()
    ctx.set_params(params)
    weight: Variable = ctx.variable("w", (3,))
    graph = Graph()
    optimizer = by_name(ctx, optimizer_name, **overrides)
    optimizer.update_graph_with_gradients(ctx, {"w": graph.input("g", float32, (3,))})
    return {k: v.value for k, v in resolve_settings(optimizer, ctx, weight).items()}, ctx


def test_adamw_decays_by_its_default() -> None:
    assert updated("adamw", {})[0]["weight_decay"] == 0.004
    assert updated("adam", {})[0]["weight_decay"] == 0.0


def test_backoff_is_read_from_the_context() -> None:
    assert updated("adam", {"adam_backoff": 7})[0]["backoff_steps"] == 7


def test_an_argument_goes_before_the_context() -> None:
    assert updated("adam", {"adam_epsilon": 0.5}, epsilon=0.25)[0]["epsilon"] == 0.25


def test_the_step_counter_of_adam_is_an_int64() -> None:
    _, ctx = updated("adam", {"adam_dtype": "float64"})
    assert ctx.get_variable("/AdamOptimizer/step").dtype.name == "int64"


def test_clear_deletes_slots_and_counter_and_keeps_the_rest() -> None:
    _, ctx = updated("adam", {})
    Adam().clear(ctx)
    assert [v.path for v in ctx] == ["/w", "/global_step", "/optimizers/learning_rate"]


def test_a_rate_of_zero_is_zero() -> None:
    assert updated("sgd", {}, learning_rate=0.0)[0]["learning_rate"] == 0.0
