"""Compile MLIR text in process and run it, without the project's own passes and runtime.

Tests that judge what the frontend emits stand on this, so that a mistake of another part cannot
hide one of the frontend.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from iree import runtime as iree
from numpy.typing import NDArray

from stepforge.frontend.dtypes import DType
from stepforge.runtime.waiters import modest_waiters

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run compiled code."""

    name: str
    device: str
    flags: tuple[str, ...]
    refused: frozenset[str] = frozenset()
    """Dtypes (short names) that it does not compile, or computes wrongly."""
    whole_words: bool = False
    """Whether the last bytes of a buffer past a multiple of 4 are lost (see test_emit_traps)."""
    marks: tuple[pytest.MarkDecorator, ...] = ()
    """What tests on it need."""
    column: str = ""
    """Of docs/ops-accuracy.md; empty is its name."""

    def __str__(self) -> str:
        return self.name

    def promise(self, promised: Mapping[str, Mapping[str, float]], function: str) -> float:
        """The bound that docs/ops-accuracy.md gives for a function, 0 for one that it lacks."""
        return promised.get(function, {}).get(self.column or self.name, 0.0)


CPU = Backend(
    "cpu",
    "local-sync",
    (
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-target-cpu=host",
    ),
)
VMVX = Backend(
    "vmvx",
    "local-sync",
    ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=vmvx"),
    frozenset({"f16", "f64"}),
)
VULKAN = Backend(
    "vulkan",
    "vulkan",
    ("--iree-hal-target-device=vulkan",),
    frozenset({"f16", "f64", "i64"}),
    whole_words=True,
    marks=(pytest.mark.vulkan,),
)
CPU_BASELINE = replace(
    CPU, name="baseline", column="cpu", flags=(*CPU.flags[:2], "--iree-llvmcpu-target-cpu=generic")
)
"""x86-64 without SSE4: no instruction that truncates, rounds, or fuses a product with a sum."""
BACKENDS = (CPU, VMVX, VULKAN)
COMMON_FLAGS = ("--iree-input-demote-f64-to-f32=false",)


class CompileFailure(Exception):
    """IREE refused a module; the message has its diagnostics."""


def compile_text(text: str, backend: Backend) -> bytes:
    """A `.vmfb`. Raises CompileFailure."""
    # Imported here: a machine without the compiler can still collect the tests.
    from iree.compiler import ir  # noqa: PLC0415
    from iree.compiler.api import Output, Session, ctypes_dl  # noqa: PLC0415

    messages: list[str] = []
    callback_type = ctypes.CFUNCTYPE(
        None, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
    )

    def collect(severity: int, data: int, size: int, _: object) -> None:
        messages.append(ctypes.string_at(data, size).decode())

    callback = callback_type(collect)
    session: Any = Session()
    session.set_flags(*COMMON_FLAGS, *backend.flags)
    with session.context:
        module = ir.Module.parse(text)
    invocation = session.invocation()
    library: Any = ctypes_dl
    enable = library._dylib.ireeCompilerInvocationEnableCallbackDiagnostics
    enable.argtypes = [ctypes.c_void_p, ctypes.c_int, callback_type, ctypes.c_void_p]
    enable(invocation._inv_p, 0, callback, None)
    invocation.import_module(module.operation)
    if not invocation.execute():
        raise CompileFailure("\n".join(messages)[:4000])
    output: Any = Output.open_membuffer()
    invocation.output_vm_bytecode(output)
    return bytes(output.map_memory())


class Executable:
    """A loaded module on a device."""

    def __init__(self, vmfb: bytes, backend: Backend) -> None:
        api: Any = iree
        with modest_waiters():
            self._api, self._device = api, api.get_device(backend.device)
        instance = api.VmInstance()
        self._module = api.VmModule.copy_buffer(instance, vmfb)
        modules = [api.create_hal_module(instance, self._device), self._module]
        self._context = api.VmContext(instance, modules=modules)

    def __call__(
        self, function: str, arguments: Sequence[Array | float], results: Sequence[DType | None]
    ) -> list[Any]:
        """Results as arrays of the given dtypes; None is a host scalar, a Python number."""
        given, got = self._api.VmVariantList(len(arguments)), self._api.VmVariantList(len(results))
        views = [self._push(given, x) for x in arguments]
        self._context.invoke(self._module.lookup_function(function), given, got)
        del views  # the device may read them until the call has returned
        return [
            got.get_variant(i) if dtype is None else self._read(got, i, dtype)
            for i, dtype in enumerate(results)
        ]

    def _push(self, given: Any, x: Array | float) -> Any:
        if isinstance(x, int):
            return given.push_int(x)
        if isinstance(x, float):
            return given.push_float(x)
        view = self._upload(x)
        given.push_ref(view.ref)
        return view

    def _upload(self, x: Array) -> Any:
        kinds = self._api.HalElementType
        if x.dtype.name == "bfloat16":
            x, kind = x.view(np.uint16), kinds.BFLOAT_16
        elif x.dtype == np.bool_:
            x, kind = x.view(np.int8), kinds.SINT_8
        else:
            kind = self._api.array_interop.map_dtype_to_element_type(x.dtype)
        return self._device.allocator.allocate_buffer_copy(
            memory_type=self._api.MemoryType.DEVICE_LOCAL,
            allowed_usage=self._api.BufferUsage.DEFAULT | self._api.BufferUsage.MAPPING,
            device=self._device,
            buffer=np.require(x, requirements="C"),
            element_type=kind,
        )

    def _read(self, got: Any, i: int, dtype: DType) -> Array:
        view = got.get_as_object(i, self._api.HalBufferView)
        stored = np.dtype(np.int8) if dtype.kind == "bool" else dtype.numpy
        return np.array(self._staged(view).map().asarray(list(view.shape), stored)).astype(
            dtype.numpy
        )

    def _staged(self, view: Any) -> Any:
        """The bytes in memory that the host may map."""
        buffer, fence = view.get_buffer(), self._api.HalFence
        staging = self._device.allocator.allocate_buffer(
            memory_type=self._api.MemoryType.HOST_LOCAL | self._api.MemoryType.DEVICE_VISIBLE,
            allowed_usage=self._api.BufferUsage.TRANSFER_TARGET
            | self._api.BufferUsage.MAPPING_SCOPED,
            allocation_size=max(buffer.byte_length(), 1),
        )
        done = self._device.create_semaphore(0)
        self._device.queue_copy(
            buffer,
            staging,
            wait_semaphores=fence.create_at(done, 0),
            signal_semaphores=fence.create_at(done, 1),
        )
        fence.create_at(done, 1).wait()
        return staging
