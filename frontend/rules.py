"""Rules: hyperparameters for the parameters whose names match a glob."""

from __future__ import annotations

import difflib
import fnmatch
import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepforge.frontend.errors import ContextError, HyperparameterError
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    ONE_FOR_ALL,
    canonical_name,
    check_value,
)

FROZEN = "frozen"
"""What a rule may say beside hyperparameters: whether its parameters keep their values."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """`values` of hyperparameters, for the variables whose paths match the glob `pattern`."""

    pattern: str
    """Of paths, so that it starts with a slash."""
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The pattern as users see it: of names, from the root."""
        return self.pattern.removeprefix("/")

    def matches(self, path: str) -> bool:
        return matches(path, self.pattern)


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches a glob: `*` any text, slashes and dots too, `?` one character, `[ab]`
    one of these, `[!ab]` one of the others; upper and lower case differ."""
    return fnmatch.fnmatchcase(name, pattern)


def rule_of(scope: str, pattern: str, values: Mapping[str, Any], *, custom: bool) -> Rule:
    """The rule for names below `scope`, a path prefix, or from the root for `/...`.

    custom: whether names that are not in KNOWN_HYPERPARAMETERS are taken, with any value.
    Raises FrontendError for a pattern that is none, and for values of hyperparameters that are
    unknown, out of bounds, or one for all parameters.
    """
    if not pattern.strip("/") or pattern != pattern.strip() or not pattern.isprintable():
        hint = "as in '*.bias', 'encoder/*' or '*' for all"
        raise ContextError("a rule is for a glob of names", got=repr(pattern), hint=hint)
    checked = dict(_checked(name, value, custom) for name, value in values.items())
    inside = pattern if pattern.startswith("/") else f"{glob.escape(scope)}/{pattern}"
    return Rule(inside, checked)


def _checked(name: str, value: Any, custom: bool) -> tuple[str, Any]:
    if name == FROZEN:
        if isinstance(value, bool):
            return name, value
        expected = "True or False"
        rule = f"a rule says {FROZEN!r} or not"
        raise HyperparameterError(rule, expected=expected, got=repr(value))
    if custom and name not in KNOWN_HYPERPARAMETERS:
        return name, value
    known = canonical_name(name)
    if known in ONE_FOR_ALL:
        raise HyperparameterError(
            f"the hyperparameter {known!r} is one for all parameters of an optimizer",
            got="a rule for some of them",
            hint="set it for all: without a glob, by ctx.set_param or --set NAME=VALUE",
        )
    return known, check_value(known, value)


def found_in(rules: Sequence[Rule], path: str, name: str) -> tuple[Rule, Any] | None:
    """The last rule that matches a path and gives `name`, and its value."""
    for rule in reversed(rules):
        if name in rule.values and rule.matches(path):
            return rule, rule.values[name]
    return None


def check_rules(rules: Sequence[Rule], paths: Iterable[str]) -> None:
    """Raises ContextError, with the nearest names, for a rule that matches none of the paths."""
    known = [path.removeprefix("/") for path in paths]
    for rule in rules:
        if not any(matches(f"/{name}", rule.pattern) for name in known):
            raise ContextError(
                f"the rule {rule.name!r} matches no parameter",
                expected=f"a glob of names such as {nearest_names(rule.name, known)}",
                got=f"{len(known)} parameters",
                hint="'*' stands for any text, slashes and dots too; upper and lower case differ",
            )


def nearest_names(pattern: str, names: Sequence[str]) -> str:
    """The names most like a glob, as a text; else the first."""
    close = difflib.get_close_matches(pattern, names, n=_SHOWN, cutoff=0.3)
    return ", ".join(repr(name) for name in close or names[:_SHOWN])
