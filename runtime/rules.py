"""How a rule of the manifest is stated, and told when it is broken."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from stepforge.runtime.errors import ArtifactFormatError


def require(holds: bool, where: str, rule: str, *details: object) -> None:
    """Raises ArtifactFormatError where `holds` is False.

    where: the part of the manifest, or nothing. rule: a template of `str.format` for `details`. It
    is filled in only then: a large model has a hundred thousand rules that hold.
    """
    if holds:
        return
    told = rule.format(*details)
    raise ArtifactFormatError(f"manifest: {where}: {told}" if where else f"manifest: {told}")


def require_once(items: Sequence[Hashable], where: str, what: str) -> None:
    """Raises ArtifactFormatError where one of the items, of which each is `what`, comes twice."""
    require(len(set(items)) == len(items), where, "{} comes twice", what)
