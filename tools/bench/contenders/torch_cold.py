"""From an empty process to the first step of torch's AdamW."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def run(work: dict[str, Any], draw: Callable[..., list[Any]]) -> dict[str, Any]:
    torch: Any = importlib.import_module("torch")
    parameters = [torch.nn.Parameter(torch.from_numpy(value)) for value in draw(work["shapes"], 1)]
    for parameter, gradient in zip(parameters, draw(work["shapes"], 2), strict=True):
        parameter.grad = torch.from_numpy(gradient)
    torch.optim.AdamW(parameters, lr=1e-3, fused=True).step()
    return {"threads": torch.get_num_threads(), "versions": {"torch": torch.__version__}}
