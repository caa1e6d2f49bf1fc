"""Names as users give them, and what to say of one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """A tail for a message: "; did you mean 'a' or 'b'?", or the first known names, or nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    # A short name inside a longer one (epsilon, adam_epsilon) counts as near too.
    close += [n for n in names if name and name in n and n not in close]
    if close:
        return f"; did you mean {' or '.join(repr(n) for n in close[:3])}?"
    return f"; there are {listed(names)}" if names else ""


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Sorted names for a message, cut after `limit`."""
    ordered = sorted(names)
    text = ", ".join(repr(n) for n in ordered[:limit])
    return text if len(ordered) <= limit else f"{text} and {len(ordered) - limit} more"
