"""Compiling AdamW for one target in a new process: the time of the call, after the imports."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stepforge.frontend import AdamW, compile_optimizer


def run(work: dict[str, Any], _draw: Callable[..., list[Any]]) -> dict[str, Any]:
    shapes: list[list[int]] = work["shapes"]
    parameters = {name: tuple(shape) for name, shape in zip(work["names"], shapes, strict=True)}
    start = time.perf_counter()
    made = compile_optimizer(AdamW(), parameters, target=work["target"])
    return {"seconds": time.perf_counter() - start, "artifact_bytes": len(made.data)}
