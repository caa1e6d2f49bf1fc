"""The command line as a whole: help, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stepforge.frontend.errors import FrontendError, InPlaceCheckError
from stepforge.passes.errors import PassError, UnknownTargetError, UnsupportedDTypeError
from stepforge.runtime import errors as runtime_errors
from stepforge.tools.cli import VERBS, load_verb, main
from stepforge.tools.errors import RAISED_AS, ToolError, as_tool_error
from stepforge.tools.verb import Verb, duration, file_size, print_json, table


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    result = CliRunner().invoke(main, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: stepforge {verb}") or "Usage: main" in result.output


def test_the_help_lists_the_verbs() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert all(f"  {name} " in result.output for name in VERBS)


def test_an_unknown_verb_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["fly"]).exit_code == 2


def every_error(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for kind in root.__subclasses__():
        yield from every_error(kind)


EXPECTED = {
    runtime_errors.ArtifactCorruptError: 3,
    runtime_errors.ArtifactFormatError: 3,
    runtime_errors.VersionMismatchError: 3,
    runtime_errors.CheckpointError: 3,
    runtime_errors.SignatureMissingError: 1,
    runtime_errors.SignatureInvalidError: 1,
    runtime_errors.SigningKeyError: 2,
    runtime_errors.MissingExtraError: 2,
    runtime_errors.TrialCrashError: 4,
    runtime_errors.TrialTimeoutError: 4,
    runtime_errors.CpuMismatchError: 4,
    runtime_errors.DeviceNotFoundError: 4,
    runtime_errors.DeviceMismatchError: 4,
    runtime_errors.StateLostError: 4,
    runtime_errors.StepFailedError: 4,
    runtime_errors.GradientError: 2,
    runtime_errors.UnknownNameError: 2,
    runtime_errors.ArtifactWriteError: 2,
    runtime_errors.CheckpointWriteError: 2,
    FrontendError: 2,
    InPlaceCheckError: 1,
    PassError: 1,
    UnknownTargetError: 2,
    UnsupportedDTypeError: 2,
    FileNotFoundError: 2,
}


@pytest.mark.parametrize(("kind", "code"), EXPECTED.items())
def test_failures_become_exit_codes(kind: type[Exception], code: int) -> None:
    found = as_tool_error(kind("the text"))
    assert found is not None
    assert found.exit_code == code
    assert "the text" in found.message


@pytest.mark.parametrize("root", [FrontendError, PassError, runtime_errors.StepforgeRuntimeError])
def test_every_error_of_a_package_has_an_exit_code(root: type[Exception]) -> None:
    for kind in every_error(root):
        names = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
        assert names & RAISED_AS.keys(), kind


def test_a_defect_of_our_own_is_not_hidden() -> None:
    assert as_tool_error(ZeroDivisionError("x")) is None


def test_the_missing_compiler_is_named() -> None:
    error = as_tool_error(ModuleNotFoundError("No module", name="iree.compiler"))
    assert error is not None
    assert error.exit_code == 2
    assert "pip install 'stepforge[compiler]'" in error.message


def test_a_verb_prints_the_text_of_a_failure() -> None:
    @click.command(cls=Verb)
    def fail() -> None:
        raise runtime_errors.ArtifactCorruptError("the digest does not hold")

    result = CliRunner().invoke(fail)
    assert result.exit_code == 3
    assert result.output == "Error: the digest does not hold\n"


def test_our_own_lines_are_left_out_of_messages(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"w": "3xf32"}')
    arguments = ["adamw", "--params", str(tmp_path / "x.json"), "--set", "epsilon=1"]
    result = CliRunner().invoke(load_verb("compile"), arguments)
    assert result.exit_code == 2
    assert "did you mean 'adam_epsilon'" in result.output
    assert "  at: " not in result.output


def test_the_installed_commands_start() -> None:
    for module, name in (("main", "stepforge"), ("compile_optimizer_main", "compile-optimizer")):
        program = f"from stepforge.tools.cli import {module}; {module}()"
        done = subprocess.run(
            [sys.executable, "-c", program, "--help"], capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        assert "Usage: " in done.stdout, name


def test_json_holds_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": (1, float("inf")), "c": None})
    assert json.loads(capsys.readouterr().out) == {"a": "nan", "b": [1, "inf"], "c": None}


def test_tables_align() -> None:
    assert table([("a", "bc"), ("long", "d")], ("x", "y")) == "x     y\na     bc\nlong  d"
    assert table([]) == ""


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (9400, "9.4 KB"), (12_000_000, "12.0 MB")]
)
def test_file_sizes(count: int, text: str) -> None:
    assert file_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.12e-6, "7.12 us"), (1.56e-3, "1.56 ms"), (2.1, "2.1 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tool_errors_are_click_errors() -> None:
    assert issubclass(ToolError, click.ClickException)
