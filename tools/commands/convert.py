"""`stepforge convert`: optimizer state between this package and other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from stepforge.runtime.checkpoint import Origin, Snapshot, read_checkpoint
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.convert import export_state, import_state
from stepforge.runtime.definition import manifest_for
from stepforge.runtime.files import write_atomically
from stepforge.runtime.peers import LIBRARIES, spelled
from stepforge.runtime.safetensors_file import Tensors, encode
from stepforge.tools.arrays import read_arrays
from stepforge.tools.errors import ToolError
from stepforge.tools.verb import Verb, json_option, log, print_json

_LIBRARY = click.Choice(sorted(LIBRARIES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was done, as `--json` prints it."""

    file: str
    written: str
    library: str
    tensors: int
    steps: int | None
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


@click.command("convert", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--from", "source", type=_LIBRARY, help="FILE is this library's state.")
@click.option("--to", "to", type=_LIBRARY, help="FILE is a checkpoint; write this library's state.")
@click.option(
    "--params",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The parameters, by their plain names, where FILE has none.",
)
@click.option("--steps", type=click.IntRange(min=0), help="Steps taken, where FILE does not say.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE")
@click.option("--force", is_flag=True, help="Overwrite.")
@json_option
def convert_command(
    file: Path,
    artifact: Path,
    source: str | None,
    to: str | None,
    params: Path | None,
    steps: int | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Turn FILE, another library's optimizer state, into a checkpoint of ARTIFACT, or back.

    State is read from .safetensors and .npz, with the names that docs/convert.md gives for each
    library, and written as .safetensors or .npz; checkpoints are .safetensors.
    """
    if (source is None) == (to is None):
        raise click.UsageError("Give one of --from and --to.")
    if output.exists() and not force:
        raise ToolError(f"{output} exists; --force overwrites")
    known = read_artifact(artifact)
    if source is not None:
        done = _import(source, file, known, params, steps, output)
    else:
        if params is not None or steps is not None:
            raise click.UsageError("--params and --steps go with --from.")
        done = _export(str(to), file, known, output)
    if as_json:
        print_json(done)
        return
    for note in done.notes:
        log(f"note: {note}")
    if done.left_out:
        log(f"left out: {', '.join(done.left_out)}")
    click.echo(f"{done.tensors} tensors written to {done.written}")


def _import(
    library: str,
    file: Path,
    artifact: Artifact,
    params: Path | None,
    steps: int | None,
    output: Path,
) -> Converted:
    if output.suffix != ".safetensors":
        raise ToolError(f"checkpoints are .safetensors files: got {output}")
    tensors: dict[str, Any] = dict(read_arrays(file))
    if params is not None:
        pattern = LIBRARIES[library].parameter
        plain = read_arrays(params).items()
        tensors |= {spelled(pattern, path=f"/{name}"): value for name, value in plain}
    imported = import_state(library, tensors, artifact, steps=steps)
    imported.snapshot.write(output)
    return Converted(
        file=str(file),
        written=str(output),
        library=library,
        tensors=len(imported.snapshot.values),
        steps=int(imported.snapshot.values["/global_step"]),
        left_out=imported.left_out,
        notes=imported.notes,
    )


def _export(library: str, file: Path, artifact: Artifact, output: Path) -> Converted:
    manifest = manifest_for(artifact.manifest, file)
    contents = read_checkpoint(file, manifest)
    snapshot = Snapshot(contents.values, Origin(manifest, artifact.sha256))
    tensors = export_state(library, snapshot)
    _write(output, tensors)
    return Converted(
        file=str(file),
        written=str(output),
        library=library,
        tensors=len(tensors),
        steps=int(contents.values["/global_step"]),
        left_out=(),
        notes=(),
    )


def _write(output: Path, tensors: Mapping[str, Any]) -> None:
    if output.suffix == ".safetensors":
        write_atomically(output, encode(Tensors(tensors, {})), force=True)
        return
    if output.suffix != ".npz":
        raise ToolError(f"state is written as .safetensors or .npz: got {output}")
    halves = [name for name, value in tensors.items() if value.dtype.name == "bfloat16"]
    if halves:
        raise ToolError(f"an .npz file has no bfloat16, which {halves[0]!r} is; write .safetensors")
    with output.open("wb") as stream:
        np.savez(stream, **tensors)
