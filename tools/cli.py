"""The commands `stepforge` and `compile-optimizer`."""

from __future__ import annotations

import importlib
import importlib.metadata

import click

# The one-line help stands here, so that `stepforge --help` imports no verb.
VERBS = {
    "compile": "Compile an optimizer for a model's parameters.",
    "inspect": "Show what an artifact holds.",
    "verify": "Compare an artifact with the NumPy evaluator on each device.",
    "sign": "Put a signature into an artifact, or make the keys for it.",
    "verify-signature": "Say whether an artifact was signed with a key.",
    "run": "Step an artifact from files.",
    "convert": "Take optimizer state from torch, optax, Keras or GoMLX, or give it back.",
    "bench": "Measure the time of a step.",
    "targets": "List the targets, and what this machine can do with each.",
    "doctor": "Say what this machine can compile and run, and why not.",
}


def load_verb(name: str) -> click.Command:
    """The command of `VERBS[name]`: `NAME_command` in `stepforge.tools.commands.NAME`."""
    name = name.replace("-", "_")
    module = importlib.import_module(f"stepforge.tools.commands.{name}")
    command: click.Command = getattr(module, f"{name}_command")
    return command


class Verbs(click.Group):
    """A group that imports a verb on its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_verb(cmd_name) if cmd_name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs)
@click.version_option(importlib.metadata.version("stepforge"), prog_name="stepforge")
def main() -> None:
    """Ahead-of-time compiled optimizers: compile, check and step `.vmfb` artifacts.

    Exit codes: 0 ok, 1 a check failed, 2 wrong usage or a missing extra, 3 corrupt input,
    4 device.
    """


def compile_optimizer_main() -> None:
    """`compile-optimizer` is `stepforge compile`."""
    load_verb("compile").main(prog_name="compile-optimizer")
