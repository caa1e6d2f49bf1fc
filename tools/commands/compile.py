"""`compile-optimizer`, also `stepforge compile`: from a model's parameters to artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepforge.frontend import KNOWN_OPTIMIZERS
from stepforge.tools.compiling import LAYOUTS, UPDATES, Job, compile_job
from stepforge.tools.hyperparameters import help_lines
from stepforge.tools.machine import has_compiler, target_facts
from stepforge.tools.model import parse_batch_sizes, parse_inputs
from stepforge.tools.outputs import output_paths
from stepforge.tools.recipe import Recipe, combine, parse_settings, read_recipe, split_names
from stepforge.tools.verb import Verb, file_size, json_option, print_json

if TYPE_CHECKING:
    from stepforge.passes import Layout, Update


class CompileVerb(Verb):
    """Ends its help with what can be set, and what this machine compiles and runs."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Hyperparameters (--set, --settable)"):
            formatter.write_dl(list(help_lines()))
        with formatter.section("Targets (--target); `stepforge targets` lists all of them"):
            formatter.write_dl(list(_target_lines()))


def _target_lines() -> Iterator[tuple[str, str]]:
    if not has_compiler():
        yield "none", "compiling needs pip install 'stepforge[compiler]'"
        return
    for target in target_facts():
        if ":" not in target.name or target.name.startswith("cpu:"):
            runs = "runs here" if target.runs else f"does not run here ({target.why})"
            yield target.name, f"{target.hardware}; {runs}"


@click.command("compile", cls=CompileVerb)
@click.argument("optimizer", type=click.Choice(list(KNOWN_OPTIMIZERS)))
@click.option(
    "--params",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names and shapes of the parameters: .safetensors, .npz, .json or .toml.",
)
@click.option(
    "--any-length",
    is_flag=True,
    help="Without --params: an artifact for any model, which gets its parameters when loaded.",
)
@click.option(
    "--dtype",
    metavar="DTYPE",
    help="With --any-length: the dtype of all parameters (float32).",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Take only parameters that match.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out those that match.")
@click.option(
    "--model",
    metavar="FILE.py:FUNCTION",
    help="A loss function: compile the whole training step, with its gradients.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=SHAPExDTYPE",
    help="An input of the model, such as x=32x64xf32 or labels=32xi32; with --batch, x=?x64xf32.",
)
@click.option(
    "--batch",
    "batch_sizes",
    multiple=True,
    metavar="ROWS,...",
    help="The batch sizes that inputs with ? are compiled for, such as 1,8,32.",
)
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --model: one update for N micro-batches.",
)
@click.option(
    "--after-update",
    metavar="FILE.py:FUNCTION",
    help="With --model: called as function(ctx, graph) to change variables after each update.",
)
@click.option(
    "--target", "targets", multiple=True, metavar="TARGET", help="What to compile for (cpu)."
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A file, or a folder for NAME.TARGET.vmfb; the current folder by default.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="[GLOB:]NAME=VALUE",
    help="A value to bake; with a glob, for the parameters whose names match, as in "
    "'*.bias:weight_decay=0'. The last rule wins, and goes before what has no glob. "
    "GLOB:frozen=true keeps their values.",
)
@click.option(
    "--settable",
    multiple=True,
    metavar="[GLOB:]NAME,...",
    help="Hyperparameters that can be changed without recompiling, as learning_rate always can.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A recipe in TOML: params, include, exclude, model, [input], batch, accumulate, "
    "after_update, target, settable, [set], [rules.GLOB].",
)
@click.option(
    "--loss-dtype",
    default="float32",
    metavar="DTYPE",
    help="The dtype of the loss, which decides that of slots and arithmetic.",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="packed",
    show_default=True,
    help="Keep variables whose updates are alike in one piece of memory, or each in its own.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Pad the memory of packed variables to N equal ranges, for as many workers.",
)
@click.option(
    "--phases",
    is_flag=True,
    help="Export the two halves of a step that sums over all gradients, for shards.",
)
@click.option(
    "--update",
    type=click.Choice(UPDATES),
    default="in-place",
    show_default=True,
    help="Write new state over the old, or beside it: with twice the memory, a device that fails "
    "in a step leaves the state as it was.",
)
@click.option("--dump-ir", type=click.Path(path_type=Path), metavar="DIR", help="Keep every stage.")
@click.option(
    "--isolate", is_flag=True, help="Run the compiler in a process of its own: it may crash alone."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --isolate: stop each run of the compiler after so long.",
)
@click.option("--force", is_flag=True, help="Overwrite files.")
@json_option
def compile_command(
    optimizer: str,
    params: Path | None,
    any_length: bool,
    dtype: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    model: str | None,
    inputs: tuple[str, ...],
    batch_sizes: tuple[str, ...],
    accumulate: int | None,
    after_update: str | None,
    targets: tuple[str, ...],
    output: str | None,
    assignments: tuple[str, ...],
    settable: tuple[str, ...],
    config: Path | None,
    loss_dtype: str,
    layout: Layout,
    phases: bool,
    shards: int,
    update: Update,
    dump_ir: Path | None,
    isolate: bool,
    timeout: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compile OPTIMIZER for the parameters of a model, once for each target.

    With --params the artifact takes gradients that something else computes. With --model it holds
    the whole training step: FUNCTION is called as `function(ctx, **inputs)` and returns the loss.
    With --any-length it has no parameters of its own, and steps those of any model.

    Every artifact is checked before any is written: the in-place build must agree bit for bit with
    a plain one. Only names, shapes and dtypes of the parameters are read.
    """
    if timeout is not None and not isolate:
        raise click.UsageError(
            f"--timeout stops a compiler in a process of its own: got --timeout {timeout:g} "
            "without --isolate; add it, or leave --timeout out"
        )
    command_line = Recipe(
        params=params,
        include=include,
        exclude=exclude,
        settings=parse_settings(assignments),
        settable=split_names(settable),
        targets=targets,
        model=model,
        inputs=parse_inputs(inputs),
        batch_sizes=parse_batch_sizes(batch_sizes),
        accumulate=accumulate,
        after_update=after_update,
    )
    recipe = command_line if config is None else combine(read_recipe(config), command_line)
    targets = recipe.targets or ("cpu",)
    job = Job(
        name=optimizer,
        recipe=recipe,
        files=output_paths(optimizer, targets, output, force),
        loss_dtype=loss_dtype,
        layout=layout,
        phases=phases,
        shards=shards,
        update=update,
        any_length=any_length,
        dtype=dtype,
        dump_ir=dump_ir,
        force=force,
        isolate=isolate,
        timeout=timeout,
    )
    written = compile_job(job)
    if as_json:
        print_json(written)
        return
    for item in written:
        runs = "runs here" if item.runs else f"does not run here ({item.why})"
        click.echo(f"{item.file}: {item.target}, {file_size(item.bytes)}, {runs}")
