"""Artifacts are compiled once a session and shared by the tests of the table."""

from collections.abc import Iterator

import pytest

from .stepping import Artifacts


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artifacts]:
    made = Artifacts(tmp_path_factory.mktemp("parity"))
    yield made
    made.close()
