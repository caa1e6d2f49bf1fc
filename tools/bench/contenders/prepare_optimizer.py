"""Compiles the artifact that the stepforge contenders of a case load, and says what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepforge.frontend import FrontendError, as_dtype, compile_optimizer
from stepforge.passes import PassError
from stepforge.tools.errors import ToolError
from stepforge.tools.hyperparameters import describe
from stepforge.tools.machine import devices_for


def run(work: dict[str, Any], _draw: Callable[..., list[Any]]) -> dict[str, Any]:
    shapes: list[list[int]] = work["shapes"]
    parameters = {name: tuple(shape) for name, shape in zip(work["names"], shapes, strict=True)}
    try:
        described = describe("adamw", work["settings"], ())
        made = compile_optimizer(
            described.optimizer, parameters, target=work["target"], context=described.context
        )
        devices = devices_for(made.manifest)
    except (FrontendError, PassError, ToolError) as error:
        raise NotImplementedError(" ".join(str(error).split())) from error
    Path(work["artifact"]).write_bytes(made.data)
    cost = made.statistics["step"]
    elements = sum(map(math.prod, shapes))
    state = sum(
        math.prod(v.shape) * as_dtype(v.dtype).itemsize
        for v in made.manifest.variables
        if v.role != "parameter" and v.storage == "device"
    )
    return {
        "devices": devices,
        "dispatches": cost.dispatches,
        "transient_bytes_per_parameter": (cost.transient_bytes or 0) / elements,
        "state_bytes_per_parameter": state / elements,
        "artifact_bytes": len(made.data),
    }
