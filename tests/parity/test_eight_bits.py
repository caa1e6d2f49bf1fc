"""Slots in 8-bit blocks, on every backend, against the formulas in `frontend/blocks.py`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracles import formulas, judge
from oracles.settings import settings_for
from stepforge import frontend, passes

from .cases import PLACES, Place

pytestmark = pytest.mark.compiler

SHAPES: Mapping[str, tuple[int, ...]] = {
    "w": (128, 130),  # 65 blocks of 256
    "odd": (67, 201),  # 67 blocks of 201
    "prime": (4_099,),  # has no blocks
    "small": (4_095,),
}
BLOCKS = {"w": 256, "odd": 201}
OPTIMIZERS = {"adamw": False, "adamax": False, "drawn": True}
LEVELS = {"m": 127.0, "v": 255.0}
STEPS = 6

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Stepper:
    made: Any
    step: Any
    place: Place

    def slots(self, entry: str, name: str) -> dict[str, Array]:
        """The numbers that the slots stand for, in the variable's shape."""
        found = {}
        for slot, kind in (("m", "1st_moment"), ("v", "2nd_moment")):
            path = f"/{entry}/{name}_{kind}"
            stored = np.asarray(self.step.variables[path])
            if name in BLOCKS:
                assert stored.dtype == np.int8
                assert stored.shape == (stored.size // BLOCKS[name], BLOCKS[name])
                top = np.asarray(self.step.variables[f"{path}_scale"]).astype(np.float64)[:, None]
                code = stored.astype(np.float64) + (128.0 if slot == "v" else 0.0)
                share = code / LEVELS[slot]
                linear = slot == "m" or entry == "adamax"
                stored = share * top if linear else share**2 * top
            found[slot] = np.asarray(stored, np.float64).reshape(SHAPES[name])
        return found

    def parameters(self) -> dict[str, Array]:
        return {name: np.asarray(self.step.parameters[name]) for name in SHAPES}


@pytest.fixture(
    scope="module",
    params=[pytest.param(p, marks=p.marks, id=p.name) for p in PLACES if p.name != "cpu-task"],
)
def stepper(request: pytest.FixtureRequest) -> Iterator[Stepper]:
    place: Place = request.param
    optimizers = {}
    for name, drawn in OPTIMIZERS.items():
        context = frontend.Context()
        context.set_params({"slot_dtype": "int8", "stochastic_rounding": drawn})
        kind = frontend.Adamax if name == "adamax" else frontend.AdamW
        optimizers[name] = kind.from_context(context, scope=name)
    parameters = {name: (shape, "float32") for name, shape in SHAPES.items()}
    target = place.wide_target or place.target
    made = frontend.compile_optimizer(optimizers, parameters, target=target)
    with made.load(device=place.device) as step:
        yield Stepper(made, step, place)


def gradients(step: int) -> dict[str, Array]:
    """Of sizes that differ by 10,000 inside of a block, some zero, in some steps all of a block."""
    rng = np.random.default_rng(step)
    found = {}
    for name, shape in SHAPES.items():
        g = rng.standard_normal(shape) * 10.0 ** rng.uniform(-4, 0, shape)
        g[rng.random(shape) < 0.1] = 0.0
        flat = g.reshape(-1)
        flat[:256] = 0.0
        found[name] = flat.reshape(shape).astype(np.float32)
    return found


@pytest.mark.parametrize("entry", OPTIMIZERS)
def test_each_step_is_the_formula_s_and_its_codes_are_next_to_it(
    stepper: Stepper, entry: str
) -> None:
    settings = settings_for("adamax" if entry == "adamax" else "adamw")
    rng = np.random.default_rng(1)
    start = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in SHAPES.items()}
    stepper.step.initialize(start)
    off = dict[str, list[Array]](m=[], v=[])
    for t in range(1, STEPS + 1):
        before = stepper.parameters()
        slots = {name: stepper.slots(entry, name) for name in SHAPES}
        g = gradients(t)
        stepper.step.step(g, function=entry)
        after = stepper.parameters()
        for name in SHAPES:
            exact = formulas.step(settings, before[name], g[name], slots[name], t)
            allowed = judge.allow(settings, before[name], exact, t, stepper.place.bars)
            # Decoding rounds each old moment four times more than the formula.
            slack = {s: allowed[s].total + 2.0**-21 * np.abs(slots[name][s]) for s in ("m", "v")}
            wide = 2.0**-20 * np.abs(exact.step) + allowed["parameter"].total
            assert (np.abs(after[name] - exact.parameter) <= wide * 4.0).all(), (name, t)
            new = stepper.slots(entry, name)
            for slot in ("m", "v"):
                if name not in BLOCKS:
                    assert (np.abs(new[slot] - exact.slots[slot]) <= slack[slot]).all()
                    continue
                linear = slot == "m" or entry == "adamax"
                levels = codes_of(new[slot], exact.slots[slot], name, LEVELS[slot], linear)
                off[slot].append(check_codes(*levels, slot, drawn=OPTIMIZERS[entry]))
    if OPTIMIZERS[entry]:
        for slot, found in off.items():
            errors = np.concatenate(found)
            # A draw's error is below 1 in size, with a variance of at most 1/4.
            assert abs(errors.mean()) < 5 * 0.5 / np.sqrt(errors.size), slot


def codes_of(
    got: Array, exact: Array, name: str, levels: float, linear: bool
) -> tuple[Array, Array]:
    """(what is stored, what should be) in units of the last code."""
    rows = exact.reshape(-1, BLOCKS[name])
    top = np.abs(rows).max(axis=1, keepdims=True)
    top = np.where(top == 0, 1.0, top)
    share, stored = rows / top, got.reshape(rows.shape) / top
    if not linear:
        share, stored = np.sqrt(share), np.sqrt(stored)
    return stored * levels, share * levels


def check_codes(stored: Array, level: Array, slot: str, *, drawn: bool) -> Array:
    """Within the rounding; the errors of the codes that are neither the least nor the greatest."""
    slack = 255.0 * 2.0**-19
    if slot == "m":
        most = 1.0 if drawn else 0.5
        assert (np.abs(stored - level) <= most + slack).all()
    else:
        assert (stored[level == 0] == 0).all()
        assert (stored[level > 0] >= 1.0 - slack).all(), "a divisor became zero"
        assert (stored <= np.maximum(level + 1.0, 1.0) + slack).all()
        least = level - 1.0 if drawn else level * (1 - 2.0**-17)
        assert (stored >= least - slack).all()
    inside = (np.abs(level) > 1.0) & (np.abs(level) < (126.0 if slot == "m" else 254.0))
    return (stored - level)[inside]


def test_what_it_costs(stepper: Stepper) -> None:
    """No copies of tensors, no memory but that of blocks, and nothing read after it was written."""
    for name in OPTIMIZERS:
        found = stepper.made.statistics.functions[name]
        assert (found.copies, found.late_reads, found.submissions) == (0, 0, 1)
        # Two numbers for each block of each moment, each tensor of them at a multiple of 64 bytes.
        blocks = sum(-(-(int(np.prod(SHAPES[n])) // b) // 16) * 64 for n, b in BLOCKS.items())
        assert found.transient_bytes is not None
        assert found.transient_bytes <= 4 * blocks + 1_024
        if stepper.place.target == "cpu":
            assert found.transient_bytes == 0


def test_a_checkpoint_goes_on_bit_for_bit(stepper: Stepper, tmp_path: Path) -> None:
    start = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}
    stepper.step.initialize(start)
    stepper.step.step(gradients(1), function="drawn")
    stepper.step.save(tmp_path / "a.safetensors")
    stepper.step.step(gradients(2), function="drawn")
    straight = {path: np.asarray(x) for path, x in stepper.step.variables.items()}
    stepper.step.initialize(start)
    stepper.step.restore(tmp_path / "a.safetensors")
    stepper.step.step(gradients(2), function="drawn")
    for path, value in stepper.step.variables.items():
        np.testing.assert_array_equal(np.asarray(value), straight[path])


def test_portable_vulkan_refuses() -> None:
    context = frontend.Context()
    context.set_params({"slot_dtype": "int8"})
    with pytest.raises(passes.UnsupportedDTypeError, match="i8"):
        frontend.compile_optimizer(
            frontend.AdamW(), {"w": ((64, 64), "float32")}, target="vulkan", context=context
        )
