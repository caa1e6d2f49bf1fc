"""Tensors a device can see, and moving their contents.

On local devices a tensor is an aligned NumPy array of ours, imported without a copy. IREE keeps
imported memory alive only through its buffer object, and reads misaligned memory without a check
(both end in a crash), so a `Tensor` holds the array and the buffer for as long as the device can
see them. Elsewhere state lies in device memory, and what the host writes on every step lies in
memory that both see.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.runtime import bindings as iree
from stepforge.runtime.devices import Device
from stepforge.runtime.errors import DeviceMemoryError

Array = NDArray[Any]

# IREE's CPU code reads whole vectors of up to 64 bytes.
ALIGNMENT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A dense row-major tensor. `array` is its memory where the host sees it, else None."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    view: iree.HalBufferView
    array: Array | None
    keep: tuple[Any, ...] = ()
    """What must live as long as the tensor."""
    start: int = 0
    """The element at which it begins in the buffer of `view`, if it is a part."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def part(self, start: int, shape: Sequence[int]) -> Tensor:
        """A tensor inside of this one, from element `start` on; its bytes there are aligned."""
        array, shape = self.array, tuple(shape)
        if array is not None:
            array = array.reshape(-1)[start : start + math.prod(shape)].reshape(shape)
        return Tensor(shape, self.dtype, self.view, array, (self,), self.start + start)

    def within(self, flat: Array) -> Array:
        """What this part is of `flat`, the elements of the whole."""
        return flat[self.start : self.start + math.prod(self.shape)].reshape(self.shape)


def aligned_bytes(size: int) -> Array:
    """Writable zeros at an address that is a multiple of `ALIGNMENT`, padded to whole vectors."""
    raw = np.zeros(_padded(size) + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + _padded(size)]


def _padded(size: int) -> int:
    """Whole vectors, and never nothing: an empty tensor has an address too."""
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


class Memory:
    """Makes, reads and writes the tensors of one device. Calls wait until the data has arrived.

    Whatever of it the device refuses or fails to do raises DeviceMemoryError.
    """

    __slots__ = ("_allocator", "_device")

    def __init__(self, device: Device) -> None:
        self._device = device
        self._allocator = device.hal.allocator

    def state(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor:
        """A tensor that lives on the device. On the host's memory it is zero, else undefined."""
        if self._device.is_host:
            return self._imported(shape, dtype)
        size = _padded(math.prod(shape) * dtype.itemsize)
        with self._doing(f"allocate {size} bytes"):
            buffer = self._allocator.allocate_buffer(iree.STATE_MEMORY, iree.STATE_USAGE, size)
            return _tensor(buffer, shape, dtype, None)

    def shared(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor:
        """A tensor that the host writes through `array` and the device reads."""
        if self._device.is_host:
            return self._imported(shape, dtype)
        size = _padded(math.prod(shape) * dtype.itemsize)
        with self._doing(f"allocate {size} bytes that the host sees"):
            buffer = self._allocate_shared(size, iree.MAPPED_USAGE)
            mapping = buffer.map()
            memory = mapping.asarray((size,), np.dtype(np.uint8))
            memory[:] = 0
            return _tensor(buffer, shape, dtype, _shaped(memory, shape, dtype), mapping)

    def read(self, tensor: Tensor) -> Array:
        """A copy of the contents, as a new array."""
        if tensor.array is not None:
            return tensor.array.copy()
        buffer = tensor.view.get_buffer()
        offset = tensor.start * tensor.dtype.itemsize
        size = min(_padded(tensor.nbytes), buffer.byte_length() - offset)
        with self._doing(f"read {size} bytes"):
            staging = self._allocator.allocate_buffer(iree.SHARED_MEMORY, iree.STAGING_USAGE, size)
            self._copy(buffer, staging, size, source_offset=offset)
            data = staging.map().asarray((size,), np.dtype(np.uint8))
        return _shaped(data, tensor.shape, tensor.dtype).copy()

    def write(self, tensor: Tensor, values: Array) -> None:
        """Replace the contents; `values` has the tensor's shape and dtype."""
        if tensor.array is not None:
            tensor.array[...] = values
            return
        buffer = tensor.view.get_buffer()
        offset = tensor.start * tensor.dtype.itemsize
        size = min(_padded(tensor.nbytes), buffer.byte_length() - offset)
        flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        with self._doing(f"write {size} bytes"):
            staging = self._allocator.allocate_buffer(iree.SHARED_MEMORY, iree.STAGING_USAGE, size)
            data = staging.map().asarray((size,), np.dtype(np.uint8))
            data[: flat.size] = flat
            data[flat.size :] = 0
            self._copy(staging, buffer, size, target_offset=offset)

    def result(self, view: iree.HalBufferView) -> Tensor:
        """A tensor that a call returned."""
        shape, dtype = tuple(view.shape), iree.element_dtype(view)
        buffer = view.get_buffer()
        visible = int(buffer.memory_type()) & iree.HOST_VISIBLE
        if not (self._device.is_host and visible and int(buffer.allowed_usage()) & iree.MAPPABLE):
            return Tensor(shape, dtype, view, None, (buffer,))
        with self._doing("see a result"):
            mapping = buffer.map()
            array = mapping.asarray(shape, dtype)
        return Tensor(shape, dtype, view, array, (buffer, mapping))

    def adopt(self, array: Array) -> Tensor:
        """A tensor whose memory is the array's, on the host's memory alone. It is not checked."""
        return self._import(array.reshape(-1).view(np.uint8), array)

    def _imported(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Tensor:
        memory = aligned_bytes(math.prod(shape) * dtype.itemsize)
        return self._import(memory, _shaped(memory, shape, dtype))

    def _import(self, memory: Array, array: Array) -> Tensor:
        with self._doing(f"import {memory.size} bytes"):
            buffer = self._allocator.import_host_allocation(
                memory, iree.SHARED_MEMORY, iree.IMPORTED_USAGE
            )
            return _tensor(buffer, array.shape, array.dtype, array, memory)

    @contextmanager
    def _doing(self, what: str) -> Generator[None, None, None]:
        try:
            yield
        except (RuntimeError, ValueError, MemoryError) as error:
            text = str(error).split(";\n")[0].strip() or type(error).__name__
            raise DeviceMemoryError(
                f"device {self._device.spec!r} ({self._device.name}) cannot {what}: {text}; close "
                "what else uses its memory, or load the artifact on another device"
            ) from error

    def _allocate_shared(self, size: int, usage: int) -> iree.HalBuffer:
        try:
            return self._allocator.allocate_buffer(iree.NEAR_SHARED_MEMORY, usage, size)
        except (RuntimeError, ValueError):
            # A device without a window for the host on its own memory reads the host's.
            return self._allocator.allocate_buffer(iree.SHARED_MEMORY, usage, size)

    def _copy(
        self,
        source: iree.HalBuffer,
        target: iree.HalBuffer,
        size: int,
        *,
        source_offset: int = 0,
        target_offset: int = 0,
    ) -> None:
        device = self._device.hal
        commands = iree.HalCommandBuffer(device, binding_capacity=0, begin=True)
        commands.copy(source, target, source_offset, target_offset, size, end=True)
        semaphore = device.create_semaphore(0)
        device.queue_execute(
            commands,
            wait_semaphores=iree.HalFence.create_at(semaphore, 0),
            signal_semaphores=iree.HalFence.create_at(semaphore, 1),
        )
        semaphore.wait(1)


def _shaped(memory: Array, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    size = math.prod(shape) * dtype.itemsize
    return memory[:size].view(dtype).reshape(shape)


def _tensor(
    buffer: iree.HalBuffer,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    array: Array | None,
    *keep: Any,
) -> Tensor:
    view = iree.HalBufferView(buffer, tuple(shape), iree.element_type(dtype))
    return Tensor(tuple(shape), dtype, view, array, (buffer, *keep))
