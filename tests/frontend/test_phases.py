"""A traced step in two phases: what each takes and gives, and that together they are the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge.frontend.clipping import sum_of_squares
from stepforge.frontend.context import Context
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.graph import Graph
from stepforge.frontend.optimizers import Adam, AdamW, StochasticGradientDescent
from stepforge.frontend.program import EntryPoint
from stepforge.frontend.program_json import program_from_json, program_to_json
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from support.programs import SHAPES, context, draw

CLIP, SKIP = {"clip_global_norm": 1.5}, {"skip_nonfinite": True}
# Name -> settings, the partials and their dtype, roles of the first phase's arguments.
CASES: dict[str, tuple[dict[str, Any], str, str, list[str]]] = {
    "clip": (CLIP, "sum_of_squares", "float32", ["gradient"] * 3),
    "settable": (
        {"clip_global_norm": Settable(1.5)},
        *("sum_of_squares", "float32", ["gradient"] * 3),
    ),
    "skip": (SKIP, "nonfinite_count", "int32", ["gradient"] * 3),
    "both": ({**CLIP, **SKIP}, "sum_of_squares", "float32", ["gradient"] * 3),
    "scaled": (
        {**CLIP, "loss_scale": Settable(8.0)},
        *("sum_of_squares", "float32", [*["gradient"] * 3, "hyperparameter"]),
    ),
    "all": (
        {**CLIP, **SKIP, "ema_decay": 0.75, "loss_scale": 8.0, "nanlogger": True},
        *("sum_of_squares", "float32", ["gradient"] * 3),
    ),
    "zeroed": ({**CLIP, "clip_nan": True}, "sum_of_squares", "float32", ["gradient"] * 3),
}


def roles(entry: EntryPoint) -> list[str]:
    return [x.role for x in entry.arguments]


@pytest.mark.parametrize("name", CASES)
def test_what_the_phases_take_and_give(name: str) -> None:
    settings, label, dtype, first_takes = CASES[name]
    program = trace(AdamW(), context(settings), phases=True)
    step, first, second = program.entry_points
    assert [x.name for x in program.entry_points] == ["step", "reduce", "apply"]
    assert roles(first) == first_takes
    assert [(x.name, x.role, x.node.dtype.name, x.node.shape) for x in first.results] == [
        (label, "partials", dtype, (1,))
    ]
    assert first.parameters == ()
    taken = [(x.name, x.role) for x in second.arguments]
    given = [(x.name, x.role) for x in step.arguments]
    place = taken.index((label, "partials"))
    assert taken[place - 1][1] == "gradient"
    # What the sum alone needs, such as the loss scale of the norm, is still needed by the rule.
    assert taken[:place] + taken[place + 1 :] == given
    assert [(x.name, x.role) for x in second.results] == [(x.name, x.role) for x in step.results]
    assert second.parameters == step.parameters
    assert not any(x.op.startswith("reduce_sum") for x in second.graph.nodes) or name == "all"


@pytest.mark.parametrize("precision", [None, "float64"])
@pytest.mark.parametrize("name", CASES)
def test_together_they_are_the_step(name: str, precision: str | None) -> None:
    program = trace(AdamW(), context(CASES[name][0]), phases=True)
    program = program_from_json(program_to_json(program))
    whole, halves = ReferenceStep(program, precision), ReferenceStep(program, precision)
    for step in (whole, halves):
        step.initialize(draw(1, dtype="float32"))
    for t in range(4):
        gradients = draw(100 + t, dtype="float32")
        if t == 2:
            gradients["b"][3] = np.nan
        outputs = whole.step(gradients)
        partials = halves.step(gradients, "reduce")
        assert halves.step({**gradients, **partials}, "apply").keys() == outputs.keys()
        for path, value in whole.variables.items():
            np.testing.assert_array_equal(halves.variables[path], value, err_msg=path)


def test_partials_of_shards_add_up() -> None:
    """Each shard keeps some of the variables; the sum of all partials is that of the whole."""
    whole = trace(Adam(), context(CLIP), phases=True)
    shards = {
        name: trace(Adam(), context(CLIP, {name: shape}), phases=True)
        for name, shape in SHAPES.items()
    }
    gradients = draw(3, dtype="float32")
    total = ReferenceStep(whole, "float64").step(gradients, "reduce")["sum_of_squares"]
    parts = [
        ReferenceStep(program, "float64").step({name: gradients[name]}, "reduce")["sum_of_squares"]
        for name, program in shards.items()
    ]
    np.testing.assert_allclose(sum(parts), total, rtol=1e-15)


def test_several_optimizers_have_phases_of_their_own() -> None:
    made = trace({"a": Adam(scope="A"), "step": Adam()}, context(SKIP), phases=True)
    assert [x.name for x in made.entry_points] == [
        *("a", "a_reduce", "a_apply", "step", "reduce", "apply")
    ]


def test_a_step_that_sums_nothing_has_no_phases() -> None:
    ctx = context({"clip_nan": True})
    with pytest.raises(OptimizerError, match="'step' has no phases") as caught:
        trace(Adam(), ctx, phases=True)
    assert "expected: clip_global_norm or skip_nonfinite" in str(caught.value)


def test_phases_of_one_optimizer_alone() -> None:
    """What is added after the update would be a second sum."""

    def again(ctx: Context, graph: Graph) -> None:
        inputs = [node for name, node in graph.inputs.items() if name.startswith("gradient")]
        graph.partials[sum_of_squares(inputs)] = "another"

    with pytest.raises(OptimizerError, match="got: 2 such sums"):
        trace(Adam(), context(CLIP), phases=True, after_update=again)


@pytest.mark.parametrize(
    ("name", "other"), [("step", "apply"), ("step", "reduce"), ("x", "x_reduce"), ("x", "x_apply")]
)
def test_names_of_phases_are_taken(name: str, other: str) -> None:
    named = {name: Adam(scope="A"), other: StochasticGradientDescent()}
    with pytest.raises(OptimizerError, match=f"'{other}' would be taken for a phase of '{name}'"):
        trace(named, context(CLIP), phases=True)


def test_without_phases_nothing_else_is_there() -> None:
    made = trace({"step": Adam(), "apply": Adam(scope="A")}, context(CLIP))
    assert [x.name for x in made.entry_points] == ["step", "apply"]
