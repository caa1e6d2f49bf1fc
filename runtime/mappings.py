"""`step.parameters`, `step.variables` and `step.gradients`: state by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Any, Protocol, cast

from stepforge.runtime.arrays import Array, checked
from stepforge.runtime.errors import ClosedError, GradientError, InputError, UnknownNameError
from stepforge.runtime.names import listed, nearest


class Store(Protocol):
    """Guarded access to the state, by path."""

    def read_variable(self, path: str) -> Array: ...

    def write_variable(self, path: str, value: Any) -> None: ...


def find_path(name: object, paths: Collection[str], what: str) -> str:
    """The path of a name, given as `encoder/w` or `/encoder/w`. Raises UnknownNameError."""
    if not isinstance(name, str):
        raise UnknownNameError(f"no {what} {name!r}: expected a string, got {type(name).__name__}")
    if f"/{name}" in paths:
        return f"/{name}"
    if name in paths:
        return name
    known = [path[1:] for path in paths]
    raise UnknownNameError(f"no {what} {name!r}{nearest(name, known)}")


def by_path(
    given: Any, paths: Collection[str], where: str, error: type[InputError] = InputError
) -> dict[str, Any]:
    """A caller's mapping with names turned into paths; unknown names stay as they are.

    Raises `error` when it is no mapping, or names one thing in both ways.
    """
    if not isinstance(given, Mapping):
        raise error(
            f"{where}: expected a mapping of parameter names to arrays, got {type(given).__name__}"
        )
    result: dict[str, Any] = {}
    for name, value in cast(Mapping[object, Any], given).items():
        if not isinstance(name, str):
            raise error(f"{where}: expected strings as names, got {name!r} ({type(name).__name__})")
        path = f"/{name}" if f"/{name}" in paths else name
        if path in result:
            raise error(f"{where}: {path[1:]!r} is given twice, as {path[1:]!r} and {path!r}")
        result[path] = value
    return result


def plain(given: Any) -> Any:
    """A mapping as a dict, whose values no later look-up computes; anything else as it is."""
    return dict(cast(Mapping[Any, Any], given).items()) if isinstance(given, Mapping) else given


class Values(MutableMapping[str, Array]):
    """Reading copies from the device; assigning writes that variable and leaves all others."""

    __slots__ = ("_keys", "_paths", "_plain", "_store", "_what")

    def __init__(self, paths: Collection[str], store: Store, what: str, *, plain: bool) -> None:
        """`plain`: the names lose the leading slash, as users gave them."""
        self._plain = plain
        self._store = store
        self._what = what
        self.define(paths)

    def define(self, paths: Collection[str]) -> None:
        """Have other variables."""
        self._paths = dict.fromkeys(paths)
        self._keys = tuple(path[1:] if self._plain else path for path in paths)

    def __getitem__(self, name: str) -> Array:
        return self._store.read_variable(find_path(name, self._paths, self._what))

    def __setitem__(self, name: str, value: Any) -> None:
        self._store.write_variable(find_path(name, self._paths, self._what), value)

    def __delitem__(self, name: str) -> None:
        raise InputError(f"{self._what} {name!r} is part of the artifact and cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._paths or f"/{name}" in self._paths)

    def __repr__(self) -> str:
        return f"{self._what}s: {listed(self._keys)}"


class Slots(Mapping[str, Array]):
    """Parameter -> copy of one kind of slot that an optimizer keeps for it."""

    __slots__ = ("_paths", "_store")

    def __init__(self, paths: Mapping[str, str], store: Store) -> None:
        """`paths`: of each parameter, that of its slot."""
        self._paths = dict(paths)
        self._store = store

    def __getitem__(self, name: str) -> Array:
        return self._store.read_variable(self._paths[find_path(name, self._paths, "parameter")])

    def __iter__(self) -> Iterator[str]:
        return iter([path[1:] for path in self._paths])

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"slots of parameters: {listed(self)}"


class Gradients(Mapping[str, Array]):
    """Writable host memory in the right layout, by parameter: fill it, then call `step()`."""

    __slots__ = ("_arrays", "_problem")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays: Mapping[str, Array] = arrays
        self._problem: str | None = None

    def define(self, arrays: Mapping[str, Array]) -> None:
        """Have the gradients of other parameters."""
        self._arrays = arrays

    def close(self, problem: str) -> None:
        """Let go of the memory; every look-up then raises ClosedError with this text."""
        self._arrays = {}
        self._problem = problem

    def __getitem__(self, name: str) -> Array:
        if self._problem is not None:
            raise ClosedError(self._problem)
        return self._arrays[find_path(name, self._arrays, "gradient")]

    def __setitem__(self, name: str, value: Any) -> None:
        # `gradients[name] = x` and `gradients[name] += x` mean the contents.
        target = self[name]
        if value is not target:
            where = f"gradient {name.removeprefix('/')!r}"
            target[...] = checked(value, where, target.dtype, target.shape, GradientError)

    def __iter__(self) -> Iterator[str]:
        return iter([path[1:] for path in self._arrays])

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"gradients: {listed(self)}"
