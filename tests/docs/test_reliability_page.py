"""docs/reliability.md: every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from docs import pages

ROOT = Path(__file__).resolve().parents[2]


def test_every_promise_has_its_test() -> None:
    rows = list(pages.rows("reliability.md"))
    assert rows
    for promise, tests, figures in rows:
        named = re.findall(r"`([^`]+)`", tests)
        assert named, promise
        assert [name for name in named if not (ROOT / name).exists()] == []
        assert figures
