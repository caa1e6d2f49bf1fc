"""Clip by global norm, skip what is not finite, AdamW and a moving average, composed in torch.

Options: `form`: `plain` is what its documentation shows; `scaled` hands the clip factor and the
verdict to the fused step, as torch's gradient scaler does, so that gradients are read twice and
nothing is clipped in a pass of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

MOST, DECAY = 1.0, 0.999


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], object], dict[str, Any]]:
    torch: Any = importlib.import_module("torch")
    parameters = [torch.nn.Parameter(torch.from_numpy(value)) for value in draw(work["shapes"], 1)]
    averages = [parameter.detach().clone() for parameter in parameters]
    values = [parameter.detach() for parameter in parameters]
    gradients = [torch.from_numpy(value) for value in draw(work["shapes"], 2)]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def average() -> None:
        torch._foreach_lerp_(averages, values, 1 - DECAY)

    def plain() -> None:
        norm = torch.nn.utils.clip_grad_norm_(parameters, MOST, foreach=True)
        if torch.isfinite(norm):
            optimizer.step()
            average()

    def scaled() -> None:
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        optimizer.grad_scale = torch.clamp(norm / MOST, min=1.0)
        optimizer.found_inf = (~torch.isfinite(norm)).float()
        optimizer.step()
        if torch.isfinite(norm):
            average()

    facts = {"threads": torch.get_num_threads(), "versions": {"torch": torch.__version__}}
    return {"plain": plain, "scaled": scaled}[work["form"]], facts
