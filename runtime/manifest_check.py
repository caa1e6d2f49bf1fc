"""The rules that tie a manifest's parts together; writer and reader both check them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from stepforge.runtime.any_length import check_pattern
from stepforge.runtime.arenas import check_arenas
from stepforge.runtime.batch_sizes import batch_inputs, variant
from stepforge.runtime.errors import ArtifactFormatError, VersionMismatchError
from stepforge.runtime.manifest import (
    ABI,
    ARGUMENT_ROLES,
    DERIVATIONS,
    FORMAT_VERSION,
    INITIALIZER_KINDS,
    ITEM_SIZES,
    RESULT_ROLES,
    STORAGES,
    UPDATES,
    VARIABLE_ROLES,
    Arena,
    Argument,
    Function,
    Group,
    Manifest,
    Variable,
)
from stepforge.runtime.phases import check_phases
from stepforge.runtime.scalars import compile_program, host_arguments, inputs

MAX_BYTES = 2**46
MAX_NAME = 1024
MAX_ALIGNMENT = 64
"""What this runtime gives every buffer."""
HOST_DTYPES = ("float32", "float64", "int32", "int64", "bool")
T = TypeVar("T")

DEVICES = ("local", "vulkan", "cuda", "hip", "metal")


def check(manifest: Manifest) -> None:
    """Raise ArtifactFormatError at the first broken rule (VersionMismatchError for versions)."""
    if manifest.format_version != FORMAT_VERSION or manifest.abi != ABI:
        raise VersionMismatchError(
            f"format version {manifest.format_version}, ABI {manifest.abi}: this runtime reads "
            f"format version {FORMAT_VERSION}, ABI {ABI}"
        )
    _require(len(manifest.targets) == 1, "format 1 has exactly one target")
    target = manifest.targets[0]
    _require(target.device in DEVICES, f"target device {target.device!r} is none of {DEVICES}")
    _require(manifest.update in UPDATES, f"update {manifest.update!r} is none of {UPDATES}")
    alignment = manifest.alignment
    fits = 1 <= alignment <= MAX_ALIGNMENT and not alignment & (alignment - 1)
    _require(fits, f"alignment is a power of two up to {MAX_ALIGNMENT}")
    table = _unique("variable", manifest.variables, lambda v: v.name)
    seen: set[str] = set()
    for variable in manifest.variables:
        _check_variable(variable, table, seen, len(manifest.groups))
        seen.add(variable.name)
    arenas = _unique("arena", manifest.arenas, lambda a: a.name)
    check_arenas(manifest.arenas, table, alignment, _require)
    for arena in manifest.arenas:
        bytes_, rest = divmod(arena.size * ITEM_SIZES[arena.dtype], max(1, manifest.shards))
        fits = manifest.shards >= 1 and not rest and not bytes_ % alignment
        fits = fits or manifest.shards == 1
        rule = f"does not divide into {manifest.shards} equal ranges, each aligned"
        _require(fits, f"arena {arena.name!r} {rule}")
    held = {(a.kind, name) for a in manifest.arenas for name in a.variables}
    functions = _unique("function", manifest.functions, lambda f: f.name)
    for function in manifest.functions:
        _check_function(function, table, arenas)
        for a in function.arguments:
            kind = "gradient" if a.role == "gradient" else "state"
            _require((kind, a.name) not in held, f"{a.name!r} is an argument and in an arena")
    _check_inputs(functions)
    check_phases(functions, _require)
    for index, group in enumerate(manifest.groups):
        _check_group(f"group {index}", group, table, functions)
    if manifest.length is not None:
        check_pattern(manifest, _require)


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ArtifactFormatError(f"manifest: {rule}")


def _unique(what: str, items: tuple[T, ...], name: Callable[[T], str]) -> dict[str, T]:
    table = {name(item): item for item in items}
    _require(len(table) == len(items), f"{what} names must differ")
    return table


def _check_inputs(functions: Mapping[str, Function]) -> None:
    """Functions share inputs, but for the leading size of those for other batch sizes."""
    seen: dict[str, Argument] = {}
    batches: dict[str, tuple[str, ...]] = {}
    for function in functions.values():
        plain, rows = variant(function, functions)
        if rows is None:
            for a in function.arguments:
                first = seen.setdefault(a.name, a) if a.role in ("gradient", "input") else a
                same = (first.dtype, first.shape, first.role) == (a.dtype, a.shape, a.role)
                _require(same, f"input {a.name!r} differs between functions")
            continue
        where = f"function {function.name!r}"
        _check_batch(where, rows, function, functions[plain])
        names = batch_inputs(function, functions[plain])
        fits = bool(names) and batches.setdefault(plain, names) == names
        _require(fits, f"{where}: the inputs with a row per example are not the same in each size")


def _check_batch(where: str, rows: int, function: Function, plain: Function) -> None:
    """Only the leading sizes differ."""
    pairs = [[a for a in f.arguments if a.role == "input"] for f in (function, plain)]
    same = [a.name for a in pairs[0]] == [a.name for a in pairs[1]]
    _require(same, f"{where}: its inputs are not those of {plain.name!r}")
    sizes: set[int] = set()
    for a, b in zip(*pairs, strict=True):
        batch = bool(b.shape) and a.shape == (rows, *b.shape[1:])
        fits = a.dtype == b.dtype and (batch or a.shape == b.shape)
        _require(fits, f"{where}: input {a.name!r} is not that of {plain.name!r} with {rows} rows")
        sizes.update(b.shape[:1] if a.shape != b.shape else ())
    _require(len(sizes) <= 1, f"{where}: batches of {plain.name!r} have several sizes")


def _check_variable(
    v: Variable, table: Mapping[str, Variable], seen: set[str], groups: int
) -> None:
    where = f"variable {v.name!r}"
    _require(v.name.startswith("/") and len(v.name) > 1, f"{where}: a path starts with '/'")
    _require(v.name.isprintable() and len(v.name) <= MAX_NAME, f"{where}: not a printable name")
    _require(v.role in VARIABLE_ROLES, f"{where}: role {v.role!r} is none of {VARIABLE_ROLES}")
    _require(v.storage in STORAGES, f"{where}: storage {v.storage!r} is none of {STORAGES}")
    _check_type(where, v.dtype, v.shape)
    if v.storage == "host":
        fits = v.shape == () and v.dtype in HOST_DTYPES
        _require(fits, f"{where}: a host variable is rank 0 with a dtype of {HOST_DTYPES}")
    if v.role == "parameter":
        _require(v.storage == "device", f"{where}: parameters live on the device")
    _require(v.group is None or 0 <= v.group < groups, f"{where}: no group {v.group}")
    _require((v.slot is None) == (v.of is None), f"{where}: 'slot' and 'of' come together")
    if v.of is not None:
        owner = table.get(v.of)
        fits = owner is not None and owner.role == "parameter" and v.of in seen
        _require(fits, f"{where}: a slot follows its parameter; {v.of!r} is none before it")
    _check_initializer(where, v)


def _check_type(where: str, dtype: str, shape: tuple[int, ...]) -> None:
    _require(dtype in ITEM_SIZES, f"{where}: dtype {dtype!r} is none of {tuple(ITEM_SIZES)}")
    _require(all(0 <= n for n in shape), f"{where}: shape {shape} has a negative size")
    size = math.prod(shape) * ITEM_SIZES[dtype]
    _require(size <= MAX_BYTES, f"{where}: {size} bytes, at most {MAX_BYTES} are allowed")


def _check_initializer(where: str, v: Variable) -> None:
    item = v.initializer
    _require(item.kind in INITIALIZER_KINDS, f"{where}: initializer kind {item.kind!r}")
    _require((item.kind == "constant") == (item.value is not None), f"{where}: initializer value")
    pair = item.kind in ("uniform", "normal")
    _require(len(item.arguments) == (2 if pair else 0), f"{where}: initializer arguments")
    drawn = item.kind not in ("required", "constant", "zeros", "ones")
    _require(drawn == (item.seed is not None), f"{where}: initializer seed")


def _check_function(
    f: Function, table: Mapping[str, Variable], arenas: Mapping[str, Arena]
) -> None:
    where = f"function {f.name!r}"
    _require(f.name.isidentifier() and len(f.name) <= MAX_NAME, f"{where}: not an identifier")
    _require(f.calls == 1, f"{where}: {f.calls} calls")
    _check_order(where, f, table)
    for argument in f.arguments:
        _check_argument(f"{where}, argument {argument.name!r}", argument, f, table, arenas)
    for result in f.results:
        _require(result.role in RESULT_ROLES, f"{where}: result role {result.role!r}")
        _check_type(f"{where}, result {result.name!r}", result.dtype, result.shape)
    replaced = [a.result for a in f.arguments if a.result is not None]
    states = [i for i, r in enumerate(f.results) if r.role == "state"]
    _require(sorted(replaced) == states, f"{where}: each state result replaces one argument")
    for name in f.parameters:
        fits = name in table and table[name].role == "parameter"
        _require(fits, f"{where}: {name!r} is no parameter")
    _check_scalars(where, f, table)


def _check_order(where: str, f: Function, table: Mapping[str, Variable]) -> None:
    """Tensors first, then the host's numbers, of which the ABI has two kinds."""
    hosts = {name for name, v in table.items() if v.storage == "host"}
    numbers = host_arguments(f, hosts)
    last = f.arguments[len(f.arguments) - len(numbers) :]
    _require(last == numbers, f"{where}: host scalars come after all tensors")
    fits = all(a.dtype in ("float32", "int64") and a.result is None for a in numbers)
    _require(
        fits, f"{where}: a host scalar is passed as float32 or int64 and replaced by no result"
    )


def _check_argument(
    where: str,
    a: Argument,
    f: Function,
    table: Mapping[str, Variable],
    arenas: Mapping[str, Arena],
) -> None:
    _require(a.role in ARGUMENT_ROLES, f"{where}: role {a.role!r} is none of {ARGUMENT_ROLES}")
    _require(a.derive in DERIVATIONS, f"{where}: derive {a.derive!r} is none of {DERIVATIONS}")
    _check_type(where, a.dtype, a.shape)
    v = table.get(a.name)
    if a.name in arenas:
        _check_arena_argument(where, a, arenas[a.name], table)
    elif a.role in VARIABLE_ROLES:
        _require(v is not None and v.role == a.role, f"{where}: no {a.role} of that name")
        fits = v is not None and (v.dtype, v.shape) == (a.dtype, a.shape)
        _require(fits, f"{where}: dtype and shape are not the variable's")
        derivable = v is not None and v.storage == "host" and a.dtype in ("float32", "float64")
        _require(a.derive == "value" or derivable, f"{where}: derived from no host float")
    elif a.role == "gradient":
        fits = v is not None and v.role == "parameter" and v.shape == a.shape
        _require(fits, f"{where}: no parameter of that name and shape")
    if a.role == "scalars":
        fits = f.scalars is not None and (len(f.scalars.table),) == a.shape
        fits = fits and f.scalars is not None and f.scalars.dtype == a.dtype
        _require(fits, f"{where}: the table's size and dtype are not the scalar program's")
    if a.result is not None:
        fits = a.role in VARIABLE_ROLES and a.result < len(f.results)
        _require(fits, f"{where}: result {a.result} cannot replace it")
        r = f.results[a.result]
        same = (r.name, r.dtype, r.shape) == (a.name, a.dtype, a.shape)
        _require(same, f"{where}: result {a.result} has another name, dtype or shape")


def _check_arena_argument(
    where: str, a: Argument, arena: Arena, table: Mapping[str, Variable]
) -> None:
    fits = (a.dtype, a.shape, a.derive) == (arena.dtype, (arena.size,), "value")
    _require(fits, f"{where}: dtype and shape are not the arena's")
    if arena.kind == "gradient":
        _require(a.role == "gradient", f"{where}: role {a.role!r} of an arena of gradients")
        return
    roles = {table[name].role for name in arena.variables}
    _require(roles == {a.role}, f"{where}: role {a.role!r} of an arena of {sorted(roles)}")


def _check_scalars(where: str, f: Function, table: Mapping[str, Variable]) -> None:
    used = [a for a in f.arguments if a.role == "scalars"]
    wanted = 1 if f.scalars is not None and f.scalars.table else 0
    _require(len(used) == wanted, f"{where}: one 'scalars' argument for one table")
    if f.scalars is None:
        return
    _require(f.scalars.dtype in ("float32", "float64"), f"{where}: scalar dtype")
    compile_program(f.scalars)
    for name in (*inputs(f.scalars), *(name for name, _ in f.scalars.results)):
        v = table.get(name)
        fits = v is not None and v.storage == "host"
        _require(fits, f"{where}: the scalar program uses {name!r}, which is no host variable")


def _check_group(
    where: str, group: Group, table: Mapping[str, Variable], functions: Mapping[str, Function]
) -> None:
    names = [h.name for h in group.hyperparameters]
    _require(len(set(names)) == len(names), f"{where}: hyperparameter names must differ")
    for item in group.hyperparameters:
        known = item.variable is not None and item.variable in table
        _require(known or item.variable is None, f"{where}: no variable {item.variable!r}")
        _require(known or not item.settable, f"{where}: {item.name!r} is settable through nothing")
        holder = table.get(item.variable or "")
        on_host = not item.settable or holder is None or holder.storage == "host"
        _require(on_host, f"{where}: {item.name!r} is settable and not kept on the host")
        finite = not isinstance(item.value, float) or math.isfinite(item.value)
        _require(finite, f"{where}: {item.name!r} is not finite")
        low, high = item.minimum, item.below
        bounded = all(x is None or math.isfinite(x) for x in (low, high))
        _require(bounded, f"{where}: a bound of {item.name!r} is not finite")
        ordered = low is None or high is None or low < high
        _require(ordered, f"{where}: no value of {item.name!r} is within its bounds")
    known = group.function is None or group.function in functions
    _require(known, f"{where}: no function {group.function!r}")
    for name in group.variables or ():
        fits = name in table and table[name].role == "parameter"
        _require(fits, f"{where}: {name!r} is no parameter")
