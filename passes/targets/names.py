"""Near names for unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def unknown(got: str, prefix: str, known: Sequence[str]) -> str:
    """The message for an unknown target `got` of the backend `prefix`."""
    return (
        f"there is no target {got}{near(got.removeprefix(f'{prefix}:'), known, prefix)}; "
        f"{prefix} knows {', '.join(known)}"
    )


def near(got: str, known: Sequence[str], prefix: str = "") -> str:
    """`; did you mean a, b?`, or nothing where nothing is near."""
    found = difflib.get_close_matches(got.lower(), known, n=3, cutoff=0.5)
    if not found:
        return ""
    lead = f"{prefix}:" if prefix else ""
    return f"; did you mean {' or '.join(lead + name for name in found)}?"
