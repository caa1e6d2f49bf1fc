"""Cases of contractions, as one equation each: the reference is a loop over every index."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.graph import Node

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Contraction:
    """A build of dot_general, and what it means in Einstein's notation."""

    name: str
    equation: str
    shapes: tuple[tuple[int, ...], ...]
    build: Callable[..., Node]

    def __str__(self) -> str:
        return self.name

    @property
    def terms(self) -> int:
        """How many products an element of the result sums."""
        names, result = self.equation.split("->")
        sizes = self._sizes()
        return math.prod(sizes[x] for x in set(names.replace(",", "")) - set(result))

    def _sizes(self) -> dict[str, int]:
        names = self.equation.partition("->")[0].split(",")
        return {
            label: size
            for labels, shape in zip(names, self.shapes, strict=True)
            for label, size in zip(labels, shape, strict=True)
        }

    def loops(self, *operands: Array) -> Array:
        """The meaning, one product at a time."""
        names, result = self.equation.split("->")
        sizes = self._sizes()
        total = np.zeros([sizes[x] for x in result], operands[0].dtype)
        for at in itertools.product(*(range(size) for size in sizes.values())):
            place = dict(zip(sizes, at, strict=True))
            term = operands[0].dtype.type(1)
            for labels, x in zip(names.split(","), operands, strict=True):
                term = term * x[tuple(place[i] for i in labels)]
            total[tuple(place[i] for i in result)] += term
        return total


def _einsum(equation: str, *shapes: tuple[int, ...]) -> Contraction:
    return Contraction(f"einsum[{equation}]", equation, shapes, lambda *x: ops.einsum(equation, *x))


def _matmul(equation: str, *shapes: tuple[int, ...]) -> Contraction:
    return Contraction(f"matmul[{equation}]", equation, shapes, ops.matmul)


def _general(name: str, equation: str, *shapes: tuple[int, ...], **axes: Any) -> Contraction:
    def build(a: Node, b: Node) -> Node:
        return ops.dot_general(a, b, **axes)

    return Contraction(f"dot_general[{name}]", equation, shapes, build)


SMALL = (
    _matmul("mk,kn->mn", (3, 4), (4, 5)),
    _matmul("bmk,bkn->bmn", (2, 3, 4), (2, 4, 5)),
    _matmul("abmk,kn->abmn", (2, 2, 3, 4), (4, 5)),
    _matmul("k,k->", (7,), (7,)),
    _matmul("mk,k->m", (3, 4), (4,)),
    _matmul("k,kn->n", (4,), (4, 3)),
    _einsum("bqhd,bkhd->bhqk", (2, 3, 2, 4), (2, 5, 2, 4)),
    _einsum("bhqk,bkhd->bqhd", (2, 2, 3, 5), (2, 5, 2, 4)),
    _einsum("btm,btn->mn", (3, 4, 2), (3, 4, 5)),
    _einsum("tbm,bnt->mn", (3, 4, 2), (4, 5, 3)),
    _einsum("ab,ba->", (3, 4), (4, 3)),
    _einsum("ab,cd->dbca", (2, 3), (4, 2)),
    _einsum("ab,ab->ba", (3, 4), (3, 4)),
    _einsum("abc,ad->cd", (2, 3, 4), (2, 5)),
    _einsum("abc->ca", (2, 3, 4)),
    _einsum("ab->ba", (2, 3)),
    _general("orders", "abcd,dbea->abce", (2, 3, 2, 4), (4, 3, 2, 2),
             contract=((3,), (0,)), batch=((0, 1), (3, 1))),
    _general("crossed", "abcd,cedb->ae", (2, 3, 2, 4), (2, 2, 4, 3),
             contract=((1, 2, 3), (3, 0, 2))),
    _general("negative", "abc,dcb->ad", (2, 3, 4), (5, 4, 3), contract=((-1, 1), (1, -1))),
    _general("ones", "abc,cbd->ad", (1, 1, 4), (4, 1, 1), contract=((1, 2), (1, 0))),
)  # fmt: skip

LARGE = (
    _einsum("km,kn->mn", (20_000, 2), (20_000, 3)),
    _einsum("k,k->", (70_001,), (70_001,)),
    _einsum("btm,btn->mn", (600, 64, 2), (600, 64, 3)),
    _einsum("bk,kn->bn", (3, 65_537), (65_537, 2)),
    _einsum("mk,kn->mn", (65, 130), (130, 97)),
    _einsum("bqhd,bkhd->bhqk", (3, 33, 2, 16), (3, 17, 2, 16)),
    _einsum("i,j->ij", (300,), (7,)),
)
