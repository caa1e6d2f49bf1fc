"""An exception before the n-th line that the runtime executes: every place where one can come up.

Python tells a tracer of each line before it runs; what the tracer raises is raised there. So
nothing of the runtime is replaced, no place is missed, and new code is covered by itself.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from stepforge import runtime

FOLDER = str(Path(runtime.__file__).parent)


class Injected(Exception):
    """What nothing else raises."""


@dataclass(frozen=True, slots=True)
class Place:
    """The line that was to be executed next."""

    module: str
    line: str


class _Injector:
    def __init__(self, number: int, error: BaseException) -> None:
        self._left, self._error = number, error
        self.place: Place | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(FOLDER):
            return None
        if event != "line":
            return self
        line = linecache.getline(file, frame.f_lineno).strip()
        if line.startswith("with "):
            # Python comes by again when it leaves the block; releasing a lock cannot fail.
            return self
        self._left -= 1
        if self._left == 0:
            self.place = Place(Path(file).stem, line)
            raise self._error
        return self


def inject(
    action: Callable[[], object], kind: type[BaseException], number: int
) -> tuple[Place | None, BaseException | None]:
    """Do it with `kind` raised before the line of that number: where, and what came out of it."""
    injector = _Injector(number, kind("injected"))
    sys.settrace(injector)
    try:
        action()
    except BaseException as error:
        return injector.place, error
    finally:
        sys.settrace(None)
    return injector.place, None


def everywhere(
    action: Callable[[], object], kind: type[BaseException], prepare: Callable[[], object]
) -> Iterator[tuple[Place, BaseException | None]]:
    """One place after the other until none is left; `prepare` is called before each."""
    number = 1
    while True:
        prepare()
        place, error = inject(action, kind, number)
        if place is None:
            assert error is None
            return
        yield place, error
        number += 1
