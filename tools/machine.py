"""What this machine can compile and run, as facts to print."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepforge.runtime import manifest
from stepforge.runtime.cpu_features import host_architecture, host_features, missing_features
from stepforge.runtime.device_check import check_gpu
from stepforge.runtime.devices import DRIVERS, Availability, open_device, probe
from stepforge.runtime.errors import DeviceMismatchError
from stepforge.tools.errors import COMPILER_HINT, DeviceFailedError

if TYPE_CHECKING:
    from stepforge.passes.targets import Target, TargetRow

DISTRIBUTIONS = (
    "stepforge",
    "iree-base-runtime",
    "iree-base-compiler",
    "numpy",
    "ml-dtypes",
    "safetensors",
    "torch",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What can be done with one target here; `why` it does not run, what it `needs` anywhere."""

    name: str
    hardware: str
    compiles: bool
    runs: bool
    why: str
    needs: str
    dtypes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`version` is None when the distribution is not installed."""

    name: str
    version: str | None


def has_compiler() -> bool:
    return importlib.util.find_spec("iree.compiler") is not None


def packages() -> tuple[Package, ...]:
    return tuple(Package(name=name, version=_version(name)) for name in DISTRIBUTIONS)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def problems(found: tuple[Package, ...], drivers: tuple[Availability, ...]) -> tuple[str, ...]:
    """What keeps this machine from something, each with what to do about it."""
    versions = {package.name: package.version for package in found}
    compiler, runtime = versions["iree-base-compiler"], versions["iree-base-runtime"]
    said = [one_line(driver.reason) for driver in drivers if not driver.available]
    if compiler is None:
        said.insert(0, COMPILER_HINT)
    elif compiler != runtime:
        said.insert(
            0,
            f"compiler and runtime must be the same release: iree-base-compiler is {compiler}, "
            f"iree-base-runtime is {runtime}; pip install iree-base-compiler=={runtime}",
        )
    return tuple(said)


def one_line(reason: str) -> str:
    """The first and the last part of a driver's reason: what failed, and what to do."""
    parts = [part.strip() for part in reason.replace("\n", ";").split(";") if part.strip()]
    return "; ".join(dict.fromkeys((parts[0].split(": Error")[0], parts[-1])))


def devices_for(found: manifest.Manifest) -> tuple[str, ...]:
    """The devices here that can run an artifact. Raises DeviceFailedError if there is none."""
    target = found.targets[0]
    drivers = [probe(driver) for driver in DRIVERS[target.device]]
    names = tuple(driver.driver for driver in drivers if driver.available)
    if not names:
        reasons = "; ".join(one_line(driver.reason) for driver in drivers)
        raise DeviceFailedError(f"no device here can run {target.name}: {reasons}")
    return names


def target_facts() -> tuple[TargetFacts, ...]:
    """One row per target. Raises ModuleNotFoundError without the compiler."""
    from stepforge.passes.targets import (  # noqa: PLC0415 - the compiler is optional
        parse_target,
        targets,
    )

    return tuple(_facts(row, parse_target(row.name)) for row in targets())


def _facts(row: TargetRow, target: Target) -> TargetFacts:
    needed = manifest.Target(
        name=target.name,
        backend=target.backend,
        device=target.device,
        arch=target.arch,
        cpu=target.cpu,
        cpu_features=target.cpu_features,
        iree_target=target.iree_target,
    )
    why = why_not(needed)
    return TargetFacts(
        name=row.name,
        hardware=row.hardware,
        compiles=row.compiles,
        runs=not why,
        why=why,
        needs=row.needs,
        dtypes=row.dtypes,
        notes=row.notes,
    )


def why_not(target: manifest.Target) -> str:
    """Why the runtime here would refuse an artifact of this target; empty when it would not."""
    driver = _probed(DRIVERS[target.device][0])
    if not driver.available:
        return one_line(driver.reason)
    if target.device != "local":
        device = open_device(driver.driver)
        try:
            check_gpu(target, device)
        except DeviceMismatchError:
            return f"the device here is {device.name}"
        return ""
    if target.arch and target.arch != host_architecture():
        return f"this machine is {host_architecture()}"
    lacking = missing_features(target.arch, target.cpu_features, host_features())
    return f"this processor lacks {', '.join(lacking)}" if lacking else ""


_probed = functools.cache(probe)
