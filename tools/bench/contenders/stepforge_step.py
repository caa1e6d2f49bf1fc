"""An artifact that was compiled before, stepped on one device, with gradients in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from stepforge import runtime


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], object], dict[str, Any]]:
    names = work["names"]
    optimizer = runtime.load(work["artifact"], device=work["device"])
    optimizer.initialize(dict(zip(names, draw(work["shapes"], 1), strict=True)))
    for name, gradient in zip(names, draw(work["shapes"], 2), strict=True):
        optimizer.gradients[name][...] = gradient
    return optimizer.step, {"threads": threads(work["device"])}


def threads(device: str) -> int | None:
    """local-task has a worker on each core; what a GPU runs has no number of threads here."""
    return {"local-sync": 1, "local-task": len(os.sched_getaffinity(0))}.get(device)
