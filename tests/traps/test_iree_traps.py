"""The pinned IREE still has the defects that the workarounds are for; `make upgrade-check` asks
the newest one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiler


def load_traps():
    """The script beside this file, which is no module of a package so that it runs anywhere."""
    path = Path(__file__).with_name("iree_traps.py")
    spec = importlib.util.spec_from_file_location("iree_traps", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_traps_of_the_pinned_release() -> None:
    module = load_traps()
    found = module.verdicts([trap for trap in module.TRAPS if not trap.needs_vulkan])
    assert set(found.values()) == {"still there"}, found


@pytest.mark.slow
@pytest.mark.vulkan
def test_the_vulkan_traps_of_the_pinned_release() -> None:
    module = load_traps()
    found = module.verdicts([trap for trap in module.TRAPS if trap.needs_vulkan])
    assert set(found.values()) == {"still there"}, found
