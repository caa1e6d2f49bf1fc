"""Reading the pages: their code fences, and the rows of their tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code, and the heading that it stands under."""

    heading: str
    language: str
    text: str


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def fences(page: str) -> list[Fence]:
    """All code fences of a page, in order."""
    text = read(page)
    return [
        Fence(_heading(text, m.start()), m["language"], m["text"]) for m in _FENCE.finditer(text)
    ]


def fence(page: str, heading: str, language: str) -> str:
    """The text of the only fence of that language under a heading."""
    (found,) = [f for f in fences(page) if (f.heading, f.language) == (heading, language)]
    return found.text


def _heading(text: str, position: int) -> str:
    """The last heading before a position; a comment inside a fence may look like one."""
    outside = _FENCE.sub(lambda m: "\n" * len(m[0]), text[:position])
    return [m["title"] for m in _HEADING.finditer(outside)][-1]


def rows(page: str) -> Iterator[tuple[str, ...]]:
    """The cells of every table row of a page, without heads and rules."""
    lines = read(page).splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        is_rule, is_row = line.startswith("|---"), line.startswith("|")
        head = is_row and not before.startswith("|")
        if is_row and not is_rule and not head:
            yield tuple(cell.strip() for cell in line.strip("|").split("|"))
