"""Devices: which there are, why one is missing, and opening the one an artifact needs."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
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
    with _LOCK:
        return _open(spec, os.getpid())


@cache
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
