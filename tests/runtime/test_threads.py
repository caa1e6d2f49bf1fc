"""Many threads on one step, and many steps at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]
THREADS, STEPS = 8, 200


def together(*work: Callable[[], None]) -> None:
    """Run all at once; the first exception of any is raised here."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(work))

    def run(body: Callable[[], None]) -> None:
        barrier.wait()
        try:
            body()
        except BaseException as error:  # handed to the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def take(step: CompiledStep, gradients: Arrays, count: int = STEPS) -> Callable[[], None]:
    def body() -> None:
        for _ in range(count):
            step.step(gradients)

    return body


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_one_step_for_all(parameters: Arrays, gradients: Arrays, device: str) -> None:
    """With equal gradients every order is the serial one."""
    with handmade.adam().load(device=device) as shared, handmade.adam().load() as serial:
        for step in (shared, serial):
            step.initialize(parameters)
        together(*[take(shared, gradients)] * THREADS)
        take(serial, gradients, THREADS * STEPS)()
        assert shared.global_step == THREADS * STEPS
        assert handmade.snapshot(shared) == handmade.snapshot(serial)


def test_gradients_of_threads_do_not_mix() -> None:
    """SGD with integers is exact: any order of whole steps gives one sum, a mixture another."""
    shapes = {f"/w{i}": (64,) for i in range(4)}
    with handmade.sgd(shapes).load() as step:
        step.initialize({name[1:]: np.zeros(64, np.float32) for name in shapes})
        step.learning_rate = 1.0
        given = [
            {name[1:]: np.full(64, k, np.float32) for name in shapes} for k in range(1, THREADS + 1)
        ]
        together(*[take(step, gradients) for gradients in given])
        total = -STEPS * sum(range(1, THREADS + 1))
        for value in step.parameters.values():
            assert (value == total).all()


def test_a_step_for_each_thread(parameters: Arrays, gradients: Arrays) -> None:
    steps = [handmade.adam().load() for _ in range(THREADS)]
    for step in steps:
        step.initialize(parameters)
    together(*[take(step, gradients) for step in steps])
    with handmade.adam().load() as serial:
        serial.initialize(parameters)
        take(serial, gradients)()
        expected = handmade.snapshot(serial)
    for step in steps:
        assert handmade.snapshot(step) == expected
        step.close()


def test_saving_while_stepping_gives_whole_states(
    step: CompiledStep, gradients: Arrays, tmp_path: Path
) -> None:
    def save() -> None:
        for i in range(20):
            step.save(tmp_path / f"{i}.safetensors")

    together(take(step, gradients, 400), save)
    with handmade.adam().load() as other, handmade.adam().load() as again:
        for i in range(20):
            other.restore(tmp_path / f"{i}.safetensors")
            again.initialize({name: other.parameters[name] for name in other.parameters})
            again.restore(tmp_path / f"{i}.safetensors")
            take(again, gradients, 400 - other.global_step)()
            assert handmade.snapshot(again) == handmade.snapshot(step)


def test_closing_while_stepping(parameters: Arrays, gradients: Arrays) -> None:
    for _ in range(10):
        step = handmade.adam().load()
        step.initialize(parameters)

        def until_closed(step: CompiledStep = step) -> None:
            with pytest.raises(runtime.ClosedError):
                take(step, gradients, 10**9)()

        together(until_closed, until_closed, step.close)


def test_gradients_that_read_the_step_itself(step: CompiledStep, gradients: Arrays) -> None:
    """Its own mappings, and arrays whose export asks the step."""

    class Asks:
        def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
            return step.parameters["w"]

    done: list[int] = []

    def body() -> None:
        step.step(step.parameters)
        step.step({**gradients, "w": Asks()})
        step.initialize(step.parameters)
        step.parameters["w"] = Asks()
        step.step(gradients)
        done.append(step.global_step)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(60)
    assert done == [1]


def test_steps_that_read_each_other(parameters: Arrays) -> None:
    with handmade.adam().load() as one, handmade.adam().load() as other:
        for step in (one, other):
            step.initialize(parameters)

        def read(step: CompiledStep, source: CompiledStep) -> Callable[[], None]:
            def body() -> None:
                for _ in range(STEPS):
                    step.step(source.parameters)

            return body

        together(read(one, other), read(other, one))
        assert one.global_step == other.global_step == STEPS
