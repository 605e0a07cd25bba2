"""One private PostgreSQL for all tests, each of which makes a database of its own in it."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy

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
