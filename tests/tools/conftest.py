"""One small artifact, compiled once by the command line itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from stepforge.tools.cli import main

Run = Callable[..., Result]

PARAMETERS = '{"w": "8x4xf32", "b": "4xf32"}'
COMPILE = ("compile", "adamw", "--params")


@pytest.fixture(scope="session")
def cli() -> Run:
    """Run a verb: `cli("inspect", path)`."""

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture(scope="session")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parameters") / "parameters.json"
    path.write_text(PARAMETERS)
    return path


@pytest.fixture(scope="session")
def compiled(
    cli: Run, parameters: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Sequence[str]], Path]:
    """The artifact of some options, compiled on first use."""
    folder = tmp_path_factory.mktemp("artifacts")
    made: dict[tuple[str, ...], Path] = {}

    def make(options: Sequence[str] = ()) -> Path:
        key = tuple(options)
        if key not in made:
            made[key] = folder / f"{len(made)}.vmfb"
            cli("compile", "adamw", "--params", parameters, "-o", made[key], *key)
        return made[key]

    return make


@pytest.fixture(scope="session")
def artifact(compiled: Callable[[Sequence[str]], Path]) -> Path:
    """AdamW over `w` (8, 4) and `b` (4,), with settable weight decay, for the CPU."""
    return compiled(("--settable", "weight_decay"))


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Values for `w` and `b`; they serve as parameters and as gradients."""
    path = tmp_path / "arrays.npz"
    np.savez(path, w=np.full((8, 4), 0.5, np.float32), b=np.ones(4, np.float32))
    return path
