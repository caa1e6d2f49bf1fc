"""R14: whatever is raised at any line that a step runs, the state is that of before or of after.

Before the call is submitted it is that of before; where the device itself is called, in place it is
lost, and said to be. Then there is a next step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.frontend import Adam, Context, Settable, compile_optimizer, compile_train_step
from stepforge.frontend.build.artifact import Artifact
from stepforge.passes import Update
from stepforge.runtime.step import CompiledStep
from support import handmade, training
from support.injection import Injected, Place, everywhere
from support.programs import draw

pytestmark = pytest.mark.compiler

SHAPES: Mapping[str, tuple[int, ...]] = {"w": (8, 4), "b": (4,)}
PLACES = [
    pytest.param("cpu", "local-sync", id="local-sync"),
    pytest.param("cpu", "local-task", id="local-task"),
    pytest.param("vulkan", "vulkan", id="vulkan", marks=pytest.mark.vulkan),
]
Arrays = dict[str, NDArray[Any]]


class Lazy(dict[str, NDArray[Any]]):
    """A mapping that is no plain dict."""


def given(seed: int) -> Arrays:
    return draw(seed, SHAPES, "float32")


def own(step: CompiledStep) -> None:
    """A step on the step's own gradients."""
    for name, value in given(3).items():
        step.gradients[name][...] = value
    step.step()


# Every way to take a step.
ACTIONS: Mapping[str, Callable[[CompiledStep], object]] = {
    "gradients": lambda step: step.step(given(3)),
    "mapping": lambda step: step.step(Lazy(given(3))),
    "strided": lambda step: step.step({k: v[..., ::-1] for k, v in given(3).items()}),
    "own": own,
    "not waiting": lambda step: (step.step(given(3), wait=False), step.synchronize()),
    "training": lambda step: step.train_step(**training.batches(1)[0]),
}


@cache
def artifact(target: str, update: Update, kind: str) -> Artifact:
    if kind == "training":
        inputs = {"x": "8x4xf32", "y": "8x3xf32"}
        return compile_train_step(
            training.loss, Adam(), inputs=inputs, target=target, update=update
        )
    context = Context()
    if kind == "skipping":
        context.set_params({"skip_nonfinite": True, "nanlogger": True})
    parameters = {k: (v, "float32") for k, v in SHAPES.items()}
    rule = Adam(weight_decay=Settable(0.01))
    return compile_optimizer(rule, parameters, target=target, context=context, update=update)


@dataclass(frozen=True, slots=True)
class Walk:
    """One place, what was raised there came out as, and what the state is then."""

    place: Place
    error: BaseException | None
    outcome: str


def started(step: CompiledStep) -> None:
    if "train_step" in step.functions:
        step.initialize()
    else:
        step.initialize(given(1))


def walk(
    step: CompiledStep, action: Callable[[CompiledStep], object], kind: type[BaseException]
) -> Iterator[Walk]:
    """Inject everywhere; after each the state is compared, and another step is taken."""
    started(step)
    action(step)
    base = step.snapshot()
    before = handmade.snapshot(step)
    action(step)
    after = handmade.snapshot(step)
    action(step)
    further = handmade.snapshot(step)
    prepare = lambda: step.restore_snapshot(base)  # noqa: E731
    for place, error in everywhere(lambda: action(step), kind, prepare):
        try:
            found = handmade.snapshot(step)
        except (runtime.StateLostError, runtime.StepFailedError) as lost:
            # A step that nobody waited for tells of its failure now, once.
            told = isinstance(lost, runtime.StepFailedError)
            yield Walk(place, error or lost, "before" if told else "lost")
            assert not told or handmade.snapshot(step) == before
            continue
        outcome = "before" if found == before else "after" if found == after else "half"
        yield Walk(place, error, outcome)
        action(step)
        assert handmade.snapshot(step) == (after if outcome == "before" else further), place
    assert handmade.snapshot(step) == after  # the last round injected nothing


def check(found: list[Walk], kind: type[BaseException], update: Update) -> None:
    outcomes = [w.outcome for w in found]
    assert len(found) > 15
    assert "half" not in outcomes
    # Before, then perhaps lost, then after: submission is one moment.
    order = ["before", "lost", "after"]
    assert outcomes == sorted(outcomes, key=order.index)
    for w in found:
        if w.outcome == "after" and w.error is None:
            continue  # raised while waiting for a device that was done: it has done its work
        if w.outcome == "lost":
            assert update == "in-place"
            assert w.place.line.startswith("self._context.invoke("), w.place
        elif update == "in-place":
            assert isinstance(w.error, kind), w
        else:
            assert isinstance(w.error, kind | runtime.StepFailedError), w
    assert outcomes.count("lost") == (1 if update == "in-place" else 0)
    assert outcomes.count("after") >= 1


@pytest.mark.parametrize("kind", [Injected, KeyboardInterrupt])
@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
@pytest.mark.parametrize("action", [name for name in ACTIONS if name != "training"])
def test_every_line_of_a_step(action: str, update: Update, kind: type[BaseException]) -> None:
    with artifact("cpu", update, "plain").load(device="local-sync") as step:
        check(list(walk(step, ACTIONS[action], kind)), kind, update)
        # The lock is free.
        thread = threading.Thread(target=step.step, args=(given(3),), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(("target", "device"), PLACES[1:])
@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
def test_on_devices_of_their_own(target: str, device: str, update: Update) -> None:
    with artifact(target, update, "plain").load(device=device) as step:
        check(list(walk(step, ACTIONS["gradients"], Injected)), Injected, update)


@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
@pytest.mark.parametrize("kind", ["skipping", "training"])
def test_steps_with_more_to_do(kind: str, update: Update) -> None:
    """Scalars in a table, outputs that are read after the call, numbers kept on the device."""
    with artifact("cpu", update, kind).load(device="local-sync") as step:
        action = ACTIONS["training" if kind == "training" else "gradients"]
        check(list(walk(step, action, Injected)), Injected, update)


def test_refused_input_is_told_before_anything_is_called() -> None:
    with artifact("cpu", "in-place", "plain").load() as step:
        started(step)
        before = handmade.snapshot(step)
        for wrong in ({}, {**given(1), "c": np.zeros(3)}, {k: v[:1] for k, v in given(1).items()}):
            with pytest.raises(runtime.GradientError):
                step.step(wrong)
        assert handmade.snapshot(step) == before


@pytest.mark.parametrize("update", ["in-place", "ping-pong"])
def test_every_line_of_replacing_the_state(update: Update) -> None:
    """`restore_snapshot`: the state of before, of the snapshot, or in place lost half-way."""
    with artifact("cpu", update, "plain").load(device="local-sync") as step:
        started(step)
        first = step.snapshot()
        step.step(given(3))
        second = step.snapshot()
        states: dict[str, dict[str, bytes]] = {}
        for name, snapshot in (("new", first), ("old", second)):
            step.restore_snapshot(snapshot)
            states[name] = handmade.snapshot(step)
        outcomes: list[str] = []
        for _, error in everywhere(
            lambda: step.restore_snapshot(first),
            Injected,
            lambda: step.restore_snapshot(second),
        ):
            assert isinstance(error, Injected)
            try:
                found = handmade.snapshot(step)
            except runtime.StateLostError:
                outcomes.append("lost")
                continue
            (name,) = [name for name, state in states.items() if state == found]
            outcomes.append(name)
        assert len(outcomes) > 5
        assert outcomes == sorted(outcomes, key=["old", "lost", "new"].index)
        assert ("lost" in outcomes) is (update == "in-place")
