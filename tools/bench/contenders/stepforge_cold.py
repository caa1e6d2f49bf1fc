"""From an empty process to the first step of an artifact that was compiled before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepforge import runtime


def run(work: dict[str, Any], draw: Callable[..., list[Any]]) -> dict[str, Any]:
    names = work["names"]
    with runtime.load(work["artifact"]) as optimizer:
        optimizer.initialize(dict(zip(names, draw(work["shapes"], 1), strict=True)))
        optimizer.step(dict(zip(names, draw(work["shapes"], 2), strict=True)))
        return {"device": optimizer.device}
