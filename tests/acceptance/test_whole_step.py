"""Clipping by the global norm, unscaling, averages and skipped steps, compiled, on every target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend import KNOWN_OPTIMIZERS, Context, Settable, compile_optimizer
from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.reference import ReferenceStep
from support.programs import draw

pytestmark = pytest.mark.compiler

# A sum of two levels, one of one, and none at all.
SHAPES: Mapping[str, tuple[int, ...]] = {"layer/w": (127, 130), "layer/b": (6,), "scale": ()}
TARGETS = ["cpu", pytest.param("vulkan", marks=pytest.mark.vulkan), "vmvx"]
CLIP, EMA, SCALE = {"clip_global_norm": 40.0}, {"ema_decay": 0.75}, {"loss_scale": 48.0}
SKIP = {"skip_nonfinite": True}
TAKEN: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "adam_clip": ("adam", CLIP),
    "adam_scale": ("adam", SCALE),
    "adam_ema": ("adam", EMA),
    "adamw_three": ("adamw", {**CLIP, **EMA, **SCALE}),
    "sgd_clip": ("sgd", CLIP),
    "sgd_ema": ("sgd", {**EMA, "clip_nan": True}),
    "sgd_scale": ("sgd", {"loss_scale": Settable(48.0)}),
}
SKIPPED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "adam_skip": ("adam", SKIP),
    "adamw_all": ("adamw", {**CLIP, **EMA, **SCALE, **SKIP}),
    "sgd_all": ("sgd", {**CLIP, **EMA, **SCALE, **SKIP, "cosine_schedule_steps": 7}),
}
COUNT = "/optimizers/skipped_steps"
BAD = (math.nan, math.inf, -math.inf)
STORMS = {t: BAD[i % 3] for i, t in enumerate((0, 3, 4, 5, 9, 13, 14, 22, 23, 26))}


@cache
def artifact(target: str, *, skips: bool) -> Artifact:
    """An entry point for each row, over the same parameters."""
    entries: dict[str, Any] = {}
    for name, (rule, params) in (SKIPPED if skips else TAKEN).items():
        seen = Context()
        seen.set_params(params)
        entries[name] = KNOWN_OPTIMIZERS[rule](seen, scope=name)
    context = Context()
    context.set_params(SKIP if skips else {})
    return compile_optimizer(
        entries, {k: (v, "float32") for k, v in SHAPES.items()}, target=target, context=context
    )


def start() -> dict[str, Any]:
    return draw(1, SHAPES, "float32")


def gradients(t: int, scale: float) -> dict[str, Any]:
    """Of norms around 130, 3 in every third step, times the loss scale."""
    size = np.float32(scale * (0.02 if t % 3 == 2 else 1.0))
    return {k: np.array(x * size) for k, x in draw(1000 + t, SHAPES, "float32").items()}


def rate(rule: str) -> float:
    return 0.1 if rule == "sgd" else 0.001


def check(step: runtime.CompiledStep, exact: ReferenceStep, name: str, t: int, rule: str) -> None:
    """The state of one entry point, within what t steps in float32 round.

    Each step rounds a value once (2^-24) and its change a few times: sums of 16,510 squares in
    parts, a root, two quotients and expm1 to 5 units each are within 2^-19 of it. Adam's change is
    at most 8 rates, SGD's as its largest gradient, of 5 deviations. Moments are judged by the
    largest of their kind, since terms of a small one may have been large.
    """
    kinds = {"/": [f"/{k}" for k in SHAPES]}
    for kind in ("1st_moment", "2nd_moment", "ema"):
        kinds[kind] = [x for x in (f"/{name}/{k}_{kind}" for k in SHAPES) if x in exact.variables]
    for kind, paths in kinds.items():
        size = max((np.abs(exact.variables[path]).max() for path in paths), default=0.0)
        change = size if "moment" in kind else rate(rule) * 8.0
        bound = t * (size * 2.0**-24 + change * 2.0**-19)
        for path in paths:
            error = np.abs(step.variables[path].astype(np.float64) - exact.variables[path]).max()
            assert error <= bound, f"{name} {path} after {t}: {error:.3g} beyond {bound:.3g}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", TAKEN)
def test_20_steps_are_within_rounding_of_float64(name: str, target: str) -> None:
    rule, params = TAKEN[name]
    made = artifact(target, skips=False)
    exact = ReferenceStep(made.program, "float64")
    exact.initialize(start())
    with made.load() as step:
        step.initialize(start())
        for t in range(1, 21):
            given = gradients(t, 48.0 if "loss_scale" in params else 1.0)
            step.step(given, function=name)
            exact.step(given, name)
            if t in (1, 20):
                check(step, exact, name, t, rule)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SKIPPED)
def test_storms_change_no_bit_but_the_count(name: str, target: str) -> None:
    """30 steps, 10 of which have one bad element, in each of the gradients in turn."""
    assert len(STORMS) == 10
    rule, params = SKIPPED[name]
    made = artifact(target, skips=True)
    exact = ReferenceStep(made.program, "float64")
    exact.initialize(start())
    with made.load() as step:
        step.initialize(start())
        for t in range(30):
            given = gradients(t, 48.0 if "loss_scale" in params else 1.0)
            if t in STORMS:
                array = given[list(SHAPES)[t % 3]]
                array[(-1,) * array.ndim] = STORMS[t]
            before = step.snapshot().values
            step.step(given, function=name)
            exact.step(given, name)
            after = step.snapshot().values
            changed = {path for path in after if after[path].tobytes() != before[path].tobytes()}
            assert (changed == {COUNT}) == (t in STORMS), t
        check(step, exact, name, 20, rule)
        assert (step.global_step, int(step.variables[COUNT])) == (20, 10)


def test_slots_of_one_kind_are_read_by_parameter() -> None:
    with artifact("cpu", skips=True).load() as step:
        step.initialize(start())
        step.step(gradients(1, 1.0), function="adam_skip")
        with pytest.raises(runtime.InputError, match=r"several optimizers keep 'ema'.*sgd_all"):
            step.slots("ema")
        with pytest.raises(runtime.UnknownNameError, match="no slots 'emas'; there are '1st"):
            step.slots("emas")
