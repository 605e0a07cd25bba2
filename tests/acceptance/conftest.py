"""Instances of the whole service, each with a database of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, make_database: Any) -> Iterator[Service]:
    """An instance that several tests share; none of them ends a door of it."""
    shared = Service(tmp_path_factory.mktemp("service"), make_database())
    shared.start()
    shared.wait_until_ready()
    yield shared
    shared.stop()


@pytest.fixture
def own_service(tmp_path: Path, make_database: Any) -> Iterator[Any]:
    """Make instances of the test's own, with settings of its own."""
    made = []

    def make(**settings: str) -> Service:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Service(folder, make_database(), **settings))
        return made[-1]

    yield make
    for instance in made:
        instance.stop()
