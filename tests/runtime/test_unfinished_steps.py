"""Steps that return before the device is done: the same bits, the same guarantees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from support import handmade

from .conftest import Arrays, Place, arrays

pytestmark = pytest.mark.compiler


def test_the_state_is_that_of_steps_that_wait(place: Place, parameters: Arrays) -> None:
    made = handmade.adam(target=place.target)
    with made.load(device=place.device) as waiting, made.load(device=place.device) as free:
        for step in (waiting, free):
            step.initialize(parameters)
        for seed in range(12):
            waiting.step(arrays(seed))
            free.step(arrays(seed), wait=False)
            assert free.global_step == waiting.global_step
            if seed % 5 == 4:  # set for the next step, not for the one under way
                for step in (waiting, free):
                    step.learning_rate *= 0.5
        free.synchronize()
        for path in waiting.variables:
            np.testing.assert_array_equal(free.variables[path], waiting.variables[path])


def test_what_comes_next_waits(anywhere: runtime.CompiledStep, gradients: Arrays) -> None:
    anywhere.step(gradients, wait=False)
    moved = {name: anywhere.parameters[name] for name in anywhere.parameters}
    anywhere.synchronize()
    for name, value in moved.items():
        np.testing.assert_array_equal(anywhere.parameters[name], value)


def test_closing_waits(place: Place, parameters: Arrays, gradients: Arrays) -> None:
    with handmade.adam(target=place.target).load(device=place.device) as step:
        step.initialize(parameters)
        step.step(gradients, wait=False)
    with pytest.raises(runtime.ClosedError):
        step.synchronize()


class Fails:
    """A fence that tells of a lost device, in place of the timeline's."""

    def wait(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("DEVICE_LOST; gone")


@pytest.mark.parametrize("then", ["synchronize", "parameters", "step", "save"])
def test_a_failure_is_told_by_what_comes_next(
    then: str, parameters: Arrays, gradients: Arrays, tmp_path: Any
) -> None:
    with handmade.adam().load(device="local-sync") as step:
        step.initialize(parameters)
        step.step(gradients, wait=False)
        session: Any = step._session  # a device that fails cannot be had otherwise
        timeline, semaphore = session.module.timeline, session.module.timeline._semaphore
        session.module.timeline.signal, session.module.timeline._semaphore = Fails(), Fails()
        uses = {
            "synchronize": step.synchronize,
            "parameters": lambda: dict(step.parameters),
            "step": lambda: step.step(gradients),
            "save": lambda: step.save(tmp_path / "x.safetensors"),
        }
        with pytest.raises(runtime.StateLostError, match=r"DEVICE_LOST.*restore\(path\)"):
            uses[then]()
        assert timeline is session.module.timeline
        assert semaphore is not None
        step.initialize(parameters)  # makes a new timeline
        step.step(gradients)
        assert step.global_step == 1
