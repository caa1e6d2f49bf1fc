"""The line that a node notes: the user's, and inside of someone else's rule the rule's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepforge.frontend import Context, trace
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.optimizers import Adam, StochasticGradientDescent
from stepforge.frontend.optimizers.base import Optimizer, Slots
from stepforge.frontend.optimizers.values import Hyperparameters


@dataclass(frozen=True, slots=True)
class Mine(StochasticGradientDescent):
    default_scope: ClassVar[str] = "Mine"

    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        return gradient * 0.5, {}  # the rule's line


def lines(optimizer: Optimizer) -> set[str]:
    ctx = Context()
    ctx.variable("w", (2,))
    entry = trace(optimizer, ctx).entry_point("step")  # the user's line
    return {x.location for x in entry.graph.nodes}


def line_of(comment: str) -> str:
    with open(__file__, encoding="utf-8") as file:
        numbers = [i for i, line in enumerate(file, start=1) if line.endswith(f"# {comment}\n")]
    return f"test_lines.py:{numbers[0]}"


def test_a_rule_of_this_package_is_at_the_users_line() -> None:
    assert lines(Adam()) == {line_of("the user's line")}


def test_a_rule_of_ones_own_is_at_its_own_lines() -> None:
    assert lines(Mine()) == {line_of("the user's line"), line_of("the rule's line")}


def test_one_line_ends() -> None:
    graph = Graph()
    x = graph.input("x", "f32", ())
    with graph.one_line():
        inside = [x + x, x * x]
    after = x - x
    assert len({y.location for y in inside}) == 1
    assert after.location not in {y.location for y in inside}
