"""What to compile: from the command line, from a recipe in TOML, or from both."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from stepforge.tools.errors import NO_TOML, ToolError

KEYS = (
    *(
        "params",
        "include",
        "exclude",
        "model",
        "input",
        "batch",
        "accumulate",
        "after_update",
        "set",
        "rules",
        "settable",
        "target",
    ),
)
_TABLES = {
    "set": "hyperparameters and values",
    "rules": "globs, each with a table of hyperparameters and values",
    "input": "names and shapes",
}
_BARE_WORD = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`params`: a file or a mapping of specs. `settings`: hyperparameter -> value; that of a rule
    is called `GLOB:NAME`.

    `model`: the loss function of a training step, whose `inputs` have names and specs; those with
    `?` are served in each of `batch_sizes`. `after_update`: a function, found as the model's.
    """

    params: Path | Mapping[str, Any] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settable: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    model: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    batch_sizes: tuple[int, ...] = ()
    accumulate: int | None = None
    after_update: str | None = None


def read_recipe(path: Path) -> Recipe:
    """A recipe such as

        params = "model.safetensors"      # beside the recipe, or a table of specs
        exclude = ["*.running_mean"]
        settable = ["weight_decay"]
        target = ["cpu", "vulkan"]

        [set]
        learning_rate = 0.003

        [rules."*.bias"]              # for parameters whose names match; the last one wins
        weight_decay = 0.0

    Every key is optional. Raises ToolError for a key that it does not know.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except NO_TOML as error:
        raise ToolError(f"a recipe is TOML: {path}: {error}") from error
    for key in fields:
        if key not in KEYS:
            raise ToolError(f"{path} has no use for the key {key!r}{nearest(key, KEYS)}")
    for key, what in _TABLES.items():
        if not isinstance(fields.get(key, {}), dict):
            raise ToolError(f"{path}: {key} must be a table, [{key}], of {what}")
    accumulate = fields.get("accumulate")
    if not isinstance(accumulate, int | None) or isinstance(accumulate, bool):
        raise ToolError(f"{path}: accumulate must be a number of micro-batches, got {accumulate!r}")
    return Recipe(
        params=_params(path, fields.get("params")),
        include=_names(path, "include", fields),
        exclude=_names(path, "exclude", fields),
        settings={**fields.get("set", {}), **_rules(path, fields.get("rules", {}))},
        settable=_names(path, "settable", fields),
        targets=_names(path, "target", fields),
        model=_function(path, "model", fields),
        inputs=cast("dict[str, Any]", fields.get("input", {})),
        batch_sizes=_batch_sizes(path, fields.get("batch", [])),
        accumulate=accumulate,
        after_update=_function(path, "after_update", fields),
    )


def _rules(path: Path, tables: Mapping[str, Any]) -> dict[str, Any]:
    for glob, table in tables.items():
        if not isinstance(table, dict):
            raise ToolError(
                f"{path}: a rule is a table of hyperparameters and values, "
                f'[rules."{glob}"], got {table!r}'
            )
    return {f"{glob}:{name}": x for glob, table in tables.items() for name, x in table.items()}


def _batch_sizes(path: Path, value: Any) -> tuple[int, ...]:
    sizes = cast("list[Any]", value) if isinstance(value, list) else [value]
    if all(type(size) is int for size in sizes):
        return tuple(cast("list[int]", sizes))
    raise ToolError(f"{path}: batch must be numbers of rows, such as [1, 8, 32], got {value!r}")


def _function(path: Path, key: str, fields: Mapping[str, Any]) -> str | None:
    """A file is looked for beside the recipe."""
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ToolError(f'{path}: {key} must be a text, "model.py:function", got {value!r}')
    place, _, name = value.rpartition(":")
    return f"{path.parent / place}:{name}" if place.endswith(".py") else value


def _params(path: Path, value: Any) -> Path | Mapping[str, Any] | None:
    if value is None or isinstance(value, dict):
        return cast("dict[str, Any] | None", value)
    if isinstance(value, str):
        return path.parent / value
    raise ToolError(f"{path}: params must be a file name or a table of specs, got {value!r}")


def _names(path: Path, key: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    value = fields.get(key, [])
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value)):
        return tuple(cast("list[str]", value))
    raise ToolError(f"{path}: {key} must be a list of texts, got {value!r}")


def combine(base: Recipe, over: Recipe) -> Recipe:
    """`over` (the command line) wins; settings and settables add up."""
    return Recipe(
        params=base.params if over.params is None else over.params,
        include=over.include or base.include,
        exclude=over.exclude or base.exclude,
        settings=_last_wins((*base.settings.items(), *over.settings.items())),
        settable=tuple(dict.fromkeys((*base.settable, *over.settable))),
        targets=over.targets or base.targets,
        model=over.model or base.model,
        inputs={**base.inputs, **over.inputs},
        batch_sizes=over.batch_sizes or base.batch_sizes,
        accumulate=base.accumulate if over.accumulate is None else over.accumulate,
        after_update=over.after_update or base.after_update,
    )


def parse_settings(assignments: Sequence[str]) -> Mapping[str, Any]:
    """`NAME=VALUE` and `GLOB:NAME=VALUE` pairs; values as in TOML, and a bare word is a text."""
    return _last_wins(_parse_setting(assignment) for assignment in assignments)


def _last_wins(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Each name once, where it stands last: of two rules the later one wins."""
    found: dict[str, Any] = {}
    for name, value in settings:
        found.pop(name, None)
        found[name] = value
    return found


def _parse_setting(assignment: str) -> tuple[str, Any]:
    name, equals, text = assignment.partition("=")
    if not equals or not name.strip():
        raise ToolError(f"--set takes NAME=VALUE or GLOB:NAME=VALUE, got {assignment!r}")
    return name.strip(), _parse_value(assignment, text.strip())


def _parse_value(assignment: str, text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except NO_TOML as error:
        if _BARE_WORD.fullmatch(text):
            return text
        raise ToolError(
            f"a value is written as in TOML (0.01, 3, true, 'text'): --set {assignment}: {error}"
        ) from error
    if parsed.keys() != {"value"}:
        raise ToolError(f"--set takes one value, got {assignment!r}")
    return parsed["value"]


def split_names(values: Sequence[str]) -> tuple[str, ...]:
    """`--settable A,B --settable C` -> A, B, C."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name."""
    close = difflib.get_close_matches(name, names, n=1)
    known = f"it knows {', '.join(sorted(names))}"
    return f"; did you mean {close[0]!r}? {known}" if close else f"; {known}"
