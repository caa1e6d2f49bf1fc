"""Devices: which there are, why one is missing, and opening the one an artifact needs."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

from stepforge.runtime import bindings as iree
from stepforge.runtime.errors import DeviceMismatchError, DeviceNotFoundError
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.waiters import SOFTWARE, modest_waiters

# The target's device -> the drivers that run it, the one for small work first.
DRIVERS = {
    "local": ("local-sync", "local-task"),
    "vulkan": ("vulkan",),
    "cuda": ("cuda",),
    "hip": ("hip",),
    "metal": ("metal",),
}
LOCAL_DRIVERS = DRIVERS["local"]
ALL_DRIVERS = tuple(driver for drivers in DRIVERS.values() for driver in drivers)

# Up to this many state elements one thread is as fast as many, which first have to be woken.
SMALL_STATE = 2**20

_HINTS = {
    "vulkan": "install a Vulkan 1.3 driver and its loader (Debian: mesa-vulkan-drivers libvulkan1)",
    "cuda": "install the NVIDIA driver, which brings libcuda.so",
    "hip": "install ROCm's HIP runtime, which brings libamdhip64.so",
    "metal": "metal needs macOS",
}
_LOCK = Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """An open device. `spec` is IREE's URI, as "local-sync" or "vulkan://GPU-..."; `name` is the
    hardware's. `is_host`: its memory is the host's.
    """

    spec: str
    driver: str
    name: str
    hal: iree.HalDevice
    pid: int

    @property
    def is_host(self) -> bool:
        return self.driver in LOCAL_DRIVERS


@dataclass(frozen=True, slots=True)
class Availability:
    """What `doctor` and `targets` print of one driver."""

    driver: str
    available: bool
    names: tuple[str, ...]
    reason: str


def driver_of(spec: str) -> str:
    """The driver of a device spec. Raises DeviceNotFoundError for one that IREE does not know."""
    driver = spec.split("://", 1)[0]
    if driver not in ALL_DRIVERS:
        raise DeviceNotFoundError(
            f"device {spec!r}: unknown driver {driver!r}; expected one of "
            f"{', '.join(ALL_DRIVERS)}, alone or as DRIVER://PATH"
        )
    return driver


def open_device(spec: str) -> Device:
    """Open a device, once per process. Raises DeviceNotFoundError with the reason."""
    driver_of(spec)
    # A device does not survive a fork, so the child opens its own.
    key = spec, os.getpid()
    with _LOCK:
        known = _DEVICES.get(key)
        if known is None or (known in _SUSPECTS and not _works(known)):
            _DEVICES[key] = _open(*key)
        return _DEVICES[key]


def suspect(device: Device) -> None:
    """A step failed on it: the next `open_device` tries whether it still works, and opens it anew
    if it does not. One that was lost stays lost."""
    if not device.is_host:
        with _LOCK:
            # Kept for good: IREE's buffers and semaphores must not outlive their device.
            _SUSPECTS[device] = None


def _works(device: Device) -> bool:
    try:
        buffer = device.hal.allocator.allocate_buffer(iree.STATE_MEMORY, iree.STATE_USAGE, 128)
        commands = iree.HalCommandBuffer(device.hal, binding_capacity=0, begin=True)
        commands.copy(buffer, buffer, 0, 64, 64, end=True)
        done = device.hal.create_semaphore(0)
        device.hal.queue_execute(
            commands,
            wait_semaphores=iree.HalFence.create_at(done, 0),
            signal_semaphores=iree.HalFence.create_at(done, 1),
        )
        done.wait(1)
    except (RuntimeError, ValueError):
        return False
    return True


def _open(spec: str, pid: int) -> Device:
    driver = driver_of(spec)
    listed = _listed(driver)
    software = any(str(d["name"]).startswith(SOFTWARE) for d in listed)
    try:
        with modest_waiters() if software else nullcontext():
            hal = iree.get_device(spec, cache=False)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise DeviceNotFoundError(_unavailable(spec, driver, error)) from error
    path = spec.partition("://")[2]
    chosen = [d for d in listed if path in (d["path"], str(d["device_id"]))] or listed
    return Device(spec, driver, str(chosen[0]["name"]), hal, pid)


def _listed(driver: str) -> list[dict[str, Any]]:
    if driver not in iree.HalDriver.query():
        raise DeviceNotFoundError(
            f"device {driver!r}: this build of IREE has no such driver; {_HINTS.get(driver, '')}"
        )
    try:
        found = iree.available_devices(driver)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise DeviceNotFoundError(_unavailable(driver, driver, error)) from error
    if not found:
        raise DeviceNotFoundError(
            f"device {driver!r}: the driver loads but lists no device; {_HINTS.get(driver, '')}"
        )
    return found


def _unavailable(spec: str, driver: str, error: Exception) -> str:
    # IREE's status has a source position in front and a stack of them behind.
    text = str(error).split(";\n")[0].strip()
    hint = f"; {_HINTS[driver]}" if driver in _HINTS else ""
    return f"device {spec!r} cannot be opened: {text}{hint}"


# What `open_device` has opened, by spec and process; and those that failed in a step.
_DEVICES: dict[tuple[str, int], Device] = {}
_SUSPECTS: dict[Device, None] = {}
# Python empties `sys` last. IREE's buffers and semaphores must not outlive their device, and at the
# end of the interpreter they are dropped in any order.
sys.__dict__["_stepforge_devices"] = (_DEVICES, _SUSPECTS)


def probe(driver: str) -> Availability:
    """Whether a driver can run anything here, and why not. Opens the device."""
    try:
        names = tuple(str(d["name"]) for d in _listed(driver))
        open_device(driver)
    except DeviceNotFoundError as error:
        return Availability(driver, False, (), str(error))
    return Availability(driver, True, names, "")


def probe_all() -> tuple[Availability, ...]:
    """`probe` of every driver that some target can use."""
    return tuple(probe(driver) for driver in ALL_DRIVERS)


def choose_device(manifest: Manifest, spec: str | None) -> str:
    """The device spec for an artifact: the caller's, or by target and size of the state.

    Raises DeviceMismatchError when the caller's device cannot run the artifact's code.
    """
    target = manifest.targets[0]
    drivers = DRIVERS[target.device]
    if spec is None:
        sizes = [_count(v.shape) for v in manifest.variables if v.storage == "device"]
        return drivers[-1] if sum(sizes) > SMALL_STATE else drivers[0]
    if driver_of(spec) not in drivers:
        raise DeviceMismatchError(
            f"the artifact was compiled for target {target.name!r}, which runs on "
            f"{' or '.join(drivers)}; got device {spec!r}: compile it for that device, or leave "
            "device out"
        )
    return spec


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
