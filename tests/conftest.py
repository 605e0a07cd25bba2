"""One private PostgreSQL for all tests, and instances of the whole service, each with a database of its own in it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.service import Service
from tomaat.database import connect
from tomaat.database.PrivatePostgres import PrivatePostgres


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrivatePostgres(tmp_path_factory.mktemp("postgres"))
    yield server.start()
    server.remove()


@pytest.fixture(scope="session")
def make_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Make an empty database; return its URL."""
    admin = connect(postgres_url, deadline_seconds=30)
    numbers = itertools.count(1)

    def make() -> str:
        name = f"test_{next(numbers)}"
        with admin.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        return sqlalchemy.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)

    yield make
    admin.dispose()


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
