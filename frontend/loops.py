"""Stretches of a graph that repeat, so that equal updates of many variables are stored once.

A loop is `length` nodes, `count` times over. Node j of each turn has the op of node j of the first,
and the same attributes but for those in VARYING; each operand's id moves by the same stride from
turn to turn (0: shared by all turns; the length: it moves along; or that of a block of inputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepforge.frontend.graph import Graph, Node

VARYING = ("name", "shape")
"""Attributes that may differ between the turns of a loop."""

_TRIES = 32  # next nodes of the same kind with which a second turn may begin
_SAVES = 4  # nodes that a loop must save


@dataclass(frozen=True, slots=True)
class Stretch:
    """`count` turns of `length` nodes, from the node `start` on. Without a loop, the count is 1."""

    start: int
    length: int
    count: int


def stretches(graph: Graph, *, locations: bool) -> Iterator[Stretch]:
    """The nodes of a graph, cut from the first to the last."""
    nodes = graph.nodes
    kinds = _kinds(nodes, locations)
    operands = [tuple(x.id for x in node.inputs) for node in nodes]
    following = _following(kinds)
    alone = position = 0  # nodes from `alone` on wait for a stretch
    while position < len(nodes):
        loop = _loop(kinds, operands, following, position)
        if loop is None:
            position += 1
            continue
        if alone < position:
            yield Stretch(alone, position - alone, 1)
        yield loop
        alone = position = loop.start + loop.length * loop.count
    if alone < len(nodes):
        yield Stretch(alone, len(nodes) - alone, 1)


def _kinds(nodes: Sequence[Node], locations: bool) -> list[int]:
    """A number for each node; nodes of one number may stand for each other in a loop."""
    numbers: dict[object, int] = {}
    found: list[int] = []
    for node in nodes:
        # By text, since 0.0 == -0.0 and 1 == True.
        fixed = [(k, repr(v)) for k, v in node.attributes.items() if k not in VARYING]
        place = node.location if locations else ""
        key = (node.op, len(node.inputs), tuple(sorted(fixed)) if fixed else (), place)
        found.append(numbers.setdefault(key, len(numbers)))
    return found


def _following(kinds: Sequence[int]) -> list[int | None]:
    """For each node the next one of its kind."""
    nearest: dict[int, int] = {}
    found: list[int | None] = [None] * len(kinds)
    for position in reversed(range(len(kinds))):
        found[position] = nearest.get(kinds[position])
        nearest[kinds[position]] = position
    return found


def _loop(
    kinds: Sequence[int],
    operands: Sequence[tuple[int, ...]],
    following: Sequence[int | None],
    start: int,
) -> Stretch | None:
    """The loop of most turns that begins here; of those the shortest."""
    best: Stretch | None = None
    second = following[start]
    for _ in range(_TRIES):
        if second is None:
            break
        length = second - start
        count = _turns(kinds, operands, start, length)
        if length * (count - 1) >= _SAVES and (best is None or count > best.count):
            best = Stretch(start, length, count)
        second = following[second]
    return best


def _turns(
    kinds: Sequence[int], operands: Sequence[tuple[int, ...]], start: int, length: int
) -> int:
    position = start + length
    while position < len(kinds) and kinds[position] == kinds[position - length]:
        if position >= start + 2 * length and not _even(
            operands[position - 2 * length], operands[position - length], operands[position]
        ):
            break
        position += 1
    return (position - start) // length


def _even(a: Sequence[int], b: Sequence[int], c: Sequence[int]) -> bool:
    for x, y, z in zip(a, b, c, strict=True):  # a loop, since `all` takes twice the time
        if y - x != z - y:
            return False
    return True
