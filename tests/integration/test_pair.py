"""Database and storage are a pair: it is looked at with each connection, and before each tidying."""

import sys

import pytest
import sqlalchemy
import structlog

from tests.integration.test_manager_manager import finished, manager
from tomaat.database import DatabaseUnavailable, connect, migrate, run
from tomaat.manager.sweep import FEW_STRAYS
from tomaat.storage import Storage
from tomaat.tickets.instance import bind_storage, keep_pair, mismatch
from tomaat.tickets.question_store import QUARANTINE


@pytest.fixture
def storage(tmp_path):
    made = Storage(tmp_path / "storage")
    made.prepare()
    return made


@pytest.fixture
def admin(postgres_url):
    made = connect(postgres_url, deadline_seconds=30)
    yield made
    made.dispose()


@pytest.fixture(params=["empty", "another instance's"])
def other(request, make_database):
    """Another database's name; ``None``: there is none, and an empty one is made."""
    if request.param == "empty":
        return None
    url = make_database()
    second = connect(url, deadline_seconds=30)
    migrate(second)
    second.dispose()
    return sqlalchemy.make_url(url).database


def exchange(admin, database_url, by):
    """Let another database come under the name of one, while doors are connected; ``None``: an empty one."""
    name = sqlalchemy.make_url(database_url).database
    with admin.connect() as connection:
        connection.execute(
            sqlalchemy.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:a, :b)"),
            {"a": name, "b": by},
        )
        connection.execute(sqlalchemy.text(f"ALTER DATABASE {name} RENAME TO {name}_away"))
        command = f"CREATE DATABASE {name}" if by is None else f"ALTER DATABASE {by} RENAME TO {name}"
        connection.execute(sqlalchemy.text(command))


def bring_back(admin, database_url):
    name = sqlalchemy.make_url(database_url).database
    with admin.connect() as connection:
        connection.execute(
            sqlalchemy.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :a"), {"a": name}
        )
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name}"))
        connection.execute(sqlalchemy.text(f"ALTER DATABASE {name}_away RENAME TO {name}"))


def test_another_database_under_the_same_name_is_none(bench, storage, admin, database_url, other):
    bind_storage(bench.database, storage)
    keep_pair(bench.database, storage)
    lane = bench.source()
    ticket, folder = finished(bench, storage, lane)
    exchange(admin, database_url, other)
    keeping = manager(bench, storage)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            keeping.round()  # the first may notice only that its connection is gone
            with pytest.raises(DatabaseUnavailable):
                run(bench.database, "SELECT 1")
    assert {line["event"] for line in logs} <= {"database.lost"}
    with pytest.raises(DatabaseUnavailable, match="instance"):
        bench.web.find(ticket.id)
    assert folder.path.exists()
    bring_back(admin, database_url)
    assert bench.read(ticket).state == "succeeded"


def test_another_storage_under_the_same_path_is_none(bench, storage):
    bind_storage(bench.database, storage)
    keep_pair(bench.database, storage)
    run(bench.database, "SELECT 1")
    (storage.base / "instance").write_text("00000000-0000-0000-0000-000000000000\n")
    bench.database.dispose()
    with pytest.raises(DatabaseUnavailable, match="belongs to the database with instance 0000"):
        run(bench.database, "SELECT 1")


def test_a_storage_that_is_not_mounted_is_none(bench, storage):
    bind_storage(bench.database, storage)
    keep_pair(bench.database, storage)
    (storage.base / "instance").unlink()
    bench.database.dispose()
    with pytest.raises(DatabaseUnavailable, match="has tickets in another folder"):
        run(bench.database, "SELECT 1")


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(116, "stale"), ValueError("no text")])
def test_a_storage_that_cannot_be_read_is_none(bench, storage, monkeypatch, error):
    bind_storage(bench.database, storage)
    keep_pair(bench.database, storage)

    def fail():
        raise error

    monkeypatch.setattr(storage, "instance_id", fail)
    bench.database.dispose()
    with pytest.raises(DatabaseUnavailable, match="cannot be read"):
        run(bench.database, "SELECT 1")


@pytest.fixture
def tidying(bench, storage, monkeypatch):
    """A manager that tidies, in every round, folders as young as may be."""
    monkeypatch.setattr(sys.modules["tomaat.manager.sweep"], "STRAY_SECONDS", -1.0)
    monkeypatch.setattr(sys.modules["tomaat.manager.sweep"], "EVERY_SECONDS", 0.0)
    bind_storage(bench.database, storage)
    made = manager(bench, storage)
    made.sweep.pair = lambda: mismatch(bench.database, storage)

    def tidy():
        made.round()
        made.sweep.strays_at = 0.0
        made.sweep.work()

    made.tidy = tidy
    return made


def strays(storage, count):
    return [storage.keep(storage.new_incoming()) for _ in range(count)]


def test_nothing_is_tidied_where_the_pair_is_none(bench, storage, tidying):
    (stray,) = strays(storage, 1)
    bench.run("UPDATE instance SET id = gen_random_uuid()")
    with structlog.testing.capture_logs() as logs:
        tidying.tidy()
    assert stray.path.exists()
    assert "storage.foreign" in {line["event"] for line in logs}


def test_a_large_part_of_the_folders_waits_for_an_operators_word(bench, storage, tidying):
    many = strays(storage, FEW_STRAYS + 1)
    with structlog.testing.capture_logs() as logs:
        tidying.tidy()
        tidying.tidy()
    assert [line["event"] for line in logs].count("quarantine.asks") == 1
    assert all(stray.path.exists() for stray in many)
    assert tidying.questions.agree(QUARANTINE).amount == FEW_STRAYS + 1
    tidying.tidy()
    assert not any(stray.path.exists() for stray in many)
    assert all((storage.quarantine / stray.name).exists() for stray in many)
    more = strays(storage, FEW_STRAYS + 1)
    tidying.tidy()
    assert all(stray.path.exists() for stray in more), "an agreement counts once"


def test_an_agreement_is_about_no_more_folders_than_it_was_asked_for(bench, storage, tidying):
    strays(storage, FEW_STRAYS + 1)
    tidying.tidy()
    tidying.questions.agree(QUARANTINE)
    strays(storage, 1)
    tidying.tidy()
    assert len(list(storage.tickets.iterdir())) == FEW_STRAYS + 2
    assert [question.agreed for question in tidying.questions.all()] == [None]


def test_a_few_or_a_tenth_are_put_away_and_what_was_asked_is_withdrawn(bench, storage, tidying):
    strays(storage, FEW_STRAYS + 1)
    tidying.tidy()
    assert [question.what for question in tidying.questions.all()] == [QUARANTINE]
    known = [storage.keep(storage.new_incoming()) for _ in range(190)]
    for folder in known:
        bench.web.submit(bench.new_ticket(folder=folder.name))
    tidying.tidy()
    assert len(list(storage.quarantine.iterdir())) == FEW_STRAYS + 1, "a tenth of 211 is more"
    assert all(folder.path.exists() for folder in known)
    assert tidying.questions.all() == []
