"""Slots in 8-bit blocks together with what else a step can do, on every backend.

Each step starts from the device's state and is compared with the evaluator in float64.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from stepforge import frontend
from stepforge.frontend.reference import ReferenceStep

from .cases import PLACES, Place

pytestmark = pytest.mark.compiler

BLOCKS = {"w": 256, "odd": 201}
SHAPES: Mapping[str, tuple[int, ...]] = {"w": (96, 136), "odd": (33, 402), "small": (40,)}
SCALE = 64.0
CLIP, EMA = {"clip_global_norm": 40.0}, {"ema_decay": 0.75}
UNSCALE, DRAWN = {"loss_scale": SCALE}, {"stochastic_rounding": True}
TAKEN: Mapping[str, Mapping[str, Any]] = {
    "clip": CLIP,
    "clip_nan": {"clip_nan": True},
    "ema": EMA,
    "unscale": UNSCALE,
    "drawn_ema": {**DRAWN, **EMA},
    "together": {**CLIP, **EMA, **UNSCALE},
}
SKIPPING: Mapping[str, Mapping[str, Any]] = {
    "skip": {},
    "drawn": DRAWN,
    "all": {**CLIP, **EMA, **UNSCALE, **DRAWN},
}
STEPS, SKIPPED, RATE = 5, 3, 0.001
COUNT = "/optimizers/skipped_steps"

Array = np.ndarray[Any, np.dtype[Any]]


class Stepper:
    def __init__(self, place: Place, *, skips: bool) -> None:
        base = {"slot_dtype": "int8", "skip_nonfinite": skips}
        optimizers = {}
        for name, params in (SKIPPING if skips else TAKEN).items():
            context = frontend.Context()
            context.set_params({**base, **params})
            optimizers[name] = frontend.AdamW.from_context(context, scope=name)
        context = frontend.Context()
        context.set_params(base)
        self.made = frontend.compile_optimizer(
            optimizers,
            {name: (shape, "float32") for name, shape in SHAPES.items()},
            target=place.wide_target or place.target,
            context=context,
        )
        self.step = self.made.load(device=place.device)


@pytest.fixture(scope="module", params=[pytest.param(p, marks=p.marks, id=p.name) for p in PLACES])
def steppers(request: pytest.FixtureRequest) -> Iterator[dict[bool, Stepper]]:
    found = {skips: Stepper(request.param, skips=skips) for skips in (False, True)}
    yield found
    for stepper in found.values():
        stepper.step.close()


def gradients(t: int, params: Mapping[str, Any]) -> dict[str, Array]:
    """Of a norm near 160, in one step near 3; some elements zero, and one block.

    Multiples of 1/8, or of 1/512 in that step: sums of their squares are exact in any order.
    """
    rng = np.random.default_rng(t)
    size = (1 / 64 if t == 2 else 1.0) * params.get("loss_scale", 1.0)
    found = {}
    for name, shape in SHAPES.items():
        g = np.round(rng.standard_normal(shape) * 8.0) / 8.0 * size
        g.reshape(-1)[:256] = 0.0
        found[name] = g.astype(np.float32)
    return found


@pytest.mark.parametrize("name", [*TAKEN, *SKIPPING])
def test_each_step_is_the_evaluator_s(steppers: dict[bool, Stepper], name: str) -> None:
    skips = name in SKIPPING
    params = (SKIPPING if skips else TAKEN)[name]
    stepper = steppers[skips]
    step, exact = stepper.step, ReferenceStep(stepper.made.program, "float64")
    rng = np.random.default_rng(1)
    start = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in SHAPES.items()}
    step.initialize(start)
    exact.initialize(start)
    for t in range(STEPS):
        before = step.snapshot().values
        for path, value in before.items():
            wide = value.dtype == np.float32
            exact.variables[path] = value.astype(np.float64) if wide else value
        given = gradients(t, params)
        bad = t == SKIPPED and (skips or "clip_nan" in params)
        if bad:
            given["w"][5, 7] = math.nan
        step.step(given, function=name)
        after = step.snapshot().values
        if bad and skips:
            assert [p for p in after if after[p].tobytes() != before[p].tobytes()] == [COUNT]
            continue
        exact.step(given, name)
        for n in SHAPES:
            check_values(n, name, after, exact.variables)
        for n in BLOCKS:
            check_blocks(n, name, after, exact.variables)
    if skips:
        assert int(step.variables[COUNT]) == 1


def check_values(n: str, entry: str, after: Mapping[str, Array], exact: Mapping[str, Any]) -> None:
    """Parameters and averages: rounded once each, and their change to 2^-19 of it.

    A change is at most 8 rates.
    """
    for path in (f"/{n}", f"/{entry}/{n}_ema"):
        if path in after:
            error = np.abs(after[path].astype(np.float64) - exact[path])
            assert (error <= np.abs(exact[path]) * 2.0**-23 + 8 * RATE * 2.0**-19).all(), path


def check_blocks(n: str, entry: str, after: Mapping[str, Array], exact: Mapping[str, Any]) -> None:
    """L within rounding, and codes at most one off: gradients of few bits lie where codes change,
    and draws are those of the float32 number. How codes are rounded is in `test_eight_bits`."""
    for kind in ("1st_moment", "2nd_moment"):
        path = f"/{entry}/{n}_{kind}"
        codes, scale = after[path], after[f"{path}_scale"].astype(np.float64)
        assert codes.dtype == np.int8
        assert codes.shape == (codes.size // BLOCKS[n], BLOCKS[n])
        expected = np.asarray(exact[f"{path}_scale"])
        assert (np.abs(scale - expected) <= expected * 2.0**-19).all(), path
        off = np.abs(codes.astype(np.int64) - np.asarray(exact[path]).astype(np.int64))
        assert off.max() <= 1, path


@pytest.mark.parametrize("skips", [False, True])
def test_no_combination_takes_memory_of_the_tensors_size(
    steppers: dict[bool, Stepper], *, skips: bool
) -> None:
    count = sum(math.prod(shape) for shape in SHAPES.values())
    for name, found in steppers[skips].made.statistics.functions.items():
        if name == "self_test":
            continue
        assert (found.copies, found.late_reads, found.waits) == (0, 0, 0), name
        # Partial sums, two numbers for each block of each moment, and single numbers.
        assert (found.transient_bytes or 0) <= 0.1 * count + 2_048, name
