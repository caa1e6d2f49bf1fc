"""What a hyperparameter may be beside a plain number: settable, or scheduled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from stepforge.frontend.context import Context
    from stepforge.frontend.dtypes import DType
    from stepforge.frontend.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class Settable:
    """A hyperparameter that is an argument of the compiled step, changed without recompiling.

    A plain number is baked: it becomes a constant of the artifact.
    """

    value: float | int
    """The first value; the hyperparameter's bounds hold for it."""


class Schedule(ABC):
    """A hyperparameter computed from a step counter: a frozen value with one rule."""

    __slots__ = ()

    @abstractmethod
    def node(self, ctx: Context, graph: Graph, base: float, dtype: DType) -> Node:
        """The value of this step, a rank-0 node of `dtype`; counters are incremented in `graph`.

        base: the hyperparameter's own value, which the schedule scales.
        """


Scalar: TypeAlias = "float | Node"
"""A baked number, still exact, or the rank-0 node of a settable or scheduled one."""
