"""The cosine schedule: its values, its exact fractions, its counters, and what it refuses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from oracles.schedule import base_rate
from oracles.settings import Cosine, settings_for
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import float32
from stepforge.frontend.errors import HyperparameterError, OptimizerError, UnknownKeywordError
from stepforge.frontend.graph import Graph
from stepforge.frontend.optimizers import Adam, AdamW
from stepforge.frontend.program import Program
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.schedules import CosineSchedule, train_last_step_var
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from support.programs import context, draw

LAST = "/trainer/train_last_global_step"
COUNTER = "/optimizers/cosine_schedule/global_step"
RATE = "/optimizers/learning_rate"


@functools.cache
def traced(schedule: CosineSchedule) -> Program:
    return trace(Adam(learning_rate=schedule), context(shapes={"b": (5,)}))


def rate_at(schedule: CosineSchedule, step: int, **variables: Any) -> float:
    """The rate of the step after `step` others, evaluated in float64."""
    reference = ReferenceStep(traced(schedule), "float64")
    reference.initialize({"b": np.zeros(5), COUNTER: np.int64(step), **variables})
    reference.step({"b": np.ones(5)})
    assert reference.variables[COUNTER] == step + 1
    return reference.variables[RATE]


@pytest.mark.parametrize("step", [0, 1, 4, 5, 6, 13, 14, 15, 24, 25, 999_999, 2**24 + 1, 2**40 + 3])
@pytest.mark.parametrize(("period", "warm_up"), [(10, 0), (10, 5), (1, 0), (7, 25)])
def test_a_period_in_steps(period: int, warm_up: int, step: int) -> None:
    schedule = CosineSchedule(period=period, warm_up_steps=warm_up, minimum=0.01, learning_rate=0.5)
    cosine = Cosine(period=period, warm_up=warm_up, minimum=0.01)
    expected = base_rate(settings_for("adam", learning_rate=0.5, cosine=cosine), step + 1)
    assert rate_at(schedule, step) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("last", [-1, 0, 1, 100, 101, 10**9])
@pytest.mark.parametrize("step", [0, 3, 33, 34, 50, 99, 100, 333_333_334, 2**33])
@pytest.mark.parametrize(("cycles", "warm_up"), [(1, 0), (3, 0), (3, 7)])
def test_cycles_of_a_settable_length(cycles: int, warm_up: int, step: int, last: int) -> None:
    schedule = CosineSchedule(cycles=cycles, warm_up_steps=warm_up, learning_rate=0.5)
    # A training that is no longer than its warm-up leaves a length of one step.
    known = max(last, warm_up + 1) if last >= 0 else last
    cosine = Cosine(cycles=cycles, last_step=known, warm_up=warm_up)
    expected = base_rate(settings_for("adam", learning_rate=0.5, cosine=cosine), step + 1)
    got = rate_at(schedule, step, **{LAST: np.int64(last)})
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_an_unknown_length_counts_as_a_thousand_million() -> None:
    schedule = CosineSchedule(cycles=2, learning_rate=0.5)
    assert rate_at(schedule, 250_000_000) == pytest.approx(0.25, rel=1e-9)
    assert rate_at(schedule, 250_000_000, **{LAST: np.int64(10**9)}) == pytest.approx(0.25)


def test_a_negative_period_is_a_number_of_cycles() -> None:
    cycles = trace(AdamW(), context({"cosine_schedule_steps": -3}))
    assert LAST in {v.name for v in cycles.variables}
    given = {LAST: np.int64(90)}
    negative = rate_at(CosineSchedule(period=-3, learning_rate=0.5), 40, **given)
    assert negative == rate_at(CosineSchedule(cycles=3, learning_rate=0.5), 40, **given)


def test_the_step_stays_an_integer_until_it_is_reduced() -> None:
    (entry,) = trace(Adam(), context({"cosine_schedule_steps": 10})).entry_points
    casts = [n for n in entry.graph.nodes if n.op == "cast" and n.inputs[0].op == "rem"]
    assert [n.inputs[0].dtype.name for n in casts] == ["int64"]
    single = ReferenceStep(trace(Adam(), context({"cosine_schedule_steps": 10})))
    single.initialize({**draw(1, dtype="float32"), COUNTER: np.int64(10 * 2**40 + 5)})
    single.step(draw(2, dtype="float32"))
    assert single.variables[RATE] == pytest.approx(0.0005, rel=1e-6)


def test_all_numbers_may_be_settable() -> None:
    schedule = CosineSchedule(
        period=Settable(10),
        warm_up_steps=Settable(2),
        minimum=Settable(0.01),
        learning_rate=Settable(0.5),
    )
    program = trace(Adam(learning_rate=schedule), context())
    reference = ReferenceStep(program, "float64")
    reference.initialize(draw(1))
    for name, value in (("steps", 4), ("warmup_steps", 3), ("min_learning_rate", 0.1)):
        reference.variables[f"/optimizers/cosine_schedule_{name}"] = value
    reference.variables["/optimizers/cosine_schedule_learning_rate"] = 0.9
    cosine = Cosine(period=4, warm_up=3, minimum=0.1)
    settings = settings_for("adam", learning_rate=0.9, cosine=cosine)
    for t in range(1, 12):
        reference.step(draw(2))
        assert reference.variables[RATE] == pytest.approx(base_rate(settings, t), rel=1e-13)
    settable = {x.name for x in program.hyperparameters if x.settable}
    assert "cosine_schedule_steps" in settable
    assert "learning_rate" not in settable


@pytest.mark.parametrize("explicit", [True, False])
def test_a_settable_base_under_a_schedule_of_the_context(explicit: bool) -> None:
    optimizer = Adam(learning_rate=Settable(0.5) if explicit else None)
    ctx = context({"cosine_schedule_steps": 10})
    if not explicit:
        ctx.set_param("learning_rate", Settable(0.5))
    program = trace(optimizer, ctx)
    reference = ReferenceStep(program, "float64")
    reference.initialize(draw(1))
    full = "/optimizers/cosine_schedule_learning_rate"
    assert reference.variables[full] == 0.5
    reference.variables[full] = 0.25
    reference.step(draw(2))
    assert reference.variables[RATE] == 0.25
    settable = {x.name: x.variable for x in program.hyperparameters if x.settable}
    assert settable == {"cosine_schedule_learning_rate": full}


def test_two_settable_bases_cannot_share_one_schedule() -> None:
    ctx = context({"cosine_schedule_steps": 10, "learning_rate": Settable(0.5)})
    ctx.at("encoder").set_param("learning_rate", Settable(0.25))
    with pytest.raises(OptimizerError, match="cosine_schedule_learning_rate', with other values"):
        trace(Adam(), ctx)


def test_every_group_has_its_own_rate_and_all_share_the_counter() -> None:
    ctx = context({"cosine_schedule_steps": 4, "learning_rate": 0.5})
    ctx.at("encoder").set_param("learning_rate", 0.1)
    reference = ReferenceStep(trace(Adam(), ctx), "float64")
    reference.initialize({**draw(1), COUNTER: np.int64(2)})
    reference.step(draw(2))
    assert reference.variables[RATE] == pytest.approx(0.25)
    assert reference.variables["/encoder" + RATE] == pytest.approx(0.05)
    assert reference.variables[COUNTER] == 3


def test_any_float_hyperparameter_may_be_scheduled() -> None:
    decay = CosineSchedule(period=4, learning_rate=0.5)
    program = trace(AdamW(weight_decay=decay, betas=(decay, None)), context())
    reference = ReferenceStep(program, "float64")
    reference.initialize({**draw(1), COUNTER: np.int64(2)})
    reference.step(draw(2))
    assert reference.variables["/optimizers/adam_weight_decay"] == pytest.approx(0.25)
    assert reference.variables["/optimizers/adam_beta1"] == pytest.approx(0.25)
    assert reference.variables[COUNTER] == 3
    expected = 0.75 * draw(2)["b"]
    np.testing.assert_allclose(reference.variables["/AdamOptimizer/b_1st_moment"], expected)


def test_period_and_cycles_together_are_an_error() -> None:
    both = {"cosine_schedule_steps": 10, "cosine_schedule_cycles": 2}
    with pytest.raises(HyperparameterError, match="a period or a number of cycles, not both") as e:
        trace(Adam(), context(both))
    assert "got: period 10 and cycles 2" in str(e.value)
    with pytest.raises(HyperparameterError, match="not both"):
        CosineSchedule(period=10, cycles=2)
    assert trace(Adam(learning_rate=CosineSchedule(period=5)), context(both))


def test_neither_is_an_error_for_an_explicit_schedule_and_off_in_a_context() -> None:
    with pytest.raises(HyperparameterError, match="needs a period or a number of cycles"):
        trace(Adam(learning_rate=CosineSchedule()), context())
    assert CosineSchedule.from_context(Context()) is None
    off = context({"cosine_schedule_steps": 0, "cosine_schedule_warmup_steps": 5})
    assert COUNTER not in {v.name for v in trace(Adam(), off).variables}


@pytest.mark.parametrize(
    "wrong", [{"cycles": -1}, {"warm_up_steps": -1}, {"minimum": -0.1}, {"period": 1.5}]
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HyperparameterError):
        CosineSchedule(**{"period": 1, **wrong} if "cycles" not in wrong else wrong)


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(UnknownKeywordError, match="did you mean 'warm_up_steps'"):
        CosineSchedule(warmup_steps=3)  # pyright: ignore[reportCallIssue]


def test_the_length_of_the_training_may_be_set_beforehand() -> None:
    ctx = Context()
    ctx.set_param("train_last_global_step", 500)
    assert train_last_step_var(ctx).value == 500
    program = trace(Adam(), context({"cosine_schedule_cycles": 1, "train_last_global_step": 70}))
    (last,) = [x for x in program.hyperparameters if x.name == "train_last_global_step"]
    assert (last.value, last.settable, last.variable) == (70, True, LAST)


def test_a_schedule_can_be_used_by_itself() -> None:
    ctx, graph = Context(), Graph()
    node = CosineSchedule(period=4).node(ctx, graph, 0.5, float32)
    assert (node.dtype, node.shape) == (float32, ())
    assert COUNTER in graph.variable_values


def remembering(scope: str, **params: object) -> Adam:
    """An optimizer that remembers the parameters of another Context."""
    return Adam.from_context(context(params), scope=scope)


def test_entry_points_agree_on_the_length_of_the_training() -> None:
    pair = {
        "a": remembering("a", cosine_schedule_cycles=2, train_last_global_step=70),
        "b": remembering("b", cosine_schedule_cycles=2, train_last_global_step=80),
    }
    ctx = context({})
    with pytest.raises(OptimizerError, match="'a' and 'b' share the variable '/trainer/") as error:
        trace(pair, ctx)
    assert all(text in str(error.value) for text in ("70", "80", "a period in steps"))
    assert ctx.find_variable(LAST) is None


def test_only_cycles_ask_for_the_length_of_the_training() -> None:
    pair = {
        "a": remembering("a", cosine_schedule_cycles=2, train_last_global_step=70),
        "b": remembering("b", learning_rate=0.5, train_last_global_step=80),
    }
    ctx = context({})
    trace(pair, ctx)
    assert ctx.get_variable(LAST).value == 70
