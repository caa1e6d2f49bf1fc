"""The attributes that say what an argument is; the frontend writes them, docs/architecture.md."""

from __future__ import annotations

from typing import Final

from stepforge.passes import bindings
from stepforge.passes.bindings import Attributes

PREFIX: Final = "stepforge."
ABI: Final = "stepforge.abi"
SHARDS: Final = "stepforge.shards"
"""Of a module: into how many equal ranges each arena divides; 1 if absent."""
NAME: Final = "stepforge.name"
ROLE: Final = "stepforge.role"
RESULT: Final = "stepforge.result"
"""Index of the result that replaces the argument."""
MEMBERS: Final = "stepforge.members"
"""Of an arena: the variables in it, and how they are aligned."""
VIEW: Final = "stepforge.view"
"""The type that the caller sees, where the function takes the same memory in another shape."""
FREE_LENGTH: Final = "stepforge.free_length"
"""Of a module: its one variable stands for arenas of any length."""
OUTPUT: Final = "iree.abi.output"
"""IREE's own: that result is written into the memory of the argument."""


def label(attributes: Attributes) -> str:
    """What messages call an argument: `gradient /encoder/w`."""
    words = [bindings.text(attributes.get(key)) for key in (ROLE, NAME)]
    return " ".join(word for word in words if word)
