"""One private PostgreSQL for all tests, and instances of the whole service, each with a database of its own in it."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import hypothesis
import pytest
import sqlalchemy

import tomaat.client.cohort  # noqa: F401 (its waits are shortened)
from tests import needs
from tests.chaos.matrix import PART, PARTS
from tests.service import Service
from tests.stub_server import StubServer, running
from tomaat.database import connect
from tomaat.database.connection import patience
from tomaat.postgres.private_postgres import CONFIGURATION, PrivatePostgres

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is slow, and no example's fault
hypothesis.settings.load_profile("any machine")


def pytest_configure() -> None:
    """Choose the day's part of the fault matrix before other processes start: they must list the same tests."""
    os.environ.setdefault(PART, str(datetime.now(timezone.utc).toordinal() % PARTS))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name no test by packed bytes: gzip writes the time into them, and two processes must list the same tests."""
    return argname if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Count the tests that lacked a program, after all else; only pytest's own last line follows."""
    yield
    reasons = (report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    if sentence := needs.told(reasons):
        terminalreporter.write_line(sentence)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrivatePostgres(tmp_path_factory.mktemp("postgres"))
    with mock.patch.dict(CONFIGURATION, fsync="off"):  # no test cuts the power
        url = server.start()
    yield url
    server.remove()


@pytest.fixture(scope="session")
def make_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Make an empty database; return its URL."""
    admin = connect(postgres_url, deadline_seconds=30)
    numbers = itertools.count(1)

    def make() -> str:
        name = f"test_{next(numbers)}"
        with patience(30), admin.connect() as connection:  # the last test's deadline may still be there
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        return sqlalchemy.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)

    yield make
    admin.dispose()


def instances(folder: Path, make_database: Callable[[], str]) -> Iterator[Callable[..., Service]]:
    """Make instances below ``folder``, with settings of their own, and stop them all in the end."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        own = folder / str(len(made))
        own.mkdir()
        made.append(Service(own, make_database(), **settings))
        return made[-1]

    yield make
    for instance in made:
        instance.stop()


@pytest.fixture
def own_service(tmp_path: Path, make_database: Callable[[], str]) -> Iterator[Callable[..., Service]]:
    """Make instances for one test."""
    yield from instances(tmp_path, make_database)


@pytest.fixture(scope="module")
def make_service(
    tmp_path_factory: pytest.TempPathFactory, make_database: Callable[[], str]
) -> Iterator[Callable[..., Service]]:
    """Make instances that a module's tests share."""
    yield from instances(tmp_path_factory.mktemp("instances"), make_database)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """A server for clients, without anything behind it."""
    with running() as server:
        yield server


@pytest.fixture
def quick_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients wait for next to nothing."""
    for module, name in (
        ("patience", "FIRST_PAUSE_SECONDS"),
        ("ticket", "PAUSE_SECONDS"),
        ("ticket", "SHORT_WAIT_SECONDS"),
    ):
        monkeypatch.setattr(sys.modules[f"tomaat.client.{module}"], name, 0.01)
    monkeypatch.setattr(sys.modules["tomaat.client.cohort"], "SHORT_WAIT_SECONDS", 0.01)
