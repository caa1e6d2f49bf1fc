"""Canonical JSON -> `Manifest`: the inverse of `manifest_encode`, bounded and strict."""

from __future__ import annotations

from functools import partial

from stepforge.runtime.errors import VersionMismatchError
from stepforge.runtime.json_reader import Reader, parse
from stepforge.runtime.manifest import (
    ARENA_KINDS,
    FORMAT_VERSION,
    INITIALIZER_KINDS,
    ITEM_SIZES,
    LENGTHS,
    UPDATES,
    Arena,
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
)
from stepforge.runtime.manifest_tables import MAX_VARIABLES, Tables, budget_of, read_variables

MAX_FUNCTIONS = 64
MAX_GROUPS = 1_024
MAX_ARENAS = 16_384
MAX_HYPERPARAMETERS = 256
MAX_SCALAR_ROWS = 4_096
MAX_LIST = 256
MAX_SHARDS = 65_536


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
        "abi", "alignment", "arenas", "facts", "format_version", "formula", "functions", "groups",
        "initializers", "iree_version", "nan_tracing", "package_version", "targets",
        "variables", *(key for key in ("shards", "update", "length") if root.has(key)),
    )  # fmt: skip
    initializers = keys["initializers"].each(MAX_VARIABLES, _initializer)
    budget = budget_of(len(data))
    variables = read_variables(keys["variables"], initializers, budget)
    tables = Tables(variables, budget - len(variables))
    return Manifest(
        package_version=keys["package_version"].text(),
        iree_version=keys["iree_version"].text(),
        targets=keys["targets"].each(MAX_LIST, _target),
        formula=keys["formula"].text(),
        functions=keys["functions"].each(MAX_FUNCTIONS, partial(_function, tables)),
        variables=tables.variables,
        groups=keys["groups"].each(MAX_GROUPS, partial(_group, tables)),
        arenas=keys["arenas"].each(MAX_ARENAS, partial(_arena, tables)),
        shards=keys["shards"].integer(2, MAX_SHARDS) if "shards" in keys else 1,
        nan_tracing=keys["nan_tracing"].boolean(),
        length=keys["length"].one_of(LENGTHS) if "length" in keys else None,
        alignment=keys["alignment"].integer(1, 2**20),
        facts=keys["facts"].each(MAX_LIST, _fact),
        update=keys["update"].one_of(UPDATES) if "update" in keys else "in-place",
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


def _group(tables: Tables, item: Reader) -> Group:
    row = item.fields("function", "hyperparameters", "variables")
    return Group(
        hyperparameters=row["hyperparameters"].each(MAX_HYPERPARAMETERS, _hyperparameter),
        variables=row["variables"].optional(tables.names),
        function=row["function"].optional(Reader.text),
    )


def _arena(tables: Tables, item: Reader) -> Arena:
    row = item.fields("align", "dtype", "kind", "name", "size", "variables")
    return Arena(
        name=row["name"].text(),
        kind=row["kind"].one_of(ARENA_KINDS),
        dtype=row["dtype"].one_of(tuple(ITEM_SIZES)),
        size=row["size"].integer(1),
        align=row["align"].integer(1),
        variables=tables.names(row["variables"]),
    )


def _function(tables: Tables, item: Reader) -> Function:
    row = item.fields("arguments", "name", "parameters", "results", "scalars")
    arguments: list[Argument] = []
    for block in row["arguments"].items(MAX_VARIABLES):
        arguments.extend(tables.arguments(block))
    results: list[Result] = []
    for block in row["results"].items(MAX_VARIABLES):
        results.extend(tables.results(block))
    return Function(
        name=row["name"].text(),
        arguments=tuple(arguments),
        results=tuple(results),
        scalars=row["scalars"].optional(_scalars),
        parameters=tables.names(row["parameters"]),
    )


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
