"""A training step that was compiled before, given a batch of NumPy arrays each time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from stepforge import runtime


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], object], dict[str, Any]]:
    training = runtime.load(work["artifact"], device=work["device"])
    training.initialize()
    batch = {
        name: draw([i["shape"]], 3)[0]
        if i["classes"] is None
        else np.resize(np.arange(i["classes"], dtype=np.int32), i["shape"])
        for name, i in work["inputs"].items()
    }
    threads = {"local-sync": 1, "local-task": len(os.sched_getaffinity(0))}
    return lambda: training.train_step(**batch), {"threads": threads.get(work["device"])}
