"""The rules that tie a manifest's parts together; writer and reader both check them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from stepforge.runtime.any_length import check_pattern
from stepforge.runtime.arenas import check_arenas
from stepforge.runtime.batch_sizes import batch_inputs, variant
from stepforge.runtime.errors import VersionMismatchError
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
from stepforge.runtime.rules import require, require_once
from stepforge.runtime.scalars import compile_program, host_arguments, inputs

MAX_BYTES = 2**46
MAX_NAME = 1024
MAX_ALIGNMENT = 64
"""What this runtime gives every buffer."""
HOST_DTYPES = ("float32", "float64", "int32", "int64", "bool")
DTYPES = tuple(ITEM_SIZES)
T = TypeVar("T")

DEVICES = ("local", "vulkan", "cuda", "hip", "metal")


def check(manifest: Manifest) -> None:
    """Raise ArtifactFormatError at the first broken rule (VersionMismatchError for versions)."""
    if manifest.format_version != FORMAT_VERSION or manifest.abi != ABI:
        raise VersionMismatchError(
            f"format version {manifest.format_version}, ABI {manifest.abi}: this runtime reads "
            f"format version {FORMAT_VERSION}, ABI {ABI}"
        )
    require(len(manifest.targets) == 1, "", "format 1 has exactly one target")
    target = manifest.targets[0]
    require(
        target.device in DEVICES, "", "target device {!r} is none of {}", target.device, DEVICES
    )
    require(manifest.update in UPDATES, "", "update {!r} is none of {}", manifest.update, UPDATES)
    alignment = manifest.alignment
    fits = 1 <= alignment <= MAX_ALIGNMENT and not alignment & (alignment - 1)
    require(fits, "", "alignment is a power of two up to {}", MAX_ALIGNMENT)
    table = _unique("variable", manifest.variables, lambda v: v.name)
    seen: set[str] = set()
    for variable in manifest.variables:
        _check_variable(variable, table, seen, len(manifest.groups))
        seen.add(variable.name)
    arenas = _unique("arena", manifest.arenas, lambda a: a.name)
    check_arenas(manifest.arenas, table, alignment)
    for arena in manifest.arenas:
        bytes_, rest = divmod(arena.size * ITEM_SIZES[arena.dtype], max(1, manifest.shards))
        fits = manifest.shards >= 1 and not rest and not bytes_ % alignment
        fits = fits or manifest.shards == 1
        rule = "arena {!r} does not divide into {} equal ranges, each aligned"
        require(fits, "", rule, arena.name, manifest.shards)
    held = {(a.kind, name) for a in manifest.arenas for name in a.variables}
    functions = _unique("function", manifest.functions, lambda f: f.name)
    for function in manifest.functions:
        _check_function(function, table, arenas)
        for a in function.arguments:
            kind = "gradient" if a.role == "gradient" else "state"
            require((kind, a.name) not in held, "", "{!r} is an argument and in an arena", a.name)
    _check_inputs(functions)
    check_phases(functions)
    for index, group in enumerate(manifest.groups):
        _check_group(f"group {index}", group, table, functions)
    if manifest.length is not None:
        check_pattern(manifest)


def _unique(what: str, items: tuple[T, ...], name: Callable[[T], str]) -> dict[str, T]:
    table = {name(item): item for item in items}
    require(len(table) == len(items), "", "{} names must differ", what)
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
                require(same, "", "input {!r} differs between functions", a.name)
            continue
        where = f"function {function.name!r}"
        _check_batch(where, rows, function, functions[plain])
        names = batch_inputs(function, functions[plain])
        fits = bool(names) and batches.setdefault(plain, names) == names
        require(fits, where, "the inputs with a row per example are not the same in each size")


def _check_batch(where: str, rows: int, function: Function, plain: Function) -> None:
    """Only the leading sizes differ."""
    pairs = [[a for a in f.arguments if a.role == "input"] for f in (function, plain)]
    same = [a.name for a in pairs[0]] == [a.name for a in pairs[1]]
    require(same, where, "its inputs are not those of {!r}", plain.name)
    sizes: set[int] = set()
    for a, b in zip(*pairs, strict=True):
        batch = bool(b.shape) and a.shape == (rows, *b.shape[1:])
        fits = a.dtype == b.dtype and (batch or a.shape == b.shape)
        require(
            fits, where, "input {!r} is not that of {!r} with {} rows", a.name, plain.name, rows
        )
        sizes.update(b.shape[:1] if a.shape != b.shape else ())
    require(len(sizes) <= 1, where, "batches of {!r} have several sizes", plain.name)


def _check_variable(
    v: Variable, table: Mapping[str, Variable], seen: set[str], groups: int
) -> None:
    where = f"variable {v.name!r}"
    require(v.name.startswith("/") and len(v.name) > 1, where, "a path starts with '/'")
    require(v.name.isprintable() and len(v.name) <= MAX_NAME, where, "not a printable name")
    require(v.role in VARIABLE_ROLES, where, "role {!r} is none of {}", v.role, VARIABLE_ROLES)
    require(v.storage in STORAGES, where, "storage {!r} is none of {}", v.storage, STORAGES)
    _check_type(where, v.dtype, v.shape)
    if v.storage == "host":
        fits = v.shape == () and v.dtype in HOST_DTYPES
        require(fits, where, "a host variable is rank 0 with a dtype of {}", HOST_DTYPES)
    if v.role == "parameter":
        require(v.storage == "device", where, "parameters live on the device")
    require(v.group is None or 0 <= v.group < groups, where, "no group {}", v.group)
    require((v.slot is None) == (v.of is None), where, "'slot' and 'of' come together")
    if v.of is not None:
        owner = table.get(v.of)
        fits = owner is not None and owner.role == "parameter" and v.of in seen
        require(fits, where, "a slot follows its parameter; {!r} is none before it", v.of)
    _check_initializer(where, v)


def _check_type(where: str, dtype: str, shape: tuple[int, ...]) -> None:
    require(dtype in ITEM_SIZES, where, "dtype {!r} is none of {}", dtype, DTYPES)
    require(min(shape, default=0) >= 0, where, "shape {} has a negative size", shape)
    # An empty tensor's other sizes are bounded too, as NumPy bounds them.
    size = math.prod(n or 1 for n in shape) if 0 in shape else math.prod(shape)
    size *= ITEM_SIZES[dtype]
    require(size <= MAX_BYTES, where, "{} bytes, at most {} are allowed", size, MAX_BYTES)


def _check_initializer(where: str, v: Variable) -> None:
    item = v.initializer
    require(item.kind in INITIALIZER_KINDS, where, "initializer kind {!r}", item.kind)
    require((item.kind == "constant") == (item.value is not None), where, "initializer value")
    pair = item.kind in ("uniform", "normal")
    require(len(item.arguments) == (2 if pair else 0), where, "initializer arguments")
    drawn = item.kind not in ("required", "constant", "zeros", "ones")
    require(drawn == (item.seed is not None), where, "initializer seed")


def _check_function(
    f: Function, table: Mapping[str, Variable], arenas: Mapping[str, Arena]
) -> None:
    where = f"function {f.name!r}"
    require(f.name.isidentifier() and len(f.name) <= MAX_NAME, where, "not an identifier")
    require(f.calls == 1, where, "{} calls", f.calls)
    require_once([(a.role, a.name, a.derive) for a in f.arguments], where, "an argument")
    require_once([(r.role, r.name) for r in f.results], where, "a result")
    require_once(f.parameters, where, "a parameter")
    _check_order(where, f, table)
    for argument in f.arguments:
        _check_argument(f"{where}, argument {argument.name!r}", argument, f, table, arenas)
    for result in f.results:
        require(result.role in RESULT_ROLES, where, "result role {!r}", result.role)
        _check_type(f"{where}, result {result.name!r}", result.dtype, result.shape)
    replaced = [a.result for a in f.arguments if a.result is not None]
    states = [i for i, r in enumerate(f.results) if r.role == "state"]
    require(sorted(replaced) == states, where, "each state result replaces one argument")
    for name in f.parameters:
        fits = name in table and table[name].role == "parameter"
        require(fits, where, "{!r} is no parameter", name)
    _check_scalars(where, f, table)


def _check_order(where: str, f: Function, table: Mapping[str, Variable]) -> None:
    """Tensors first, then the host's numbers, of which the ABI has two kinds."""
    hosts = {name for name, v in table.items() if v.storage == "host"}
    numbers = host_arguments(f, hosts)
    last = f.arguments[len(f.arguments) - len(numbers) :]
    require(last == numbers, where, "host scalars come after all tensors")
    fits = all(a.dtype in ("float32", "int64") and a.result is None for a in numbers)
    require(fits, where, "a host scalar is passed as float32 or int64 and replaced by no result")


def _check_argument(
    where: str,
    a: Argument,
    f: Function,
    table: Mapping[str, Variable],
    arenas: Mapping[str, Arena],
) -> None:
    require(a.role in ARGUMENT_ROLES, where, "role {!r} is none of {}", a.role, ARGUMENT_ROLES)
    require(a.derive in DERIVATIONS, where, "derive {!r} is none of {}", a.derive, DERIVATIONS)
    _check_type(where, a.dtype, a.shape)
    v = table.get(a.name)
    if a.name in arenas:
        _check_arena_argument(where, a, arenas[a.name], table)
    elif a.role in VARIABLE_ROLES:
        require(v is not None and v.role == a.role, where, "no {} of that name", a.role)
        fits = v is not None and (v.dtype, v.shape) == (a.dtype, a.shape)
        require(fits, where, "dtype and shape are not the variable's")
        derivable = v is not None and v.storage == "host" and a.dtype in ("float32", "float64")
        require(a.derive == "value" or derivable, where, "derived from no host float")
    elif a.role == "gradient":
        fits = v is not None and v.role == "parameter" and v.shape == a.shape
        require(fits, where, "no parameter of that name and shape")
    if a.role == "scalars":
        fits = f.scalars is not None and (len(f.scalars.table),) == a.shape
        fits = fits and f.scalars is not None and f.scalars.dtype == a.dtype
        require(fits, where, "the table's size and dtype are not the scalar program's")
    if a.result is not None:
        fits = a.role in VARIABLE_ROLES and a.result < len(f.results)
        require(fits, where, "result {} cannot replace it", a.result)
        r = f.results[a.result]
        same = (r.name, r.dtype, r.shape) == (a.name, a.dtype, a.shape)
        require(same, where, "result {} has another name, dtype or shape", a.result)


def _check_arena_argument(
    where: str, a: Argument, arena: Arena, table: Mapping[str, Variable]
) -> None:
    fits = (a.dtype, a.shape, a.derive) == (arena.dtype, (arena.size,), "value")
    require(fits, where, "dtype and shape are not the arena's")
    if arena.kind == "gradient":
        require(a.role == "gradient", where, "role {!r} of an arena of gradients", a.role)
        return
    roles = {table[name].role for name in arena.variables}
    require(roles == {a.role}, where, "role {!r} of an arena of {}", a.role, sorted(roles))


def _check_scalars(where: str, f: Function, table: Mapping[str, Variable]) -> None:
    used = [a for a in f.arguments if a.role == "scalars"]
    wanted = 1 if f.scalars is not None and f.scalars.table else 0
    require(len(used) == wanted, where, "one 'scalars' argument for one table")
    if f.scalars is None:
        return
    require(f.scalars.dtype in ("float32", "float64"), where, "scalar dtype")
    compile_program(f.scalars)
    for name in (*inputs(f.scalars), *(name for name, _ in f.scalars.results)):
        v = table.get(name)
        fits = v is not None and v.storage == "host"
        require(fits, where, "the scalar program uses {!r}, which is no host variable", name)


def _check_group(
    where: str, group: Group, table: Mapping[str, Variable], functions: Mapping[str, Function]
) -> None:
    names = [h.name for h in group.hyperparameters]
    require(len(set(names)) == len(names), where, "hyperparameter names must differ")
    for item in group.hyperparameters:
        known = item.variable is not None and item.variable in table
        require(known or item.variable is None, where, "no variable {!r}", item.variable)
        require(known or not item.settable, where, "{!r} is settable through nothing", item.name)
        holder = table.get(item.variable or "")
        on_host = not item.settable or holder is None or holder.storage == "host"
        require(on_host, where, "{!r} is settable and not kept on the host", item.name)
        finite = not isinstance(item.value, float) or math.isfinite(item.value)
        require(finite, where, "{!r} is not finite", item.name)
        low, high = item.minimum, item.below
        bounded = all(x is None or math.isfinite(x) for x in (low, high))
        require(bounded, where, "a bound of {!r} is not finite", item.name)
        ordered = low is None or high is None or low < high
        require(ordered, where, "no value of {!r} is within its bounds", item.name)
    known = group.function is None or group.function in functions
    require(known, where, "no function {!r}", group.function)
    variables = group.variables or ()
    require_once(variables, where, "a variable")
    for name in variables:
        fits = name in table and table[name].role == "parameter"
        require(fits, where, "{!r} is no parameter", name)
