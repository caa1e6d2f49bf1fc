"""Python's garbage collector, out of the way while much is made and kept."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def paused() -> Generator[None]:
    """No search for cycles inside; it is as it was afterwards, whatever happens.

    A compilation makes hundreds of thousands of objects, which live as long as it does and have no
    cycles worth freeing. To look at them again and again is a tenth of its time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
