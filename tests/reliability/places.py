"""The backends, and devices that run their code."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Place:
    """A backend and a device that runs its code."""

    target: str
    device: str


PLACES = [
    pytest.param(Place("cpu", "local-sync"), id="local-sync"),
    pytest.param(Place("cpu", "local-task"), id="local-task"),
    pytest.param(Place("vmvx", "local-sync"), id="vmvx"),
    pytest.param(Place("vulkan", "vulkan"), id="vulkan", marks=pytest.mark.vulkan),
]
