"""Room for compilers beside Mesa's software Vulkan device."""

import os
import sys
from pathlib import Path

import pytest

from stepforge import runtime
from support import machine

TASKS = Path("/proc/self/task")
LOWEST = 19


@pytest.fixture(scope="session", autouse=True)
def modest_vulkan() -> None:
    """Lowers the priority of the threads that wait for an open Vulkan device.

    IREE's wait for any of several semaphores, which Mesa does without sleeping: from its opening to
    the end of the process a lavapipe device keeps two cores busy. Where there are only two,
    compiling then takes three times as long, and so do the device's own steps.
    """
    if sys.platform != "linux" or machine.missing_vulkan() is not None:
        return
    before = set(TASKS.iterdir())
    runtime.probe("vulkan")
    for task in set(TASKS.iterdir()) - before:
        # Those that compute are called llvmpipe-0, llvmpipe-1, ...
        if not (task / "comm").read_text().startswith("llvmpipe"):
            os.setpriority(os.PRIO_PROCESS, int(task.name), LOWEST)
