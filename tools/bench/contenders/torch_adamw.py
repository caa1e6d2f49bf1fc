"""torch's own AdamW over the same parameters. Options: `form` (fused, foreach), `threads`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], object], dict[str, Any]]:
    torch: Any = importlib.import_module("torch")
    if work["threads"]:
        torch.set_num_threads(work["threads"])
    parameters = [torch.nn.Parameter(torch.from_numpy(value)) for value in draw(work["shapes"], 1)]
    for parameter, gradient in zip(parameters, draw(work["shapes"], 2), strict=True):
        parameter.grad = torch.from_numpy(gradient)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, **{work["form"]: True})
    facts = {"threads": torch.get_num_threads(), "versions": {"torch": torch.__version__}}
    return optimizer.step, facts
