"""Calling modules directly, as the build check and `stepforge verify` do."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from stepforge.runtime.buffers import Tensor, aligned_bytes
from stepforge.runtime.errors import (
    DeviceMismatchError,
    DeviceNotFoundError,
    UnknownNameError,
)
from stepforge.runtime.executor import Call, Module
from support import backends, handmade

pytestmark = pytest.mark.compiler


def module(place: Any, text: str) -> Module:
    return Module(handmade.compiled(text, handmade.BACKENDS[place.target]), place.device)


def sgd(place: Any) -> Module:
    return module(place, handmade.sgd_text({"/w": (4,)}, "f32"))


P, G = np.arange(4, dtype=np.float32), np.ones(4, np.float32)


def test_arrays_in_arrays_out(place: Any) -> None:
    (result,) = sgd(place).call("step", [P, G, 0.5])
    np.testing.assert_array_equal(result, P - np.float32(0.5))
    np.testing.assert_array_equal(P, np.arange(4))


def test_numpy_numbers_are_numbers(place: Any) -> None:
    (result,) = sgd(place).call("step", [P, G, np.float32(0.5)])
    np.testing.assert_array_equal(result, P - np.float32(0.5))


def test_tensors_are_written_in_place(place: Any) -> None:
    loaded = sgd(place)
    state = loaded.upload(P)
    (result,) = loaded.call("step", [state, G, 0.5], keep=True)
    assert isinstance(result, Tensor)
    expected = P - np.float32(0.5)
    np.testing.assert_array_equal(loaded.memory.read(state), expected)
    np.testing.assert_array_equal(loaded.memory.read(result), expected)


def test_prebuilt_calls(place: Any) -> None:
    loaded = sgd(place)
    state, gradient = loaded.upload(P), loaded.upload(G)
    call = Call(loaded, "step", [state, gradient], [False])
    for rate in (0.5, 0.25):
        call.run([rate])
    expected = P - np.float32(0.75)
    np.testing.assert_array_equal(loaded.memory.read(state), expected)
    np.testing.assert_array_equal(call.output(0), expected)


def test_function_names(place: Any) -> None:
    loaded = sgd(place)
    assert loaded.function_names == ("step",)
    with pytest.raises(UnknownNameError, match=r"exports no function 'stop'; did you mean 'step'"):
        loaded.function("stop")


def test_functions_without_fences() -> None:
    text = "func.func @double(%x: tensor<3xf32>, %t: i64) -> (tensor<3xf32>, i64) {\n"
    text += "%y = arith.addf %x, %x : tensor<3xf32>\n%u = arith.addi %t, %t : i64\n"
    text += "return %y, %u : tensor<3xf32>, i64\n}"
    loaded = Module(backends.compile_text(text, backends.CPU), "local-sync")
    assert not loaded.function("double").fenced
    values, number = loaded.call("double", [np.ones(3, np.float32), 21])
    np.testing.assert_array_equal(values, [2, 2, 2])
    assert number == 42


def test_numbers_only() -> None:
    text = "func.func @next(%t: i64) -> i64 {\n%u = arith.addi %t, %t : i64\nreturn %u : i64\n}"
    loaded = Module(handmade.compiled(text, backends.CPU), "local-sync")
    assert loaded.call("next", [4]) == [8]


KINDS = ["float32", "float16", "int8", "int32", "bool", ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,), (5, 7), (1024,)])
def test_memory_keeps_every_bit(place: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    loaded = sgd(place)
    generator = np.random.default_rng(3)
    values = generator.integers(0, 2, shape).astype(dtype)
    tensor = loaded.upload(values)
    assert tensor.nbytes == values.nbytes
    np.testing.assert_array_equal(loaded.memory.read(tensor), values)
    shared = loaded.memory.shared(shape, values.dtype)
    assert shared.array is not None
    assert not shared.array.any()
    shared.array[...] = values
    np.testing.assert_array_equal(loaded.memory.read(shared), values)


def test_strided_uploads(place: Any) -> None:
    loaded = sgd(place)
    values = np.arange(64, dtype=np.float32).reshape(8, 8)[::2, ::-3]
    np.testing.assert_array_equal(loaded.memory.read(loaded.upload(values)), values)


def test_host_memory_is_aligned() -> None:
    for size in (0, 1, 63, 64, 65, 4096):
        memory = aligned_bytes(size)
        assert memory.ctypes.data % 64 == 0
        assert memory.size % 64 == 0
        assert memory.size >= max(size, 1)


def test_wrong_arguments_are_errors_not_crashes() -> None:
    loaded = Module(handmade.compiled(handmade.sgd_text({"/w": (4,)}, "f32"), backends.CPU))
    for arguments in ([P], [P[:3], G, 0.5], [P.astype(np.float64), G, 0.5], [P, G, 0.5, 1]):
        with pytest.raises((ValueError, RuntimeError, IndexError)):
            loaded.call("step", arguments)
    (result,) = loaded.call("step", [P, G, 0.5])
    np.testing.assert_array_equal(result, P - np.float32(0.5))


@pytest.mark.vulkan
def test_code_for_another_device() -> None:
    vmfb = handmade.compiled(handmade.sgd_text({"/w": (4,)}, "f32"), backends.CPU)
    with pytest.raises(DeviceMismatchError, match=r"'vulkan' \(.*\) cannot load the module's code"):
        Module(vmfb, "vulkan")


def test_unknown_devices() -> None:
    with pytest.raises(DeviceNotFoundError, match=r"unknown driver 'tpu'; expected one of local-"):
        Module(b"", "tpu")
