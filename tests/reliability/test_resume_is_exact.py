"""A run that is saved and restored ends as one that was not (R15).

That is bit for bit on the same backend, whatever the layout, and within the bar of backends on
another. (Only the sum of a global norm depends on the layout, in its last place.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reliability.places import PLACES, Place
from stepforge import runtime
from stepforge.frontend import AdamW, Artifact, Context, compile_optimizer
from stepforge.runtime.buffers import aligned_bytes
from stepforge.runtime.step import CompiledStep
from support import handmade
from support.shards import ranges

pytestmark = pytest.mark.compiler

Arrays = Mapping[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]

SAVED_AT = (0, 1, 7, 100)
LAST = 110
LONG = 1000
BETWEEN_BACKENDS = 5e-5
"""How far parameters of two backends may be apart after 1,000 steps of rate 1e-3: at most some 20
units in the last place of an update of about 1e-3 each."""

PLAIN = {name[1:]: shape for name, shape in handmade.SHAPES.items()}


def draw(seed: int, shapes: Shapes) -> Arrays:
    generator = np.random.default_rng(seed)
    return {n: generator.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def go_on(step: CompiledStep, first: int, last: int, shapes: Shapes = PLAIN) -> None:
    for number in range(first, last):
        step.step(draw(1000 + number, shapes))


@pytest.mark.parametrize("place", PLACES)
def test_bit_for_bit_on_the_same_backend(place: Place, tmp_path: Path) -> None:
    artifact = handmade.adam(target=place.target)
    with artifact.load(device=place.device) as whole:
        whole.initialize(draw(1, PLAIN))
        whole.learning_rate = 0.1
        at = 0
        for wanted in SAVED_AT:
            go_on(whole, at, wanted)
            whole.save(tmp_path / str(wanted))
            at = wanted
        go_on(whole, at, LAST)
        for wanted in SAVED_AT:
            with artifact.load(device=place.device) as resumed:
                resumed.restore(tmp_path / str(wanted))
                assert resumed.learning_rate == 0.1
                assert resumed.global_step == wanted
                go_on(resumed, wanted, LAST)
                assert handmade.snapshot(resumed) == handmade.snapshot(whole)


@pytest.mark.parametrize("place", PLACES)
def test_within_the_bar_on_another_backend(place: Place, tmp_path: Path) -> None:
    """Saved on the CPU; the state is the same, bit for bit, and then goes its own way."""
    path = tmp_path / "run"
    with (
        handmade.adam().load(device="local-sync") as first,
        handmade.adam(target=place.target).load(device=place.device) as second,
    ):
        first.initialize(draw(1, PLAIN))
        go_on(first, 0, 100)
        first.save(path)
        second.restore(path)
        assert handmade.snapshot(second) == handmade.snapshot(first)
        for step in (first, second):
            go_on(step, 100, LONG)
        for name in PLAIN:
            apart = np.abs(first.parameters[name] - second.parameters[name]).max()
            assert apart <= BETWEEN_BACKENDS
        second.save(path)
        first.restore(path)
        assert handmade.snapshot(second) == handmade.snapshot(first)


# Layouts.

MODEL = {"a.w": (9, 5), "a.b": (5,), "b.w": (7, 3), "b.b": (3,)}
LAYOUTS = ("packed", "separate", "adopt")


@pytest.fixture(scope="module", params=["plain", "averaged", "bfloat16 slots"])
def artifacts(request: pytest.FixtureRequest) -> dict[str, Artifact]:
    settings: dict[str, dict[str, Any]] = {
        "plain": {},
        "averaged": {"ema_decay": 0.9},
        "bfloat16 slots": {"slot_dtype": "bfloat16"},
    }
    made: dict[str, Artifact] = {}
    for layout in ("packed", "separate"):
        context = Context()
        context.set_params(settings[request.param])
        made[layout] = compile_optimizer(AdamW(), MODEL, context=context, layout=layout)
    return made


def aligned(value: NDArray[Any]) -> NDArray[Any]:
    made = aligned_bytes(value.nbytes)[: value.nbytes].view(value.dtype).reshape(value.shape)
    made[...] = value
    return made


@contextmanager
def loaded(artifacts: dict[str, Artifact], layout: str) -> Iterator[CompiledStep]:
    data = artifacts["packed" if layout == "packed" else "separate"].data
    storage: Any = "adopt" if layout == "adopt" else "owned"
    with runtime.load(data, device="local-sync", storage=storage) as step:
        step.initialize({name: aligned(value) for name, value in draw(1, MODEL).items()})
        yield step


@pytest.mark.parametrize("saved", LAYOUTS)
def test_any_layout_restores_any_other(
    artifacts: dict[str, Artifact], saved: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    with loaded(artifacts, saved) as step:
        go_on(step, 0, 7, MODEL)
        step.save(path)
        before = handmade.snapshot(step)
        go_on(step, 7, 30, MODEL)
        after = handmade.snapshot(step)
    for layout in LAYOUTS:
        with loaded(artifacts, layout) as other:
            other.restore(path)
            assert handmade.snapshot(other) == before
            go_on(other, 7, 30, MODEL)
            assert handmade.snapshot(other) == after


# Shards: each steps a range of the parameters, by an artifact of any length.

ELEMENTS = 10_007


def cut(state: Arrays, shards: int) -> list[Arrays]:
    """What each keeps of the tensors, in ranges that begin anywhere; and all the numbers."""
    return [
        {path: value[part] if value.ndim else value for path, value in state.items()}
        for part in ranges(ELEMENTS, shards)
    ]


def joined(parts: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    return {
        path: np.concatenate([part[path] for part in parts]) if value.ndim else value
        for path, value in parts[0].items()
    }


def step_shards(step: CompiledStep, state: Arrays, shards: int, first: int, last: int) -> Arrays:
    """The state of all after more steps; each goes through a checkpoint's worth of variables."""
    after: list[Arrays] = []
    gradients = [
        cut({"x": draw(number, {"x": (ELEMENTS,)})["x"]}, shards) for number in range(first, last)
    ]
    for rank, part in enumerate(cut(state, shards)):
        step.initialize({"x": part["/x"]})
        for path, value in part.items():
            step.variables[path] = value
        for each in gradients:
            step.step(each[rank])
        after.append({path: step.variables[path] for path in step.variables})
    return joined(after)


@pytest.mark.parametrize("place", PLACES)
def test_four_shards_go_on_as_any_number(place: Place) -> None:
    artifact = compile_optimizer(AdamW(), any_length=True, target=place.target)
    with artifact.load(device=place.device) as step:
        step.initialize(draw(1, {"x": (ELEMENTS,)}))
        start = {path: step.variables[path] for path in step.variables}
        saved = step_shards(step, start, 4, 0, 7)
        assert int(saved["/global_step"]) == 7
        wanted = step_shards(step, saved, 4, 7, 20)
        for shards in (1, 2, 3, 8):
            found = step_shards(step, saved, shards, 7, 20)
            assert {k: v.tobytes() for k, v in found.items()} == {
                k: v.tobytes() for k, v in wanted.items()
            }, shards
