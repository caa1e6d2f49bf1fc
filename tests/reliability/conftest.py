"""Where the tests of faults write."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """As `tmp_path`, in memory where there is such a file system: syncing costs nothing there.

    For tests which say themselves what is lost of what was not synced.
    """
    if not MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="stepforge-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)
