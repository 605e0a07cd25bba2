"""The connection with its deadline, the hints, the migrations, and the pair of database and folder."""

import sys
import threading
import time
from queue import SimpleQueue

import psutil
import pytest
import sqlalchemy
import structlog

from tests.chaos.Proxy import Proxy
from tomaat.database import (
    DatabaseUnavailable,
    Hint,
    Hinter,
    Hints,
    SchemaTooNew,
    connect,
    migrate,
    run,
    send_hints,
    wait_for_database,
)
from tomaat.database.connection import mending
from tomaat.database.hints import MOST_NAMED
from tomaat.database.migrate import MIGRATIONS
from tomaat.processes.holder import is_gone, this_process
from tomaat.storage import ForeignStorage, Storage
from tomaat.tickets.instance import bind_storage
from tomaat.tickets.source_store import take_lease
from tomaat.tickets.ticket_store import TicketStore

VERSIONS = sorted(int(path.name[:4]) for path in MIGRATIONS.glob("*.sql"))


def test_several_processes_migrate_one_database_once(database_url):
    engines = [connect(database_url, deadline_seconds=60) for _ in range(6)]
    errors = []

    def up(database):
        try:
            migrate(database)
        except Exception as error:  # noqa: BLE001 (whatever it is, the test tells)
            errors.append(error)

    threads = [threading.Thread(target=up, args=(database,)) for database in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [row.version for row in run(engines[0], "SELECT version FROM schema_versions ORDER BY 1")] == VERSIONS
    assert len(run(engines[0], "SELECT * FROM instance")) == 1
    for database in engines:
        database.dispose()


def test_a_process_that_is_amid_the_first_migration_is_waited_for(database_url):
    database, other = (connect(database_url, deadline_seconds=60) for _ in range(2))
    with other.execution_options(isolation_level="READ COMMITTED").begin() as amid:
        amid.exec_driver_sql("CREATE TABLE schema_versions (version integer PRIMARY KEY, applied timestamptz)")
        amid.exec_driver_sql("INSERT INTO schema_versions VALUES (1)")
        amid.exec_driver_sql((MIGRATIONS / "0001_tickets.sql").read_text())
        waiting = threading.Thread(target=migrate, args=(database,))
        waiting.start()
        blocked = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        deadline = time.monotonic() + 30
        while amid.execute(blocked).scalar() == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
    waiting.join()
    assert [row.version for row in run(database, "SELECT version FROM schema_versions ORDER BY 1")] == VERSIONS
    database.dispose()
    other.dispose()


def test_an_older_database_is_brought_up_to_date_with_its_tickets(database_url):
    database = connect(database_url, deadline_seconds=10)
    run(database, "CREATE TABLE schema_versions (version integer PRIMARY KEY, applied timestamptz DEFAULT now())")
    run(database, "INSERT INTO schema_versions VALUES (1)")
    with database.connect() as connection:
        connection.exec_driver_sql((MIGRATIONS / "0001_tickets.sql").read_text())
    run(database, "INSERT INTO tickets (token_hash, service, interface_hash, folder) VALUES ('x', 'Add', 'h', 'f')")
    migrate(database)
    assert [row.version for row in run(database, "SELECT version FROM schema_versions ORDER BY 1")] == VERSIONS
    assert TicketStore(database, lambda _: None).find(1).later_token_hashes == ()
    database.dispose()


def test_a_newer_schema_is_refused_with_a_sentence(database):
    run(database, "INSERT INTO schema_versions VALUES (99)")
    with pytest.raises(SchemaTooNew, match=rf"is version 99, this program knows up to {VERSIONS[-1]}"):
        migrate(database)


def test_a_statement_ends_at_its_deadline(database_url):
    database = connect(database_url, deadline_seconds=0.5)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        run(database, "SELECT pg_sleep(20)")
    assert time.monotonic() - began < 5
    assert run(database, "SELECT 1 AS one")[0].one == 1
    database.dispose()


def test_who_forgets_a_transaction_holds_nobody_up_for_long(database_url):
    """The server ends a session whose transaction stands still for twice the deadline."""
    database = connect(database_url, deadline_seconds=0.5)
    with database.connect() as connection:
        forgotten = connection.execution_options(isolation_level="READ COMMITTED")
        forgotten.execute(sqlalchemy.text("SELECT 1"))
        time.sleep(2)
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            forgotten.execute(sqlalchemy.text("SELECT 1"))
        forgotten.invalidate()
    database.dispose()


def test_a_migration_may_take_longer_than_a_statement(database_url, tmp_path, monkeypatch):
    (tmp_path / "0001_slow.sql").write_text("SELECT pg_sleep(1.5); CREATE TABLE slow ();")
    monkeypatch.setattr(sys.modules["tomaat.database.migrate"], "MIGRATIONS", tmp_path)
    database = connect(database_url, deadline_seconds=0.5)
    migrate(database)
    assert run(database, "SELECT to_regclass('slow') AS name")[0].name == "slow"
    database.dispose()


def test_a_silent_server_is_given_up_at_the_deadline(database_url):
    """A proxy that goes silent, as a network does whose other end is gone."""
    url = sqlalchemy.make_url(database_url)
    proxy = Proxy(f"{url.query['host']}/.s.PGSQL.{url.query['port']}")
    through = url.set(host="127.0.0.1", port=proxy.port, query={})
    database = connect(through.render_as_string(hide_password=False), deadline_seconds=1.0)
    assert run(database, "SELECT 1 AS one")[0].one == 1
    proxy.silence()
    for _ in range(2):  # a pooled connection, and one to be made
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            run(database, "SELECT 1")
        assert time.monotonic() - began < 1.8
    proxy.speak()
    assert run(database, "SELECT 1 AS one")[0].one == 1
    database.dispose()
    proxy.close()


def test_a_hint_wakes_who_waits_and_a_wake_up_ends_the_wait(database, database_url):
    hints = Hints(database_url, "tomaat_submitted", deadline_seconds=5)
    assert hints.wait(0.01) == {Hint("tomaat_submitted")}, "anything may have happened before it listened"
    assert hints.wait(0.01) == set()
    news = {Hint("tomaat_submitted", "a"), Hint("tomaat_submitted", "b")}
    send_hints(database, [*news, *news, Hint("tomaat_queued")])
    assert hints.wait(10) == news
    hints.wake()
    began = time.monotonic()
    assert hints.wait(10) == set()
    assert time.monotonic() - began < 5
    before = hints.connection
    run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    deadline = time.monotonic() + 10
    heard = set()
    while hints.connection in {before, None} and time.monotonic() < deadline:
        heard = hints.wait(0.1)
    assert heard == {Hint("tomaat_submitted")}, "anything may have happened meanwhile"
    send_hints(database, [Hint("tomaat_submitted", "c")])
    assert hints.wait(10) == {Hint("tomaat_submitted", "c")}, "it listens again after its connection was lost"
    hints.close()


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ([Hint("a", "1"), Hint("a"), Hint("b", "1")], {Hint("a"), Hint("b", "1")}),
        ([Hint("a", str(number)) for number in range(MOST_NAMED + 1)], {Hint("a")}),
        ([Hint("a", str(number)) for number in range(3)], {Hint("a", "0"), Hint("a", "1"), Hint("a", "2")}),
    ],
)
def test_hints_about_anything_or_very_much_are_one(database, database_url, wanted, sent):
    hints = Hints(database_url, "a", "b", deadline_seconds=5)
    hints.wait(0)
    send_hints(database, wanted)
    assert hints.wait(10) == sent
    hints.close()


def test_hints_are_sent_together_and_those_that_can_wait_wait_for_one_that_cannot(database, monkeypatch):
    sent = SimpleQueue()
    monkeypatch.setattr("tomaat.database.hinter.send_hints", lambda _, hints: sent.put(hints))
    monkeypatch.setattr("tomaat.database.hinter.LATER_SECONDS", 20.0)
    hinter = Hinter(database)
    hinter.send(Hint("a", "1", soon=False))
    hinter.send(Hint("a", "2", soon=False))
    hinter.send(Hint("b"))
    assert sent.get(timeout=10) == [Hint("a", "1"), Hint("a", "2"), Hint("b")]
    hinter.send(Hint("a", "3", soon=False))
    hinter.close()
    assert sent.get(timeout=10) == [Hint("a", "3")]


def test_hints_that_follow_each_other_closely_are_one_statement(database, monkeypatch):
    module = sys.modules["tomaat.database.hinter"]
    sent: SimpleQueue[list[Hint]] = SimpleQueue()
    monkeypatch.setattr(module, "send_hints", lambda _, hints: sent.put(list(hints)))
    monkeypatch.setattr(module, "APART_SECONDS", 1.0)
    hinter = Hinter(database)
    hinter.send(Hint("a", "1"))
    assert sent.get(timeout=10) == [Hint("a", "1")], "the first one goes at once"
    for about in ("2", "3"):
        hinter.send(Hint("a", about))
        time.sleep(0.05)
    assert sent.get(timeout=10) == [Hint("a", "2"), Hint("a", "3")]
    hinter.close()


def test_a_connection_that_was_closed_is_noticed_without_a_statement_and_replaced(database):
    (before,) = run(database, "SELECT pg_backend_pid() AS pid")
    with connect(database.url.render_as_string(hide_password=False), deadline_seconds=10).connect() as other:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        other.execute(sqlalchemy.text(ended))
    deadline = time.monotonic() + 10
    while psutil.pid_exists(before.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    (after,) = run(database, "SELECT pg_backend_pid() AS pid")
    assert after.pid != before.pid


def test_a_password_is_read_alike_by_the_pool_and_by_the_hints(database, database_url):
    run(database, "CREATE ROLE slashed LOGIN PASSWORD 'pa/ss 50%off'")
    url = database_url.replace(f"//{sqlalchemy.make_url(database_url).username}:", "//slashed:", 1)
    url = url.replace(sqlalchemy.make_url(database_url).password, "pa/ss 50%off", 1)
    slashed = connect(url, deadline_seconds=10)
    hints = Hints(url, "tomaat_submitted", deadline_seconds=10)
    hints.wait(0.01)
    send_hints(slashed, [Hint("tomaat_submitted", "a")])
    assert hints.wait(10) == {Hint("tomaat_submitted", "a")}
    hints.close()
    slashed.dispose()
    run(database, "DROP ROLE slashed")


def test_the_reason_for_waiting_is_said_once_and_without_the_password():
    database = connect("postgresql://somebody:secret@127.0.0.1:9/none", deadline_seconds=1)
    looks = iter([False, False, True])
    with structlog.testing.capture_logs() as logs:
        assert not wait_for_database(database, migrate, lambda _: next(looks))
    assert [log["event"] for log in logs] == ["database.waiting"]
    assert "secret" not in str(logs)


def test_a_database_that_belongs_to_another_role_is_told_how_to_mend(postgres_url, database_url):
    admin = connect(postgres_url, deadline_seconds=10)
    run(admin, "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    run(connect(database_url, deadline_seconds=10), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    guest = sqlalchemy.make_url(database_url).set(username="guest", password="guest")
    database = connect(guest.render_as_string(hide_password=False), deadline_seconds=5)
    with structlog.testing.capture_logs() as logs:
        assert not wait_for_database(database, migrate, lambda _: True)
    assert "permission denied" in logs[0]["reason"]
    assert f'ALTER DATABASE {guest.database} OWNER TO "guest"' in logs[0]["mend"]
    database.dispose()


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"username": "tomaat-user"}, "CREATE ROLE \"tomaat-user\" LOGIN PASSWORD '...'"),
        ({"database": "none"}, 'CREATE DATABASE none OWNER "tomaat"'),
        ({"password": "guess"}, "ALTER ROLE \"tomaat\" PASSWORD '...'"),
        ({"host": "127.0.0.1", "port": 9}, "`make serve` brings its own"),
    ],
)
def test_whoever_waits_is_told_what_to_do(postgres_url, wrong, mend):
    url = sqlalchemy.make_url(postgres_url).set(**wrong)
    if "host" in wrong:
        url = url.set(query={})
    database = connect(url.render_as_string(hide_password=False), deadline_seconds=5)
    with structlog.testing.capture_logs() as logs:
        assert not wait_for_database(database, migrate, lambda _: True)
    assert mend in logs[0]["mend"], logs
    database.dispose()


@pytest.mark.parametrize(
    ("reason", "mend"),
    [
        ('FATAL:  role "r" does not exist', "CREATE ROLE"),
        ('FATAL:  role "r" is not permitted to log in', 'ALTER ROLE "r" LOGIN;'),
        ('FATAL:  too many connections for role "r"', "CONNECTION LIMIT"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("FATAL:  remaining connection slots are reserved for superusers", "max_connections"),
        ('FATAL:  database "d" does not exist', "CREATE DATABASE d"),
        ('FATAL:  database "d" is not currently accepting connections', "ALTER DATABASE d ALLOW_CONNECTIONS"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "r", database "d", no encryption', "pg_reload_conf"),
        ("PostgreSQL was silent for 5 s", "See whether PostgreSQL runs"),
    ],
)
def test_what_postgresql_says_is_mended_by_what_mends_it(reason, mend):
    told = mending(f"connection to server failed: {reason}", sqlalchemy.make_url("postgresql://r:secret@h/d"))
    assert mend in told
    assert ("CREATE" in mend) == ("CREATE" in told)
    assert "secret" not in told


def test_whoever_waits_tries_again_and_a_tool_does_not():
    database = connect("postgresql://r:p@no.such.host.invalid/d", deadline_seconds=1)
    with structlog.testing.capture_logs() as logs:
        assert not wait_for_database(database, migrate, lambda _: True)
    assert logs[0]["mend"] == "It is tried again and again."
    assert "again and again" not in mending(logs[0]["reason"], database.url)


def test_a_pair_of_database_and_folder_is_bound_and_others_are_refused(database, tmp_path):
    storage = Storage(tmp_path / "one")
    storage.prepare()
    bind_storage(database, storage)
    bind_storage(database, storage)
    other = Storage(tmp_path / "two")
    other.prepare()
    with pytest.raises(ForeignStorage, match="has tickets in another folder"):
        bind_storage(database, other)
    other.bind("00000000-0000-0000-0000-000000000000")
    with pytest.raises(ForeignStorage, match="belongs to the database with instance 0000"):
        bind_storage(database, other)


def test_a_lease_of_a_process_that_is_gone_is_taken_over_at_once(bench):
    alive = this_process()
    assert not is_gone(alive)
    machine, _, _ = alive.rpartition("/")
    machine, _, _ = machine.rpartition("/")
    dead = f"{machine}/999999999/1"
    assert is_gone(dead)
    bench.sources.take("x", dead)
    assert take_lease(bench.sources, "x") is not None
    bench.sources.take("y", "elsewhere/1/2/3")
    assert take_lease(bench.sources, "y") is None
