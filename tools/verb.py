"""What all verbs share: failures become exit codes, facts become text or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from stepforge.tools.errors import as_tool_error

Function = TypeVar("Function", bound=Callable[..., Any])


class Verb(click.Command):
    """A command whose failures are printed with the text of the package that raised them."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException:
            end_progress()
            raise
        except Exception as error:
            end_progress()
            tool_error = as_tool_error(error)
            if tool_error is None:
                raise
            raise tool_error from error


def json_option(function: Function) -> Function:
    """Add `--json`, passed on as `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
    return option(function)


def public_key_option(function: Function) -> Function:
    """Add `--public-key`: with it nothing runs but what its owner signed."""
    option = click.option(
        "--public-key",
        type=click.Path(path_type=Path),
        metavar="PUB.pem",
        help="Refuse an artifact that was not signed with the private half of this key.",
    )
    return option(function)


def print_json(facts: Any) -> None:
    """Frozen values of the packages become objects; JSON has no NaN or infinity, so texts do."""
    click.echo(json_text(facts))


def json_text(facts: Any) -> str:
    """What `print_json` prints, without the last newline."""
    return json.dumps(_plain(facts), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): _plain(item) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def log(message: str) -> None:
    """One line about what is going on; never on stdout, which holds the facts alone."""
    click.echo(message, err=True)


def progress(message: str) -> None:
    """A line that the next one overwrites, on a terminal only."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{message}", err=True, nl=False)


def end_progress() -> None:
    progress("")


def table(rows: Sequence[Sequence[str]], headings: Sequence[str] = ()) -> str:
    """Left-aligned columns; the last one is not padded."""
    lines = [tuple(headings), *map(tuple, rows)] if headings else list(map(tuple, rows))
    if not lines:
        return ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def file_size(count: int) -> str:
    """Bytes as people read them: `9.4 KB`, `12.0 MB`."""
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("KB", "MB"):
        if value < 1000:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """A time with three digits and a unit: `7.12 us`, `1.56 ms`, `2.10 s`."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
