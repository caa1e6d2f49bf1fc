"""The garbage collector is paused for a compilation alone."""

from __future__ import annotations

import gc

import pytest

from stepforge.frontend.collector import paused


@pytest.mark.parametrize("on", [True, False])
def test_it_is_as_it_was_afterwards(on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with paused():
            assert not gc.isenabled()
            with paused():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled() is on
        with pytest.raises(ValueError, match="no"), paused():
            raise ValueError("no")
        assert gc.isenabled() is on
    finally:
        (gc.enable if before else gc.disable)()
