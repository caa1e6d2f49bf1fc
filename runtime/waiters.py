"""Room for computing beside Mesa's software Vulkan device."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

_THREADS = Path("/proc/self/task")
_LOWEST = 19
#: What Mesa calls its software device, and the threads in which that computes.
SOFTWARE = "llvmpipe"

# By then a thread that computes has its name, and one that does not sleep has used up some time:
# at least as many of the system's clock ticks.
_SECONDS = 0.5
_TICKS = 2


@contextmanager
def modest_waiters() -> Generator[None]:
    """Open a software device inside: those of its threads that only wait get the lowest priority.

    IREE 3.13's wait for any of several semaphores, which Mesa does without sleeping: from its
    opening to the end of the process the device keeps two cores busy. Where there are only two,
    whatever else runs then takes three times as long, and so do the device's own steps.
    """
    if sys.platform != "linux":
        yield
        return
    before = {thread.name for thread in _THREADS.iterdir()}
    yield
    opened = {thread.name for thread in _THREADS.iterdir()} - before
    timer = Timer(_SECONDS, _lower, (sorted(opened),))
    timer.daemon = True
    timer.start()


def _lower(threads: list[str]) -> None:
    for thread in threads:
        with suppress(OSError):  # it has ended, or priorities may not be changed here
            stat = (_THREADS / thread / "stat").read_text()
            # `pid (name) state ...`: the name may hold anything, time is fields 14 and 15.
            name, _, rest = stat.partition("(")[2].rpartition(")")
            user, system = rest.split()[11:13]
            if not name.startswith(SOFTWARE) and int(user) + int(system) >= _TICKS:
                os.setpriority(os.PRIO_PROCESS, int(thread), _LOWEST)
