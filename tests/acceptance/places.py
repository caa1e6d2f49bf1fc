"""Where artifacts run here: a target to compile for, a device, and the bars that hold there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from oracles.bars import Backend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """`device=None`: the runtime chooses."""

    target: str
    bars: Backend
    device: str | None = None


CPU = Place(target="cpu", bars="cpu")
VULKAN = Place(target="vulkan", bars="vulkan")
VMVX = Place(target="vmvx", bars="vmvx")


def at(places: Iterable[Place] = (CPU, VULKAN, VMVX)) -> list[Any]:
    """pytest parameters, marked with what they need."""
    marks = {"vulkan": (pytest.mark.vulkan,)}
    return [pytest.param(p, id=p.target, marks=marks.get(p.target, ())) for p in places]
