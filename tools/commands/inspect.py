"""`stepforge inspect`: what an artifact holds, read without IREE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import click

from stepforge.runtime.any_length import ANY
from stepforge.runtime.arenas import logical_arguments
from stepforge.runtime.batch_sizes import sized_functions, variant
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.manifest import ITEM_SIZES, Argument, Group, Manifest, Target, Variable
from stepforge.tools.verb import Verb, file_size, json_option, print_json, table

Row = tuple[str, ...]
_MEMBERS = 6
"""How many of a group's parameters are named."""


@click.command("inspect", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--variables",
    "list_variables",
    is_flag=True,
    help="List every variable, and all of each group.",
)
@json_option
def inspect_command(file: Path, list_variables: bool, as_json: bool) -> None:
    """Show what an artifact holds: target, functions, variables, hyperparameters.

    The digest is checked first. Nothing is run.
    """
    artifact = read_artifact(file)
    if as_json:
        size = len(artifact.vmfb_bytes)
        signed = artifact.signature is not None
        facts = {"file": str(file), "bytes": size, "sha256": artifact.sha256, "signed": signed}
        sizes = _batch_sizes(artifact.manifest)
        print_json({**facts, "batch_sizes": sizes, "manifest": artifact.manifest})
        return
    click.echo("\n\n".join(_sections(file, artifact, list_variables)))


def _sections(file: Path, artifact: Artifact, list_variables: bool) -> Iterator[str]:
    manifest = artifact.manifest
    size = len(artifact.vmfb_bytes)
    sizes = _batch_sizes(manifest)
    facts = [
        ("file", f"{file}, {size} bytes, SHA-256 {artifact.sha256}"),
        *([("signature", "yes; verify-signature says whose")] if artifact.signature else []),
        ("made by", f"stepforge {manifest.package_version} with IREE {manifest.iree_version}"),
        ("contract", f"format {manifest.format_version}, calling convention {manifest.abi}"),
        ("formula", manifest.formula),
        ("update", manifest.update),
        *(("target", _target(target)) for target in manifest.targets),
        *([("batch sizes", ", ".join(map(str, sizes)))] if sizes else []),
        *([("parameters", "any")] if manifest.length is not None else []),
        *manifest.facts,
    ]
    yield table(facts)
    yield table(list(_functions(manifest)), ("function", "arguments", "results"))
    inputs = list(_inputs(manifest))
    if inputs:
        yield table(inputs, ("input", "type", "of"))
    if manifest.length is None:
        yield table(list(_totals(manifest)), ("variables", "count", "elements", "bytes"))
    else:
        yield table(list(_pattern(manifest)), ("variables", "name", "type"))
    if manifest.arenas:
        several = manifest.shards > 1
        headings = (f"each of {manifest.shards} shards",) if several else ()
        yield table(list(_arenas(manifest)), ("arena", "type", "of", *headings))
    for group in manifest.groups:
        settings = table(list(_hyperparameters(group)), (_group_title(group), "value", ""))
        yield settings + _members(group, None if list_variables else _MEMBERS)
    if list_variables:
        rows = [(v.name, v.role, _shaped(v), v.storage) for v in manifest.variables]
        yield table(rows, ("variable", "role", "type", "storage"))


def _target(target: Target) -> str:
    parts = [target.name, target.backend, target.arch, target.cpu, target.iree_target or ""]
    details = ", ".join(dict.fromkeys(filter(None, parts)))
    needs = ", ".join((*target.requirements, *target.features, *target.cpu_features))
    return f"{details}; needs {needs}" if needs else details


def _functions(manifest: Manifest) -> Iterator[Row]:
    for function in manifest.functions:
        arguments = logical_arguments(function, manifest)
        roles = [argument.role for argument in arguments]
        counted = ", ".join(f"{roles.count(role)} {role}" for role in dict.fromkeys(roles))
        outputs = [result.name for result in function.results if result.role == "output"]
        initial = sum(result.role == "initial" for result in function.results)
        partials = [f"partials {x.name}" for x in function.results if x.role == "partials"]
        state = sum(x.result is not None for x in arguments)
        values = [f"{initial} initial"] if initial else partials or [f"{state} state"]
        yield function.name, counted, ", ".join((*values, *outputs))


def _inputs(manifest: Manifest) -> Iterator[Row]:
    """What a training artifact is given, and which functions take it, in whatever size."""
    takers: dict[str, dict[str, None]] = {}
    types: dict[str, str] = {}
    functions = {function.name: function for function in manifest.functions}
    for function in manifest.functions:
        plain, _ = variant(function, functions)
        for argument in function.arguments:
            if argument.role == "input":
                takers.setdefault(argument.name, {})[plain] = None
                types.setdefault(argument.name, _shaped(argument))
    for sized in sized_functions(manifest.functions).values():
        for x in sized.inputs:
            types[x.name] = "x".join(("?", *map(str, x.shape[1:]), x.dtype))
    for name, taking in takers.items():
        yield name, types[name], ", ".join(taking)


def _batch_sizes(manifest: Manifest) -> tuple[int, ...]:
    """How many rows a batch may have, where the artifact serves several sizes; else empty."""
    sized = sized_functions(manifest.functions)
    return tuple(sorted({rows for x in sized.values() for rows in x.functions}))


def _totals(manifest: Manifest) -> Iterator[Row]:
    kinds: dict[str, list[Variable]] = {}
    for variable in manifest.variables:
        kind = variable.role if variable.slot is None else f"{variable.role} {variable.slot}"
        kinds.setdefault(kind, []).append(variable)
    for kind, variables in kinds.items():
        counts = [math.prod(variable.shape) for variable in variables]
        total = sum(
            count * ITEM_SIZES[variable.dtype]
            for count, variable in zip(counts, variables, strict=True)
        )
        yield kind, str(len(variables)), str(sum(counts)), file_size(total)


def _pattern(manifest: Manifest) -> Iterator[Row]:
    """Of any length: what each parameter NAME comes with, and what there is once."""
    for v in manifest.variables:
        kind = v.role if v.slot is None else f"{v.role} {v.slot}"
        each = v.storage == "device"
        yield kind, v.name[1:].replace(ANY, "NAME") if each else v.name, v.dtype


def _arenas(manifest: Manifest) -> Iterator[Row]:
    for arena in manifest.arenas:
        what = "gradients" if arena.kind == "gradient" else "variables"
        if manifest.length is not None:
            yield arena.name, f"?x{arena.dtype}", f"{what}, at most {arena.size} elements a call"
            continue
        size = arena.size // manifest.shards
        ranges = (f"[{size} r, {size} (r + 1))",) if manifest.shards > 1 else ()
        yield arena.name, f"{arena.size}x{arena.dtype}", f"{len(arena.variables)} {what}", *ranges


def _group_title(group: Group) -> str:
    count = 0 if group.variables is None else len(group.variables)
    of = f"{count or 'all'} parameter{'' if count == 1 else 's'}"
    return f"hyperparameters of {of}" + (f" in {group.function}" if group.function else "")


def _members(group: Group, limit: int | None) -> str:
    """A line with the parameters of one of several groups."""
    if group.variables is None:
        return ""
    names = [path.removeprefix("/") for path in group.variables]
    more = len(names) - len(names[:limit])
    rest = f" and {more} more (--variables)" if more else ""
    return f"\nof {', '.join(names[:limit])}{rest}"


def _hyperparameters(group: Group) -> Iterator[Row]:
    for item in group.hyperparameters:
        kind = "settable" if item.settable else "scheduled" if item.variable else "baked"
        yield item.name, str(item.value), kind


def _shaped(tensor: Variable | Argument) -> str:
    return "x".join((*map(str, tensor.shape), tensor.dtype))
