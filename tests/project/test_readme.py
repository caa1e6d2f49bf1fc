"""The README's commands and programs run, in the order in which they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.compiler
def test_every_block_runs(tmp_path: Path) -> None:
    model = {
        "encoder.weight": np.ones((8, 4), np.float32),
        "encoder.bias": np.zeros(4, np.float32),
        "position_ids": np.arange(8),
    }
    save_file(model, tmp_path / "model.safetensors")
    del model["position_ids"]
    np.savez(tmp_path / "gradients.npz", **model)
    blocks = BLOCK.findall(TEXT)
    assert len(blocks) >= 4
    for kind, body in blocks:
        (run_console if kind == "console" else run_python)(body, tmp_path)
    assert (tmp_path / "out" / "adam.vmvx.vmfb").exists()


def run_console(body: str, folder: Path) -> None:
    """Commands are this environment's own, whatever the PATH says."""
    for line in body.splitlines():
        assert line.startswith("$ "), line
        run([*line.removeprefix("$ ").split()], folder)


def run_python(body: str, folder: Path) -> None:
    run([sys.executable, "-c", body], folder)


def run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    targets = LINK.findall((ROOT / name).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_make_targets_in_the_text_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    texts = TEXT + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([a-z-]+)", texts, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
