"""Coming between a save and the operating system: every call of `os` that saving makes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAMES = (
    "close",
    "fchmod",
    "fsync",
    "kill",
    "link",
    "listdir",
    "mkdir",
    "open",
    "posix_fadvise",
    "posix_fallocate",
    "replace",
    "rmdir",
    "stat",
    "unlink",
    "write",
)

Handler = Callable[[str, tuple[Any, ...], Callable[..., Any]], Any]
"""Given a call's name, its arguments and the real function; what it returns is the result."""


@contextmanager
def intercepted(handle: Handler) -> Iterator[None]:
    """Give each call to `handle`, which calls the real functions without coming here again."""
    real = {name: getattr(os, name) for name in NAMES}

    def replacement(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            def go(*others: Any) -> Any:
                return real[name](*(others or arguments), **options)

            return handle(name, arguments, go)

        return call

    try:
        for name in NAMES:
            setattr(os, name, replacement(name))
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def calls_of(work: Callable[[], object]) -> list[str]:
    """The names of the calls that `work` makes, in order."""
    found: list[str] = []

    def note(name: str, _: tuple[Any, ...], go: Callable[..., Any]) -> Any:
        found.append(name)
        return go()

    with intercepted(note):
        work()
    return found
