"""`step.hyperparameters`: read every setting of the optimizer, change the settable ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any, Protocol, cast

import numpy as np

from stepforge.runtime.bounds import check_bounds
from stepforge.runtime.errors import HyperparameterError, UnknownHyperparameterError
from stepforge.runtime.manifest import Group, Hyperparameter, Scalar
from stepforge.runtime.names import listed, nearest


class Numbers(Protocol):
    """Guarded access to the host variables."""

    def read_number(self, path: str) -> Scalar: ...

    def write_number(self, path: str, value: Scalar) -> None: ...


class Hyperparameters(Mapping[str, Scalar | str]):
    """Name -> value over all groups of parameters; aliases are accepted.

    What a scope or a rule set has it in its name: `encoder/adam_epsilon`, `*.bias:learning_rate`.
    Where groups differ otherwise, `groups[i]` is the mapping of one group alone.
    Assigning changes a settable hyperparameter from the next step on, without recompiling.
    """

    __slots__ = ("_numbers", "_table", "groups")

    def __init__(self, groups: tuple[Group, ...], numbers: Numbers) -> None:
        self._numbers = numbers
        self._table = _by_name(groups)
        self.groups: tuple[Hyperparameters, ...] = ()
        if len(groups) > 1:
            self.groups = tuple(Hyperparameters((group,), numbers) for group in groups)

    def __getitem__(self, name: str) -> Scalar | str:
        """The value now. Raises HyperparameterError for a name that is unknown or ambiguous."""
        found = self._found(name)
        variable = self._variable(name, found)
        if variable is not None:
            return self._numbers.read_number(variable)
        # By type too: False == 0, but they are not the same setting.
        if len({(type(item.value), item.value) for item in found}) > 1:
            values = ", ".join(f"{i}: {item.value!r}" for i, item in enumerate(found))
            raise HyperparameterError(
                f"hyperparameter {name!r} differs between groups ({values}); "
                f"read .hyperparameters.groups[i][{name!r}]"
            )
        return found[0].value

    def __setitem__(self, name: str, value: Any) -> None:
        """Change a settable hyperparameter. Raises HyperparameterError; then nothing changed."""
        found = self._found(name)
        variable = self._variable(name, found)
        settable = [item for item in found if item.settable]
        if not settable or variable is None:
            raise HyperparameterError(_refusal(name, found[0]))
        self._numbers.write_number(variable, _number(name, value, settable[0]))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({item.name for items in self._table.values() for item in items}))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._table

    def __repr__(self) -> str:
        return f"Hyperparameters({listed(self, limit=100)})"

    def _found(self, name: object) -> list[Hyperparameter]:
        if not isinstance(name, str):
            raise UnknownHyperparameterError(
                f"no hyperparameter {name!r}: expected a string, got {type(name).__name__}"
            )
        if name not in self._table:
            raise UnknownHyperparameterError(
                f"no hyperparameter {name!r}{nearest(name, self._table)}"
            )
        return self._table[name]

    def _variable(self, name: str, found: list[Hyperparameter]) -> str | None:
        """The host variable that holds the value, when the groups share one."""
        variables = sorted({item.variable for item in found if item.variable is not None})
        if len(variables) > 1:
            raise HyperparameterError(
                f"hyperparameter {name!r} is held apart by groups ({listed(variables)}); use "
                f".hyperparameters.groups[i][{name!r}]"
            )
        return variables[0] if variables else None


def _refusal(name: str, item: Hyperparameter) -> str:
    if item.variable is not None:
        return (
            f"hyperparameter {name!r} follows a schedule that was compiled into the artifact; "
            "compile it again with a plain or Settable value to set it here"
        )
    return (
        f"hyperparameter {name!r} was compiled into the artifact as {item.value!r}; to change it, "
        f"compile again with --settable {quote(item.name)} (in Python: Settable({item.value!r})), "
        "or with another value"
    )


def _by_name(groups: tuple[Group, ...]) -> dict[str, list[Hyperparameter]]:
    table: dict[str, list[Hyperparameter]] = {}
    for group in groups:
        for item in group.hyperparameters:
            for name in (item.name, *item.aliases):
                table.setdefault(name, []).append(item)
    return table


def _number(name: str, value: Any, setting: Hyperparameter) -> Scalar:
    """`value` as the Python number that the hyperparameter takes, within its bounds."""
    item, compiled = _plain(value), setting.value
    where = f"hyperparameter {name!r}"
    if isinstance(compiled, bool):
        if isinstance(item, bool):
            return item
        raise HyperparameterError(f"{where}: expected True or False, got {value!r}")
    if isinstance(item, bool) or not isinstance(item, (int, float)):
        raise HyperparameterError(f"{where}: expected a number, got {value!r}")
    if isinstance(compiled, int):
        if isinstance(item, int) and -(2**63) <= item < 2**63:
            check_bounds(where, item, setting)
            return item
        raise HyperparameterError(f"{where}: expected an integer of 64 bits, got {value!r}")
    check_bounds(where, item, setting)
    return float(item)


def _plain(value: Any) -> Any:
    """A NumPy number as Python's; anything else as it is."""
    numeric = issubclass(cast(Any, type(value)), (np.generic, np.ndarray))
    return value.item() if numeric and value.ndim == 0 else value
