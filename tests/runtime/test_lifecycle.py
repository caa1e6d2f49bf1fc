"""Before initialize, after close, and when the device or the user breaks a step off."""

from __future__ import annotations

import copy
import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime import executor, loading
from stepforge.runtime.buffers import Memory, Tensor
from stepforge.runtime.devices import Device
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
Arrays = dict[str, Array]


def test_before_initialize(gradients: Arrays) -> None:
    step = handmade.adam().load()
    uses = (
        lambda: step.step(gradients),
        lambda: step.parameters["w"],
        lambda: step.view("w"),
        lambda: step.save("nowhere"),
        lambda: step.global_step,
        lambda: step.variables.__setitem__("/w", gradients["w"]),
        lambda: step.hyperparameters.__setitem__("learning_rate", 0.1),
    )
    for use in uses:
        with pytest.raises(
            runtime.NotInitializedError, match=r"initialize\(parameters\) or restore"
        ):
            use()
    assert step.learning_rate == 0.001
    assert list(step.parameters) == ["w", "b"]


def test_after_close(step: CompiledStep, parameters: Arrays, gradients: Arrays) -> None:
    view, own = step.view("w"), step.gradients["w"]
    step.close()
    step.close()
    uses = (
        lambda: step.step(gradients),
        step.step,
        lambda: step.initialize(parameters),
        lambda: step.restore("nowhere"),
        lambda: step.parameters["w"],
        lambda: step.learning_rate,
        lambda: step.view("w"),
        lambda: step.save("nowhere"),
        lambda: step.gradients["w"],
        lambda: step.gradients.__setitem__("w", gradients["w"]),
        lambda: step.hyperparameters.__setitem__("learning_rate", 0.1),
        lambda: step.variables.__setitem__("/w", gradients["w"]),
    )
    for use in uses[:3] + uses[4:]:
        with pytest.raises(runtime.ClosedError, match="was closed; load the artifact again"):
            use()
    assert repr(step) == "CompiledStep('adam', 2 parameters, closed)"
    assert (step.device, step.functions) == ("local-sync", ("step",))
    assert step.hyperparameters["adam_epsilon"] == 1e-7
    # Arrays that the caller still holds are his.
    view[...] = own[...] = 0


def test_context_manager_closes(parameters: Arrays) -> None:
    with runtime.load(handmade.adam()) as step:
        step.initialize(parameters)
    with pytest.raises(runtime.ClosedError):
        step.step()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_no_copies_of_a_step(step: CompiledStep, duplicate: Any) -> None:
    with pytest.raises(TypeError, match="cannot be pickled or copied; save"):
        duplicate(step)


def test_loads_from_path_bytes_and_artifact(tmp_path: Path) -> None:
    artifact = handmade.adam()
    path = tmp_path / "adam.vmfb"
    path.write_bytes(artifact.vmfb_bytes)
    for source in (path, str(path), artifact.vmfb_bytes, artifact):
        with runtime.load(source) as step:
            assert step.device == "local-sync"
            assert step.manifest == artifact.manifest


def test_unknown_storage() -> None:
    with pytest.raises(runtime.InputError, match="expected 'owned' or 'adopt', got 'mine'"):
        runtime.load(handmade.adam(), storage="mine")


@pytest.mark.parametrize("recover", ["initialize", "restore"])
def test_device_failure_loses_the_state(
    step: CompiledStep,
    parameters: Arrays,
    gradients: Arrays,
    recover: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step.step(gradients)
    step.save(tmp_path / "good.safetensors")
    expected = handmade.snapshot(step)

    def fail(module: Any, *_: Any, **__: Any) -> None:
        module.timeline.advance()  # submitted, and never reached
        raise RuntimeError("c/runtime/src/x.c:1: DEVICE_LOST; gone;\n[ 0] stack")

    monkeypatch.setattr(executor, "MOMENT", 1)
    with monkeypatch.context() as patch:
        patch.setattr(loading.Module, "submit", fail)
        with pytest.raises(runtime.StateLostError, match=r"DEVICE_LOST; gone; restore\(path\)"):
            step.step(gradients)
    for use in (lambda: step.parameters["w"], lambda: step.step(gradients), lambda: step.save("x")):
        with pytest.raises(runtime.StateLostError):
            use()
    if recover == "restore":
        step.restore(tmp_path / "good.safetensors")
    else:
        step.initialize(parameters)
        step.step(gradients)
    assert handmade.snapshot(step) == expected
    step.step(gradients)


def test_closing_frees_the_gradients(step: CompiledStep) -> None:
    mapping = step.gradients
    memory = weakref.ref(mapping["w"].base)
    step.close()
    gc.collect()
    assert memory() is None
    assert len(mapping) == 0


def test_a_failed_write_loses_the_state(
    step: CompiledStep, parameters: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise runtime.DeviceMemoryError("device 'x' cannot write 4 bytes")

    for write, what in (
        (lambda: step.parameters.__setitem__("w", parameters["w"]), r"writing variable '/w'"),
        (lambda: step.initialize(parameters), r"replacing the state"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Memory, "write", fail)
            with pytest.raises(runtime.StateLostError, match=rf"{what} failed half-way: device"):
                write()
        with pytest.raises(runtime.StateLostError, match=r"restore\(path\) or initialize\(\)"):
            step.save("nowhere")
        step.initialize(parameters)


class Refusing:
    """The allocator of a device that is full, or gone."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("c/runtime/src/x.c:1: RESOURCE_EXHAUSTED; full;\n[ 0] stack")

        return fail


@pytest.mark.parametrize("driver", ["vulkan", "local-sync"])
def test_a_device_without_memory(driver: str) -> None:
    hal: Any = SimpleNamespace(allocator=Refusing())
    memory = Memory(Device(driver, driver, "some GPU", hal, 0))
    for use in (memory.state, memory.shared):
        with pytest.raises(
            runtime.DeviceMemoryError, match=r"\(some GPU\) cannot .* bytes.*: .*full; close what"
        ) as caught:
            use((4,), np.dtype(np.float32))
        assert "stack" not in str(caught.value)


def test_a_device_that_fails_to_move_data() -> None:
    hal: Any = SimpleNamespace(allocator=Refusing())
    memory = Memory(Device("vulkan", "vulkan", "some GPU", hal, 0))
    buffer = SimpleNamespace(byte_length=lambda: 64)
    view: Any = SimpleNamespace(get_buffer=lambda: buffer)
    tensor = Tensor((4,), np.dtype(np.float32), view, None)
    with pytest.raises(runtime.DeviceMemoryError, match="cannot read 64 bytes"):
        memory.read(tensor)
    with pytest.raises(runtime.DeviceMemoryError, match="cannot write 64 bytes"):
        memory.write(tensor, np.zeros(4, np.float32))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("after", [False, True])
def test_interrupt_leaves_a_whole_step(
    step: CompiledStep, gradients: Arrays, kind: Any, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before the call has no effect on the state, after it the step has been taken."""
    reference = handmade.snapshot(step)
    submit = loading.Module.submit

    def interrupted(*arguments: Any, **__: Any) -> None:
        if after:
            submit(*arguments)
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(loading.Module, "submit", interrupted)
        with pytest.raises(kind):
            step.step(gradients)
    assert step.global_step == int(after)
    assert (handmade.snapshot(step) == reference) is not after


def test_an_exception_of_a_signal_handler_after_the_step(
    step: CompiledStep, gradients: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler may raise any exception, as a time limit does; the step is whole all the same."""
    submit = loading.Module.submit

    def interrupted(*arguments: Any, **__: Any) -> None:
        submit(*arguments)
        raise TimeoutError("too long")

    with monkeypatch.context() as patch:
        patch.setattr(loading.Module, "submit", interrupted)
        with pytest.raises(TimeoutError, match="too long"):
            step.step(gradients)
    assert step.global_step == 1
    step.step(gradients)
    assert step.global_step == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupt_of_a_call_that_does_not_end(
    step: CompiledStep,
    parameters: Arrays,
    gradients: Arrays,
    kind: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was raised stays what it was; the state is lost until it is replaced."""

    def interrupted(module: Any, *_: Any, **__: Any) -> None:
        module.timeline.advance()
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(executor, "MOMENT", 1)
        patch.setattr(loading.Module, "submit", interrupted)
        with pytest.raises(kind):
            step.step(gradients)
    with pytest.raises(runtime.StateLostError, match=r"interrupted during a step.*restore\(path\)"):
        step.save("nowhere")
    step.initialize(parameters)
    step.step(gradients)
    assert step.global_step == 1


def test_a_signal_handler_does_not_see_half_a_step(
    step: CompiledStep,
    parameters: Arrays,
    gradients: Arrays,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The device is at t + 1 and the counters are at t; nothing hangs either."""
    submit = loading.Module.submit
    uses = (
        lambda: step.save(tmp_path / "half"),
        lambda: step.parameters["w"],
        lambda: step.learning_rate,
        lambda: step.step(gradients),
        lambda: step.initialize(parameters),
        step.close,
    )
    seen: list[runtime.BusyError] = []

    def handled(*arguments: Any, **__: Any) -> None:
        submit(*arguments)
        for use in uses:
            with pytest.raises(runtime.BusyError, match="set a flag in the handler") as caught:
                use()
            seen.append(caught.value)

    with monkeypatch.context() as patch:
        patch.setattr(loading.Module, "submit", handled)
        step.step(gradients)
    assert len(seen) == len(uses)
    assert step.global_step == 1
    assert not list(tmp_path.iterdir())
