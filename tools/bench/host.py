"""The machine that figures were measured on, as facts."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from stepforge.tools.machine import packages


def machine() -> Mapping[str, str | int]:
    """Processor, the cores that this process may use, and memory in bytes."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
    }


def versions() -> Mapping[str, str]:
    """Of Python and of what stepforge is built on; peers say theirs in their rows."""
    found = {package.name: package.version for package in packages() if package.name != "torch"}
    known = {name: version for name, version in found.items() if version is not None}
    return {"python": platform.python_version(), **known}


def _processor() -> str:
    return next(_named_processors(), platform.processor() or platform.machine())


def _named_processors() -> Iterator[str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            yield value.strip()
