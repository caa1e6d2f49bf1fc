"""Runs one contender, in an interpreter that need not have stepforge.

    python worker.py CONTENDER.py

Takes an object of JSON from each line of standard input, and answers with one on each line of
standard output. The first is the work, and the answer says what is ready, or why it is unavailable;
then `{"warm": SECONDS, "sample": SECONDS}` finds out how many steps make a sample, and
`{"loops": COUNT}` takes one. A contender that is a whole process answers the work alone.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PARENT_DEATH_SIGNAL = 1
LEAST_WARM_STEPS = 3

Step = Callable[[], object]


def main(script: str) -> int:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        # What a library prints is no answer.
        os.dup2(2, 1)
        _end_with_parent()
        # The folder of this file is no place to import from.
        sys.path.pop(0)
        for answer in answers(script):
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
    return 0


def answers(script: str) -> Any:
    """One answer for each line of standard input, until it ends."""
    work = json.loads(sys.stdin.readline())
    try:
        module = _load(script)
        if hasattr(module, "run"):
            found = module.run(work, draw)
            yield {"ready": {**found, "resident": _peak_resident()}}
            return
        step, facts = module.make(work, draw)
    except ModuleNotFoundError as error:
        yield {"unavailable": f"{(error.name or 'a module').split('.')[0]} is not installed"}
        return
    except NotImplementedError as error:
        yield {"unavailable": str(error)}
        return
    yield {"ready": facts}
    for line in sys.stdin:
        order = json.loads(line)
        yield _sample(step, order["loops"]) if "loops" in order else _warm(step, **order)


def draw(shapes: Sequence[Sequence[int]], seed: int) -> list[Any]:
    """A float32 array of each shape, of the size that parameters have; the same in every run."""
    import numpy as np  # noqa: PLC0415 - a contender may not want it

    generator = np.random.default_rng(seed)
    return [generator.standard_normal(tuple(shape), np.float32) * 0.02 for shape in shapes]


def _load(script: str) -> Any:
    spec = importlib.util.spec_from_file_location("contender", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _warm(step: Step, warm: float, sample: float) -> Mapping[str, int]:
    """Steps for a while; the fastest says how many fill a sample."""
    start, fastest, taken = time.perf_counter(), math.inf, 0
    while taken < LEAST_WARM_STEPS or time.perf_counter() - start < warm:
        before = time.perf_counter()
        step()
        fastest = min(fastest, time.perf_counter() - before)
        taken += 1
    return {"loops": max(1, math.ceil(sample / max(fastest, 1e-9)))}


def _sample(step: Step, loops: int) -> Mapping[str, float]:
    """Seconds of a step, and how many cores it kept busy; a step before brings caches back."""
    step()
    used, start = time.process_time(), time.perf_counter()
    for _ in range(loops):
        step()
    seconds = time.perf_counter() - start
    return {"seconds": seconds / loops, "cores": (time.process_time() - used) / seconds}


def _peak_resident() -> int:
    """Bytes of memory that this process had at most; 0 where /proc does not say."""
    try:
        with open("/proc/self/status", encoding="utf-8") as stream:
            line = next(line for line in stream if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0
    return int(line.split()[1]) * 1024


def _end_with_parent() -> None:
    """On Linux the process dies with the one that started it, which stops it between samples."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
