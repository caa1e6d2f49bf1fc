"""Canonical JSON -> `Manifest`: the inverse of `manifest_encode`, bounded and strict.

Runs are checked against the table they refer to before they are expanded, so the memory used stays
in proportion to the limits below, whatever the file says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from stepforge.runtime.errors import VersionMismatchError
from stepforge.runtime.json_reader import Reader, parse
from stepforge.runtime.manifest import (
    ARGUMENT_ROLES,
    DERIVATIONS,
    FORMAT_VERSION,
    INITIALIZER_KINDS,
    ITEM_SIZES,
    RESULT_ROLES,
    STORAGES,
    VARIABLE_ROLES,
    Argument,
    Function,
    Group,
    Hyperparameter,
    Initializer,
    Manifest,
    Result,
    Row,
    ScalarProgram,
    Target,
    Variable,
)

MAX_VARIABLES = 50_000
MAX_FUNCTIONS = 64
MAX_EXPANDED = 400_000
"""Arguments, results and parameter lists of all functions and groups together."""
MAX_RUNS = 20_000
MAX_GROUPS = 1_024
MAX_HYPERPARAMETERS = 256
MAX_SCALAR_ROWS = 4_096
MAX_RANK = 16
MAX_LIST = 256

DTYPES = tuple(ITEM_SIZES)


def from_json(data: bytes, where: str = "stepforge.json") -> Manifest:
    """Read a manifest. Raises ArtifactFormatError, or VersionMismatchError for another format."""
    root = parse(data, where)
    if root.has("format_version"):
        version = Reader(root.value["format_version"], f"{where}.format_version").integer()
        if version != FORMAT_VERSION:
            raise VersionMismatchError(
                f"{where}: this runtime reads format version {FORMAT_VERSION}, the artifact has "
                f"{version}; compile it again, or use the stepforge release that made it"
            )
    keys = root.fields(
        "abi", "alignment", "facts", "format_version", "formula", "functions", "groups",
        "initializers", "iree_version", "nan_tracing", "package_version", "targets", "variables",
    )  # fmt: skip
    initializers = keys["initializers"].each(MAX_VARIABLES, _initializer)
    tables = _Tables(_variables(keys["variables"], initializers))
    return Manifest(
        package_version=keys["package_version"].text(),
        iree_version=keys["iree_version"].text(),
        targets=keys["targets"].each(MAX_LIST, _target),
        formula=keys["formula"].text(),
        functions=keys["functions"].each(MAX_FUNCTIONS, tables.function),
        variables=tables.variables,
        groups=keys["groups"].each(MAX_GROUPS, tables.group),
        nan_tracing=keys["nan_tracing"].boolean(),
        alignment=keys["alignment"].integer(1, 2**20),
        facts=keys["facts"].each(MAX_LIST, _fact),
        format_version=FORMAT_VERSION,
        abi=keys["abi"].integer(1),
    )


def _fact(item: Reader) -> tuple[str, str]:
    pair = item.each(2, Reader.text)
    if len(pair) != 2:
        item.fail("a pair of strings")
    return pair[0], pair[1]


def _texts(item: Reader) -> tuple[str, ...]:
    return item.each(MAX_LIST, Reader.text)


def _shape(item: Reader) -> tuple[int, ...]:
    return item.each(MAX_RANK, Reader.integer)


def _initializer(item: Reader) -> Initializer:
    row = item.fields("arguments", "kind", "seed", "value")
    return Initializer(
        kind=row["kind"].one_of(INITIALIZER_KINDS),
        value=row["value"].optional(Reader.number),
        seed=row["seed"].optional(lambda seed: seed.integer(-(2**63), 2**63 - 1)),
        arguments=row["arguments"].each(2, lambda number: float(number.number())),
    )


def _target(item: Reader) -> Target:
    row = item.fields(
        "arch", "backend", "cpu", "cpu_features", "device", "features", "iree_target", "name",
        "requirements", "self_test", "subgroup_size",
    )  # fmt: skip
    return Target(
        name=row["name"].text(),
        backend=row["backend"].text(),
        device=row["device"].text(),
        arch=row["arch"].text(),
        cpu=row["cpu"].text(),
        cpu_features=_texts(row["cpu_features"]),
        features=_texts(row["features"]),
        self_test=row["self_test"].boolean(),
        iree_target=row["iree_target"].optional(Reader.text),
        subgroup_size=row["subgroup_size"].optional(Reader.integer),
        requirements=_texts(row["requirements"]),
    )


def _hyperparameter(item: Reader) -> Hyperparameter:
    keys = ["aliases", "name", "settable", "value", "variable"]
    exact = item.has("hex")
    row = item.fields(*keys, *(key for key in ("below", "hex", "minimum") if item.has(key)))
    return Hyperparameter(
        name=row["name"].text(),
        value=_exact_float(row) if exact else _plain(row["value"]),
        settable=row["settable"].boolean(),
        variable=row["variable"].optional(Reader.text),
        aliases=_texts(row["aliases"]),
        minimum=_bound(row.get("minimum")),
        below=_bound(row.get("below")),
    )


def _bound(item: Reader | None) -> float | None:
    if item is None:
        return None
    value = item.number()
    if not isinstance(value, float):
        item.fail("a float")
    return value


def _exact_float(row: dict[str, Reader]) -> float:
    try:
        value = float.fromhex(row["hex"].text())
    except (ValueError, OverflowError):
        row["hex"].fail("a hexadecimal float")
    if repr(value) != row["value"].text():
        row["value"].fail(f"the decimal text {value!r} of the hexadecimal float")
    return value


def _plain(item: Reader) -> int | bool | str:
    if isinstance(item.value, str):
        return item.text()
    value = item.number()
    if isinstance(value, float):
        item.fail("an integer, a bool or a string (a float also has 'hex')")
    return value


def _run(item: Reader, size: int) -> range:
    """[first, stride, count] as indices into a table of `size` entries."""
    # Not through readers of its three numbers: a hostile file has many runs.
    value = item.value
    if type(value) is not list or [type(n) for n in cast(list[Any], value)] != [int] * 3:
        item.fail("[first, stride, count]")
    first, stride, count = cast(list[int], value)
    if min(first, stride - 1, count - 1) < 0 or first + stride * (count - 1) >= size:
        item.fail(f"[first, stride, count] within a table of {size} entries")
    return range(first, first + stride * count, stride)


def _variables(item: Reader, initializers: tuple[Initializer, ...]) -> tuple[Variable, ...]:
    """Expand the blocks. A slot refers to its parameter by index, which comes before it."""
    found: list[Variable] = []
    for block in item.items(MAX_VARIABLES):
        keys = ("dtype", "initializer", "role", "slot", "storage", "trainable")
        by_rule = block.has("of")
        row = block.fields(*keys, *(("of", "prefix", "suffix") if by_rule else ("rows",)))
        head = _head(row, initializers)
        limit = MAX_VARIABLES - len(found)
        if by_rule:
            found.extend(_by_rule(row, head, found, limit))
        else:
            found.extend([_by_row(r, head, found) for r in row["rows"].items(limit)])
    return tuple(found)


def _head(row: dict[str, Reader], initializers: tuple[Initializer, ...]) -> Variable:
    """What the variables of a block have in common."""
    initializer = row["initializer"].integer(0, len(initializers) - 1)
    return Variable(
        name="",
        role=row["role"].one_of(VARIABLE_ROLES),
        dtype=row["dtype"].one_of(DTYPES),
        storage=row["storage"].one_of(STORAGES),
        initializer=initializers[initializer],
        slot=row["slot"].optional(Reader.text),
        trainable=row["trainable"].boolean(),
    )


def _by_rule(
    row: dict[str, Reader], head: Variable, found: list[Variable], limit: int
) -> list[Variable]:
    prefix, suffix = row["prefix"].text(), row["suffix"].text()
    owners: list[Variable] = []
    for run in row["of"].items(MAX_RUNS):
        owners.extend(found[i] for i in _run(run, len(found)))
        if len(owners) > limit:
            run.fail(f"at most {MAX_VARIABLES} variables")
    return [
        replace(head, name=prefix + o.name + suffix, shape=o.shape, group=o.group, of=o.name)
        for o in owners
    ]


def _by_row(item: Reader, head: Variable, found: list[Variable]) -> Variable:
    cells = item.items(4)
    if len(cells) < 3:
        item.fail("[name, shape, group] or [name, shape, group, owner]")
    owner = found[cells[3].integer(0, len(found) - 1)].name if len(cells) == 4 else None
    return replace(
        head,
        name=cells[0].text(),
        shape=_shape(cells[1]),
        group=cells[2].optional(Reader.integer),
        of=owner,
    )


@dataclass(slots=True)
class _Tables:
    """Expands what refers to the variable table, within one budget for the whole manifest."""

    variables: tuple[Variable, ...]
    budget: int = MAX_EXPANDED

    def indices(self, item: Reader) -> list[Variable]:
        found: list[Variable] = []
        for row in item.items(MAX_RUNS):
            run = _run(row, len(self.variables))
            self.spend(len(run), row)
            found.extend(self.variables[i] for i in run)
        return found

    def spend(self, count: int, where: Reader) -> None:
        self.budget -= count
        if self.budget < 0:
            where.fail(f"at most {MAX_EXPANDED} arguments, results and list entries in all")

    def names(self, item: Reader) -> tuple[str, ...]:
        return tuple(v.name for v in self.indices(item))

    def group(self, item: Reader) -> Group:
        row = item.fields("function", "hyperparameters", "variables")
        return Group(
            hyperparameters=row["hyperparameters"].each(MAX_HYPERPARAMETERS, _hyperparameter),
            variables=row["variables"].optional(self.names),
            function=row["function"].optional(Reader.text),
        )

    def function(self, item: Reader) -> Function:
        row = item.fields("arguments", "name", "parameters", "results", "scalars")
        arguments: list[Argument] = []
        for block in row["arguments"].items(MAX_VARIABLES):
            arguments.extend(self.arguments(block))
        results: list[Result] = []
        for block in row["results"].items(MAX_VARIABLES):
            results.extend(self.results(block))
        return Function(
            name=row["name"].text(),
            arguments=tuple(arguments),
            results=tuple(results),
            scalars=row["scalars"].optional(_scalars),
            parameters=self.names(row["parameters"]),
        )

    def arguments(self, item: Reader) -> list[Argument]:
        row, entries = self.entries(item, "derive", "result", "role")
        role = row["role"].one_of(ARGUMENT_ROLES)
        derive = row["derive"].one_of(DERIVATIONS)
        result = row["result"].optional(Reader.integer)
        return [
            Argument(name, role, dtype, shape, derive, None if result is None else result + i)
            for i, (name, dtype, shape) in enumerate(entries)
        ]

    def results(self, item: Reader) -> list[Result]:
        row, entries = self.entries(item, "role")
        role = row["role"].one_of(RESULT_ROLES)
        return [Result(name, role, dtype, shape) for name, dtype, shape in entries]

    def entries(
        self, item: Reader, *keys: str
    ) -> tuple[dict[str, Reader], list[tuple[str, str, tuple[int, ...]]]]:
        """The (name, dtype, shape) of a block: by reference to variables, or written out."""
        if item.has("of"):
            row = item.fields(*keys, "of")
            return row, [(v.name, v.dtype, v.shape) for v in self.indices(row["of"])]
        self.spend(1, item)
        row = item.fields(*keys, "dtype", "name", "shape")
        return row, [(row["name"].text(), row["dtype"].one_of(DTYPES), _shape(row["shape"]))]


def _scalars(item: Reader) -> ScalarProgram:
    row = item.fields("dtype", "results", "rows", "table")
    return ScalarProgram(
        dtype=row["dtype"].one_of(("float32", "float64")),
        rows=row["rows"].each(MAX_SCALAR_ROWS, _scalar_row),
        table=row["table"].each(MAX_SCALAR_ROWS, Reader.integer),
        results=row["results"].each(MAX_SCALAR_ROWS, _scalar_result),
    )


def _scalar_row(item: Reader) -> Row:
    def cell(reader: Reader) -> str | float | int | bool:
        return reader.text() if isinstance(reader.value, str) else reader.number()

    return item.each(8, cell)


def _scalar_result(item: Reader) -> tuple[str, int]:
    cells = item.items(2)
    if len(cells) != 2:
        item.fail("[variable, row]")
    return cells[0].text(), cells[1].integer()
