"""Devices that fail for real, in the middle of a step."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stepforge.runtime.container import Artifact, pack_artifact, read_artifact
from support import handmade

SIZE = 64
LIMIT = 1e6
Update = Literal["in-place", "ping-pong"]
ONES: dict[str, NDArray[Any]] = {"w": np.ones(SIZE, np.float32)}
FATAL: dict[str, NDArray[Any]] = {"w": np.full(SIZE, -2 * LIMIT, np.float32)}
"""Gradients after which a step at a learning rate of 1 fails."""


def text(update: Update) -> str:
    """SGD that waits for its result, and fails where the first element is past LIMIT: what it
    wrote is written, and the fence is never signalled.
    """
    where = "{iree.abi.output = 0 : index}"
    tensor = f"tensor<{SIZE}xf32>"
    own, after = (where, "") if update == "in-place" else ("", f", %next: !hal.buffer_view {where}")
    body = (
        "%y_u = arith.mulf %x1, %lr : f32\n"
        "%y_n = arith.subf %x0, %y_u : f32\nlinalg.yield %y_n : f32"
    )
    return f"""
func.func @step(%p: {tensor} {own}, %g: {tensor}, %lr: f32{after}) -> {tensor} {{
  %e = tensor.empty() : {tensor}
  %r = {handmade.generic((SIZE,), "f32", ["%p", "%g"], 1, body)}
  %first = arith.constant 0 : index
  %x = tensor.extract %r[%first] : {tensor}
  %limit = arith.constant {LIMIT:e} : f32
  %ok = arith.cmpf ult, %x, %limit : f32
  cf.assert %ok, "injected: the device is gone"
  return %r : {tensor}
}}"""


def failing(update: Update, target: str = "cpu") -> Artifact:
    """An artifact of one parameter, `w`, whose step fails as `text` says."""
    parameters = handmade.parameters_of({"/w": (SIZE,)})
    function = handmade.function_of(parameters, parameters, (handmade.RATE,))
    variables = (*parameters, *handmade.HOST_VARIABLES)
    manifest = handmade.manifest_of(
        variables, (function,), formula="sgd", target=target, update=update
    )
    code = handmade.compiled(text(update), handmade.BACKENDS[target])
    return read_artifact(pack_artifact(code, manifest, handmade.GRAPH))
