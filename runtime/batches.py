"""Batches as training takes them: something to go through once an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from stepforge.runtime.errors import BatchError

Batch: TypeAlias = Mapping[str, Any]
Batches: TypeAlias = Iterable[Batch] | Callable[[int], Iterable[Batch]]
"""Batches of one epoch, or a function from an epoch's number, from 1, to them."""

_END = object()


def check_batches(batches: Any, what: str, *, once: bool) -> None:
    """Raise BatchError for what can be gone through once, unless `once` is enough."""
    if not once and isinstance(batches, Iterator):
        kind = type(cast(Any, batches)).__name__
        raise BatchError(
            f"{what}: a {kind} can be gone through only once, and there are several epochs; give a "
            "list, or a function that is called with each epoch's number"
        )


def length(batches: Batches) -> int | None:
    """How many an epoch has, where that is known before."""
    if callable(batches):
        return None
    try:
        return len(cast(Any, batches))
    except TypeError:
        return None


def batches_of(batches: Batches, epoch: int, what: str, used: int = 0) -> Iterator[Batch]:
    """An epoch's batches after the first `used`. Raises BatchError, now or when one is taken."""
    made: Any = batches(epoch) if callable(batches) else batches
    if not isinstance(made, Iterable) or isinstance(made, (Mapping, str, bytes)):
        raise BatchError(
            f"{what}: expected an iterable of mappings from name to array, or a function that "
            f"returns one, got {type(cast(Any, made)).__name__}"
        )
    iterator = iter(cast(Iterable[Any], made))
    for skipped in range(used):
        if next(iterator, _END) is _END:
            raise BatchError(
                f"{what}: epoch {epoch} has {skipped} batches; the run had used {used} of it when "
                "it was saved. Give the same batches to go on"
            )
    return _checked(iterator, f"{what}: epoch {epoch}", used)


def _checked(iterator: Iterator[Any], where: str, used: int) -> Iterator[Batch]:
    for number, batch in enumerate(iterator, used + 1):
        if not isinstance(batch, Mapping) or not all(map(_is_name, cast(Batch, batch))):
            raise BatchError(
                f"{where}, batch {number}: expected a mapping from name to array, got "
                f"{_kind(batch)}"
            )
        yield cast(Batch, batch)


def _is_name(key: object) -> bool:
    return isinstance(key, str)


def _kind(batch: Any) -> str:
    name = type(batch).__name__
    if isinstance(batch, Mapping):
        return f"a {name} with the keys {list(cast(Batch, batch))[:8]}"
    return name
