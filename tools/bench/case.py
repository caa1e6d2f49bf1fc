"""What a case is: the work, who does it, and the bars that were set for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Shape = tuple[int, ...]
Family = Literal["stepforge", "numpy", "torch", "jax"]
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A script of `contenders`, and what it is told beside the case's work.

    family: whose interpreter runs it (`--python`). each_device: there is one for each device that
    can run the artifact, with the device's name behind its own. whole: each sample is a process.
    """

    name: str
    script: str
    family: Family = "stepforge"
    options: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    each_device: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """`measure` of stepforge is to be at most `most`, or `most` times what `against` has.

    against: the beginning of contenders' names, of which the best counts; None: the bar is a number
    by itself. every: each contender of stepforge has to meet it, not the best of them alone.
    """

    most: float
    against: str | None = None
    measure: str = "seconds"
    every: bool = False
    aim: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the acceptance table.

    traffic: the dtypes of the arrays that a step reads alone and updates; what memory has to move.
    reference: the beginning of the names of the contenders that ratios are to.
    prepare: a script that compiles what the contenders of stepforge load. samples: how many rounds,
    where the usual number would take too long.
    """

    name: str
    title: str
    shapes: Mapping[str, Shape]
    contenders: tuple[Contender, ...]
    bars: tuple[Bar, ...]
    settings: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    traffic: Mapping[str, tuple[str, ...]] | None = None
    reference: str = "torch fused"
    prepare: str | None = "prepare_optimizer.py"
    samples: int | None = None

    @property
    def parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    @property
    def bytes_per_parameter(self) -> int | None:
        """Read and written by one step at least."""
        if self.traffic is None:
            return None
        read, updated = (sum(map(itemsize, self.traffic[kind])) for kind in ("reads", "updates"))
        return read + 2 * updated


def itemsize(dtype: str) -> int:
    return int("".join(character for character in dtype if character.isdigit())) // 8
