"""R9: many threads on one step, and many steps at once: the same as one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime import bindings
from stepforge.runtime.step import CompiledStep
from support import handmade
from support.programs import draw

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]
THREADS, STEPS = 8, 1000
HALF_AN_HOUR = 280_000
"""Steps of each of 64 threads that take two cores so long, or a little more."""
SHAPES = {"w": (8, 4), "b": (4,)}


@pytest.fixture
def parameters() -> Arrays:
    return draw(1, SHAPES, "float32")


@pytest.fixture
def gradients() -> Arrays:
    return draw(2, SHAPES, "float32")


@pytest.fixture
def step(parameters: Arrays) -> Iterator[CompiledStep]:
    """An initialized Adam step on local-sync."""
    with handmade.adam().load(device="local-sync") as made:
        made.initialize(parameters)
        yield made


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


def test_all_share_one_instance() -> None:
    """IREE's `VmInstance` is one for the process, whoever asks first."""
    found: list[object] = []
    together(*[lambda: found.append(bindings.instance())] * THREADS)
    with handmade.adam().load() as one, handmade.sgd().load(device="local-task") as other:
        assert one.device != other.device
    assert {id(x) for x in found} == {id(bindings.instance())}


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_one_step_for_all(parameters: Arrays, gradients: Arrays, device: str) -> None:
    """With equal gradients every order is the serial one."""
    with (
        handmade.adam().load(device=device) as shared,
        handmade.adam().load(device="local-sync") as serial,
    ):
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


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_a_step_for_each_thread(parameters: Arrays, gradients: Arrays, device: str) -> None:
    """Eight objects for each of eight threads, by turns."""
    count = STEPS // 8
    steps = [handmade.adam().load(device=device) for _ in range(THREADS * 8)]
    for step in steps:
        step.initialize(parameters)

    def by_turns(mine: list[CompiledStep]) -> Callable[[], None]:
        def body() -> None:
            for _ in range(count):
                for step in mine:
                    step.step(gradients)

        return body

    together(*[by_turns(steps[i::THREADS]) for i in range(THREADS)])
    with handmade.adam().load() as serial:
        serial.initialize(parameters)
        take(serial, gradients, count)()
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


def test_a_mixed_crowd(step: CompiledStep, gradients: Arrays) -> None:
    """Steps that wait and that do not, readers, savers and setters; every step counts once."""
    snapshots: list[runtime.Snapshot] = []

    def free() -> None:
        for _ in range(STEPS):
            step.step(gradients, wait=False)

    def read() -> None:
        for _ in range(100):
            assert np.isfinite(step.parameters["w"]).all()
            snapshots.append(step.snapshot())
            step.learning_rate = 0.001

    together(take(step, gradients), free, free, read, read)
    assert step.global_step == 3 * STEPS
    with handmade.adam().load() as other:
        kept = sorted(snapshots, key=lambda s: int(s.values["/global_step"]))[
            :: len(snapshots) // 4
        ]
        for snapshot in kept:
            other.restore_snapshot(snapshot)
            take(other, gradients, 3 * STEPS - other.global_step)()
            assert handmade.snapshot(other) == handmade.snapshot(step)


@pytest.mark.slow
def test_64_threads_on_64_steps(parameters: Arrays, gradients: Arrays) -> None:
    steps = [handmade.adam().load(device="local-task") for _ in range(64)]
    for step in steps:
        step.initialize(parameters)
    together(*[take(step, gradients, HALF_AN_HOUR) for step in steps])
    (first, *others) = [handmade.snapshot(step) for step in steps]
    assert all(other == first for other in others)
    for step in steps:
        step.close()
