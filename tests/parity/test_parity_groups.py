"""Rules of a Context make groups in one artifact, and each group is within the bars of its own."""

from collections.abc import Mapping

import numpy as np
import pytest

from oracles import inputs, judge
from oracles.settings import SLOT_SUFFIXES, Settings, settings_for
from stepforge import frontend, runtime

from .cases import PLACES, Place

pytestmark = pytest.mark.compiler

# What the rules come to for each parameter, none of a size of whole vectors.
PARAMETERS: Mapping[str, Settings] = {
    "encoder/w": settings_for("adamw", weight_decay=0.05),
    "encoder/bias": settings_for("adamw", weight_decay=0.0),
    "norm.weight": settings_for("adamw", weight_decay=0.0),
    "head/w": settings_for("adamw", weight_decay=0.05, learning_rate=0.02, beta1=0.8),
}
COUNT = 519
STEPS = (1, 2, 100, 2**24)


def grouped() -> frontend.Context:
    ctx = frontend.Context()
    ctx.set_params_for("*bias", {"adam_weight_decay": 0.0})
    ctx.set_params_for("norm.*", {"adam_weight_decay": 0.0})
    ctx.set_params_for("head/*", {"learning_rate": 0.1, "adam_beta1": frontend.Settable(0.5)})
    ctx.freeze("frozen*")
    return ctx


@pytest.mark.parametrize(
    "place", [pytest.param(x, id=x.name, marks=x.marks) for x in PLACES if x.name != "cpu-task"]
)
def test_each_group_is_within_the_bars_of_its_own(place: Place) -> None:
    made = frontend.compile_optimizer(
        frontend.AdamW(weight_decay=0.05),
        dict.fromkeys((*PARAMETERS, "frozen/w"), ((COUNT,), "float32")),
        target=place.target,
        context=grouped(),
    )
    assert [group.variables for group in made.manifest.groups] == [
        ("/encoder/w",),
        ("/encoder/bias", "/norm.weight"),
        ("/head/w",),
    ]
    with made.load(device=place.device) as step:
        for t in STEPS:
            assert not _faults(step, t, place)


def _faults(step: runtime.CompiledStep, t: int, place: Place) -> list[str]:
    """What one step did beyond the bars, from states drawn for each parameter."""
    drawn = {
        name: inputs.random_state(settings, COUNT, seed=t % 1009 + i)
        for i, (name, settings) in enumerate(PARAMETERS.items())
    }
    step.initialize({name: x.state["parameter"] for name, x in drawn.items()})
    for name, x in drawn.items():
        for slot, suffix in SLOT_SUFFIXES.items():
            step.variables[f"/AdamOptimizer/{name}{suffix}"] = x.state[slot]
    for path in ("/global_step", "/AdamOptimizer/step"):
        step.variables[path] = t - 1
    step.hyperparameters["head/*:learning_rate"] = 0.02
    step.hyperparameters["head/*:adam_beta1"] = 0.8
    step.step({name: x.gradient for name, x in drawn.items()})
    lines: list[str] = []
    for name, settings in PARAMETERS.items():
        after = {
            slot: np.asarray(step.variables[f"/AdamOptimizer/{name}{suffix}"])
            for slot, suffix in SLOT_SUFFIXES.items()
        }
        after["parameter"] = np.asarray(step.parameters[name])
        x = drawn[name]
        measures = judge.judge(settings, x.state, x.gradient, after, t, place.bars)
        lines += [f"{name}, t={t}: {m}" for m in measures if not m.used <= 1.0]
    return lines
