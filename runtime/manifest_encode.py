"""`Manifest` -> compact canonical JSON.

Runs keep it small: variables that differ only in name, shape and group share one block; a slot
whose name is prefix + parameter + suffix is one rule for all its parameters; arguments that follow
the variable table are `[first, stride, count]`. Equal manifests give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from stepforge.runtime.json_reader import json_number
from stepforge.runtime.manifest import (
    Arena,
    Argument,
    Function,
    Group,
    Hyperparameter,
    Initializer,
    Manifest,
    Result,
    ScalarProgram,
    Target,
    Variable,
)

Json = dict[str, Any]
Affixes = tuple[str, str] | None
T = TypeVar("T")


def to_json(manifest: Manifest) -> bytes:
    """The canonical UTF-8 JSON of a manifest that `manifest_check.check` accepts."""
    # By repr: as values, 0 and 0.0 and False would be one initializer.
    distinct = {repr(v.initializer): v.initializer for v in manifest.variables}
    initializers = [distinct[key] for key in sorted(distinct)]
    index = {v.name: i for i, v in enumerate(manifest.variables)}
    document: Json = {
        "abi": manifest.abi,
        "alignment": manifest.alignment,
        "arenas": [_arena(a, index) for a in manifest.arenas],
        "facts": [list(pair) for pair in manifest.facts],
        "format_version": manifest.format_version,
        "formula": manifest.formula,
        "functions": [_function(f, manifest.variables, index) for f in manifest.functions],
        "groups": [_group(g, index) for g in manifest.groups],
        "initializers": [_initializer(i) for i in initializers],
        "iree_version": manifest.iree_version,
        "nan_tracing": manifest.nan_tracing,
        "package_version": manifest.package_version,
        "targets": [_target(t) for t in manifest.targets],
        "variables": _variables(manifest.variables, initializers, index),
    }
    if manifest.shards != 1:
        document["shards"] = manifest.shards
    if manifest.update != "in-place":
        document["update"] = manifest.update
    if manifest.length is not None:
        document["length"] = manifest.length
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _arena(arena: Arena, index: dict[str, int]) -> Json:
    return {
        "align": arena.align,
        "dtype": arena.dtype,
        "kind": arena.kind,
        "name": arena.name,
        "size": arena.size,
        "variables": _indices(arena.variables, index),
    }


def _initializer(item: Initializer) -> Json:
    value = None if item.value is None else json_number(item.value)
    arguments = [json_number(a) for a in item.arguments]
    return {"arguments": arguments, "kind": item.kind, "seed": item.seed, "value": value}


def _target(target: Target) -> Json:
    return {
        "arch": target.arch,
        "backend": target.backend,
        "cpu": target.cpu,
        "cpu_features": list(target.cpu_features),
        "device": target.device,
        "features": list(target.features),
        "iree_target": target.iree_target,
        "name": target.name,
        "requirements": list(target.requirements),
        "self_test": target.self_test,
        "subgroup_size": target.subgroup_size,
    }


def _hyperparameter(item: Hyperparameter) -> Json:
    row: Json = {
        "aliases": list(item.aliases),
        "name": item.name,
        "settable": item.settable,
        "value": item.value,
        "variable": item.variable,
    }
    if isinstance(item.value, float):
        row["hex"] = item.value.hex()
        row["value"] = repr(item.value)
    if item.minimum is not None:
        row["minimum"] = float(item.minimum)
    if item.below is not None:
        row["below"] = float(item.below)
    return row


def _group(group: Group, index: dict[str, int]) -> Json:
    variables = None if group.variables is None else _indices(group.variables, index)
    return {
        "function": group.function,
        "hyperparameters": [_hyperparameter(h) for h in group.hyperparameters],
        "variables": variables,
    }


def _indices(names: Sequence[str], index: dict[str, int]) -> list[list[int]]:
    return [[first, stride, count] for first, stride, count in runs([index[n] for n in names])]


def runs(indices: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Cut indices into (first, stride, count) with stride >= 1, greedily."""
    position = 0
    while position < len(indices):
        first, stride, count = indices[position], 1, 1
        rest = indices[position + 1 :]
        if rest and rest[0] > first:
            stride = rest[0] - first
            while count <= len(rest) and rest[count - 1] == first + stride * count:
                count += 1
        yield first, stride, count
        position += count


def _split(items: Sequence[T], same: Callable[[T, T], bool]) -> Iterator[list[T]]:
    """Cut into lists of neighbours of which each is `same` as the first of its list."""
    block: list[T] = []
    for item in items:
        if block and not same(block[0], item):
            yield block
            block = []
        block.append(item)
    if block:
        yield block


def _variables(
    variables: Sequence[Variable], initializers: list[Initializer], index: dict[str, int]
) -> list[Json]:
    rank = {repr(item): i for i, item in enumerate(initializers)}
    keyed = [(v, _affixes(v, variables, index)) for v in variables]

    def same(a: tuple[Variable, Affixes], b: tuple[Variable, Affixes]) -> bool:
        return _head(a[0]) == _head(b[0]) and a[1] == b[1]

    blocks: list[Json] = []
    for block in _split(keyed, same):
        first, affixes = block[0]
        row: Json = {
            "dtype": first.dtype,
            "initializer": rank[repr(first.initializer)],
            "role": first.role,
            "slot": first.slot,
            "storage": first.storage,
            "trainable": first.trainable,
        }
        if affixes is None:
            row["rows"] = [_variable_row(v, index) for v, _ in block]
        else:
            row["prefix"], row["suffix"] = affixes
            row["of"] = _indices([v.of for v, _ in block if v.of is not None], index)
        blocks.append(row)
    return blocks


def _head(v: Variable) -> tuple[Any, ...]:
    return (v.role, v.dtype, v.storage, repr(v.initializer), v.trainable, v.slot)


def _affixes(v: Variable, variables: Sequence[Variable], index: dict[str, int]) -> Affixes:
    """(prefix, suffix) when the slot's row follows from its parameter's row."""
    if v.of is None or v.of not in v.name:
        return None
    owner = variables[index[v.of]]
    if (v.shape, v.group) != (owner.shape, owner.group):
        return None
    position = v.name.rfind(v.of)
    return v.name[:position], v.name[position + len(v.of) :]


def _variable_row(v: Variable, index: dict[str, int]) -> list[Any]:
    row: list[Any] = [v.name, list(v.shape), v.group]
    return row if v.of is None else [*row, index[v.of]]


def _function(f: Function, variables: Sequence[Variable], index: dict[str, int]) -> Json:
    return {
        "arguments": _arguments(f.arguments, variables, index),
        "name": f.name,
        "parameters": _indices(f.parameters, index),
        "results": _results(f.results, variables, index),
        "scalars": None if f.scalars is None else _scalars(f.scalars),
    }


def _scalars(program: ScalarProgram) -> Json:
    return {
        "dtype": program.dtype,
        "results": [list(pair) for pair in program.results],
        "rows": [
            [item if isinstance(item, str) else json_number(item) for item in row]
            for row in program.rows
        ],
        "table": list(program.table),
    }


def _follows(item: Argument | Result, variables: Sequence[Variable], index: dict[str, int]) -> bool:
    """True when dtype and shape are those of the variable of that name."""
    position = index.get(item.name)
    if position is None:
        return False
    return (item.dtype, item.shape) == (variables[position].dtype, variables[position].shape)


def _arguments(
    arguments: Sequence[Argument], variables: Sequence[Variable], index: dict[str, int]
) -> list[Json]:
    def same(a: tuple[int, Argument], b: tuple[int, Argument]) -> bool:
        (i, first), (j, other) = a, b
        if not (_follows(first, variables, index) and _follows(other, variables, index)):
            return False
        expected = None if first.result is None else first.result + j - i
        return (first.role, first.derive, expected) == (other.role, other.derive, other.result)

    rows: list[Json] = []
    for block in _split(list(enumerate(arguments)), same):
        first = block[0][1]
        row: Json = {"derive": first.derive, "result": first.result, "role": first.role}
        rows.append(row | _names([a for _, a in block], variables, index))
    return rows


def _results(
    results: Sequence[Result], variables: Sequence[Variable], index: dict[str, int]
) -> list[Json]:
    def same(a: Result, b: Result) -> bool:
        follow = _follows(a, variables, index) and _follows(b, variables, index)
        return follow and a.role == b.role

    return [
        {"role": block[0].role} | _names(block, variables, index) for block in _split(results, same)
    ]


def _names(
    block: Sequence[Argument | Result], variables: Sequence[Variable], index: dict[str, int]
) -> Json:
    if _follows(block[0], variables, index):
        return {"of": _indices([item.name for item in block], index)}
    (item,) = block
    return {"dtype": item.dtype, "name": item.name, "shape": list(item.shape)}
