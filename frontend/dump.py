"""A graph as text for people: one line per node, with the line of the user's code behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Graph, Node

_COLUMN = 64


def dump(what: Graph | Iterable[Node], *, locations: bool = True) -> str:
    """A whole graph, or only what some nodes depend on, as text that ends in a new line."""
    if isinstance(what, Graph):
        title = f"graph {what.name!r}" if what.name else "graph"
        lines = [title, *(_line(node, locations) for node in what.nodes)]
    else:
        results = list(what)
        lines = ["nodes", *(_line(node, locations) for node in reachable(results))]
        lines.append(f"  return {', '.join(f'%{node.id}' for node in results)}")
    return "\n".join(lines) + "\n"


def _line(node: Node, locations: bool) -> str:
    operands = ", ".join(f"%{x.id}" for x in node.inputs)
    head = f"{node.op}({operands})" if operands else node.op
    text = " ".join([f"  %{node.id} = {head}", *_attributes(node), f": {node.type}"])
    return f"{text:<{_COLUMN}}  # {node.location}" if locations and node.location else text


def _attributes(node: Node) -> list[str]:
    """Attributes that the type does not show already."""
    shown = {k: v for k, v in node.attributes.items() if k not in ("dtype", "shape")}
    if node.op == "input":
        return [repr(shown["name"])]
    if node.op == "constant":
        return [_shorten(shown["value"])]
    return [f"{key}={_text(value)}" for key, value in shown.items()]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(_text(x) for x in value)}]"  # pyright: ignore[reportUnknownVariableType]
    return str(value)


def _shorten(value: Any, limit: int = 40) -> str:
    text = _text(value)
    return text if len(text) <= limit else f"{text[: limit - 4]}...]"
