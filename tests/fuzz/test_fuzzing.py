"""The corpora, read again in every run, and grown by `make soak` for ten minutes each."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import fuzz_checkpoint

FOLDER = Path(__file__).resolve().parent
SECONDS = 600
MOST_MEMORY = 512
"""Mebibytes of the whole process, with Python, NumPy and the fuzzer."""


def corpus(name: str) -> list[Path]:
    return sorted((FOLDER / "corpus" / name).iterdir())


@pytest.mark.parametrize("path", corpus("checkpoint"), ids=lambda path: path.name)
def test_the_corpus_of_checkpoints(path: Path) -> None:
    """Inputs whose names begin with `whole` are checkpoints."""
    taken = fuzz_checkpoint.read(path.read_bytes()) is not None
    assert taken or not path.name.startswith("whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["checkpoint", "container", "graph", "manifest", "parameters", "recipe"]
)
def test_ten_minutes(name: str, tmp_path: Path) -> None:
    """New inputs that reach new code are kept in a folder that is printed, to be added."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (pip install 'stepforge[fuzz]')")
    found = Path(os.environ.get("STEPFORGE_FUZZ_FOUND", tmp_path)) / name
    found.mkdir(parents=True, exist_ok=True)
    seconds = os.environ.get("STEPFORGE_FUZZ_SECONDS", str(SECONDS))
    options = [f"-max_total_time={seconds}", "-timeout=1", f"-rss_limit_mb={MOST_MEMORY}"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"fuzz.fuzz_{name}"),
            *(str(found), str(FOLDER / "corpus" / name)),
            *(*options, "-max_len=8192", f"-artifact_prefix={found}/", "-print_final_stats=1"),
        ],
        capture_output=True,
        text=True,
        cwd=FOLDER.parent,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (executions,) = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    print(f"{name}: {executions} executions, {len(list(found.iterdir()))} new inputs in {found}")
    assert int(executions) > 10_000
