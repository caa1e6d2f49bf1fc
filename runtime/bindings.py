"""IREE's Python bindings: the only module of the runtime that imports them.

The bindings' buffer flags are int subclasses whose `|` gives a plain int that cannot be combined
again, so they are combined here as ints.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from iree.runtime import (  # pyright: ignore[reportMissingTypeStubs]
    BufferUsage,
    HalBuffer,
    HalBufferView,
    HalCommandBuffer,
    HalDevice,
    HalDriver,
    HalElementType,
    HalFence,
    HalSemaphore,
    MemoryType,
    VmContext,
    VmFunction,
    VmInstance,
    VmModule,
    VmRef,
    VmVariantList,
    create_hal_module,
    get_device,
    get_driver,
)
from iree.runtime.version import VERSION

__all__ = [
    "VERSION",
    "HalBuffer",
    "HalBufferView",
    "HalCommandBuffer",
    "HalDevice",
    "HalDriver",
    "HalFence",
    "HalSemaphore",
    "VmContext",
    "VmFunction",
    "VmModule",
    "VmRef",
    "VmVariantList",
    "available_devices",
    "create_hal_module",
    "element_dtype",
    "element_type",
    "get_device",
    "instance",
    "reflection",
    "view_of",
]

STATE_MEMORY = int(MemoryType.DEVICE_LOCAL)
SHARED_MEMORY = int(MemoryType.HOST_LOCAL) | int(MemoryType.DEVICE_VISIBLE)
NEAR_SHARED_MEMORY = int(MemoryType.DEVICE_LOCAL) | int(MemoryType.HOST_VISIBLE)
HOST_VISIBLE = int(MemoryType.HOST_VISIBLE)
STATE_USAGE = int(BufferUsage.DEFAULT)
MAPPED_USAGE = int(BufferUsage.DEFAULT) | int(BufferUsage.MAPPING)
IMPORTED_USAGE = int(BufferUsage.DEFAULT) | int(BufferUsage.MAPPING_SCOPED)
STAGING_USAGE = int(BufferUsage.TRANSFER) | int(BufferUsage.MAPPING_SCOPED)
MAPPABLE = int(BufferUsage.MAPPING_SCOPED)

_ELEMENT_TYPES: dict[np.dtype[Any], HalElementType] = {
    np.dtype(np.float64): HalElementType.FLOAT_64,
    np.dtype(np.float32): HalElementType.FLOAT_32,
    np.dtype(np.float16): HalElementType.FLOAT_16,
    np.dtype(ml_dtypes.bfloat16): HalElementType.BFLOAT_16,
    np.dtype(np.int64): HalElementType.INT_64,
    np.dtype(np.int32): HalElementType.INT_32,
    np.dtype(np.int16): HalElementType.INT_16,
    np.dtype(np.int8): HalElementType.INT_8,
    # i1 never crosses a call: a bool travels as i8.
    np.dtype(np.bool_): HalElementType.INT_8,
}


@cache
def instance() -> VmInstance:
    """The one VM instance of the process."""
    return VmInstance()


def element_type(dtype: np.dtype[Any]) -> HalElementType:
    """IREE's name of an element type. Raises KeyError for one that no artifact uses."""
    return _ELEMENT_TYPES[dtype]


def element_dtype(view: HalBufferView) -> np.dtype[Any]:
    return np.dtype(HalElementType.map_to_dtype(view.element_type))


# The stubs leave the contents of these dictionaries open.


def available_devices(driver: str) -> list[dict[str, Any]]:
    """The driver's devices, each with "device_id", "path" and "name". Raises what IREE raises."""
    found: Any = get_driver(driver)
    return found.query_available_devices()


def reflection(function: VmFunction) -> dict[str, str]:
    found: Any = function
    return found.reflection


def view_of(ref: VmRef) -> HalBufferView:
    """The buffer view behind a reference. Raises ValueError when it is something else."""
    found = ref.deref(HalBufferView)
    assert found is not None
    return found
