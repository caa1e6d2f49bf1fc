"""Rows of ops that choose rows by number: each is the other's gradient."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.gradient.rule import Rows
from stepforge.frontend.graph import Node


def _gather(node: Node, cotangent: Node) -> tuple[Node, None]:
    x, indices = node.inputs
    zeros = node.graph.constant(0.0, x.dtype, x.shape)
    return ops.scatter_add(zeros, indices, cotangent), None


def _scatter_add(node: Node, cotangent: Node) -> tuple[Node, None, Node]:
    return cotangent, None, ops.gather(cotangent, node.inputs[1])


RULES: Rows = {"gather": _gather, "scatter_add": _scatter_add}
