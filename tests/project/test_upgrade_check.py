"""`make upgrade-check` runs both lists of known defects, and fails when either has changed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
echo "$@" >> ran
case "$*" in
    *traps/iree_traps.py) echo "B1 {alone}"; exit {alone_code} ;;
    *pytest*) echo "FAILED {worked_around}"; exit {code} ;;
    *) echo 9.9 ;;
esac
"""


@pytest.mark.parametrize(("alone_code", "code"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_both_lists_count(tmp_path: Path, alone_code: int, code: int) -> None:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    bin_folder = tmp_path / ".venv-upgrade" / "bin"
    bin_folder.mkdir(parents=True)
    body = PYTHON.format(alone="one", worked_around="two", alone_code=alone_code, code=code)
    for name, text in (("pip", "#!/bin/sh\nexit 0\n"), ("python", body)):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    done = subprocess.run([tmp_path / ".ci/upgrade-check"], capture_output=True, text=True)
    ran = (tmp_path / "ran").read_text()
    for script in ("tests/traps/iree_traps.py", "tests/passes/test_iree_traps.py"):
        assert script in ran
        assert (ROOT / script).exists()
    assert "B1 one" in done.stdout
    assert "FAILED two" in done.stdout
    assert done.returncode == (alone_code | code)
    assert ("All are still there." in done.stdout) == (done.returncode == 0)
