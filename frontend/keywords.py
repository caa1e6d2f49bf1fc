"""Keyword checks shared by optimizers and schedules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from stepforge.frontend.errors import UnknownKeywordError
from stepforge.frontend.hyperparameters import unknown_name


def check_keywords(cls: type[Any], names: Iterable[str]) -> None:
    """Raises UnknownKeywordError for a name that is no field of the dataclass `cls`."""
    known = [field.name for field in fields(cls) if field.repr]
    for name in names:
        if name not in known and name not in (field.name for field in fields(cls)):
            raise unknown_name(f"keyword of {cls.__name__}", name, known, UnknownKeywordError)
