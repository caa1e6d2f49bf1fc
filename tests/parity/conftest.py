"""Artifacts are compiled once a session and shared by the tests of the table."""

import pytest

from .stepping import Artifacts


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return Artifacts(tmp_path_factory.mktemp("parity"))
