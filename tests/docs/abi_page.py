"""What docs/abi.md gives to run: its commands, and its Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from docs import pages

PAGE = "abi.md"
SCRIPTS = Path(sys.executable).parent


def shell(command: str, folder: Path) -> str:
    """Run a block of commands with this environment's scripts in front."""
    environment = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def commands(heading: str, index: int = 0) -> str:
    """A block of shell commands under a heading."""
    found = [f for f in pages.fences(PAGE) if (f.heading, f.language) == (heading, "sh")]
    return found[index].text


def code() -> dict[str, Any]:
    """The page's reader of manifests and its evaluator of scalar programs, as names."""
    names: dict[str, Any] = {"__name__": "abi"}
    for heading in ("The manifest", "Arenas", "Arenas in shards", "Host scalars"):
        exec(pages.fence(PAGE, heading, "python"), names)
    return names
