"""A private PostgreSQL for all tests of this folder, and instances of the whole service on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.service import Service
from tomaat.database import connect
from tomaat.database.PrivatePostgres import PrivatePostgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrivatePostgres(tmp_path_factory.mktemp("postgres"))
    yield server.start()
    server.stop()


@pytest.fixture(scope="session")
def make_database(postgres: str) -> Iterator[Any]:
    admin = connect(postgres, deadline_seconds=30)
    made = []

    def make() -> str:
        made.append(f"acceptance_{len(made)}")
        with admin.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {made[-1]}"))
        return sqlalchemy.make_url(postgres).set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    admin.dispose()


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
