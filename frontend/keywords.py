"""Keyword checks shared by optimizers and schedules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from stepforge.frontend.errors import UnknownKeywordError
from stepforge.frontend.nearest import unknown_name


def check_keywords(cls: type[Any], names: Iterable[str]) -> None:
    """Raises UnknownKeywordError for a name that is no field of the dataclass `cls`.

    Fields that are not in its `repr` are accepted, but not suggested.
    """
    known = {field.name: field.repr for field in fields(cls)}
    shown = [name for name, is_shown in known.items() if is_shown]
    for name in names:
        if name not in known:
            raise unknown_name(f"keyword of {cls.__name__}", name, shown, UnknownKeywordError)
