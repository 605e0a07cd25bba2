"""However much is due at once: tickets go to their queues first, and each statement changes few rows."""

import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import structlog

from tests.integration.test_manager_manager import finished, manager
from tests.integration.watched_statements import watched_statements
from tomaat.database import RowRefused
from tomaat.storage import Storage
from tomaat.tickets.manager_store import MOST_AT_ONCE

MANY = 4000

INSERT = """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, created, finished, source, epoch,
    result_sha256, result_bytes, fetched, files_removed, attempts)
    SELECT '\\x00', 'Add', :interface, :folder || n, :state, clock_timestamp() - interval '2 hours',
      CASE WHEN :finished THEN clock_timestamp() - interval '2 hours' - n * interval '1 ms' END, :source, :epoch,
      'x', 1, CASE WHEN :fetched THEN clock_timestamp() END, :files_removed, 0
    FROM generate_series(1, :many) n"""


@pytest.fixture
def storage(tmp_path):
    made = Storage(tmp_path / "storage")
    made.prepare()
    return made


def many(bench, state, *, many=MANY, **more):
    values = {"interface": "Gone-1", "source": None, "epoch": None, "finished": False, "fetched": False}
    bench.force(INSERT, state=state, folder=f"{state}-", many=many, **{**values, "files_removed": False, **more})


@contextmanager
def statements():
    """Write down each statement that changes something, and how many rows it changed."""
    told: list[tuple[str, int]] = []

    def note(cursor, statement, _values):
        if not statement.lstrip().startswith("SELECT"):
            told.append((statement, cursor.rowcount))

    with watched_statements(after=note):
        yield told


#: What may be due, and the state that it is in afterwards.
DUE = {
    "expire": ("succeeded", {"finished": True}, "expired"),
    "fail because they waited": ("submitted", {}, "failed"),
    "fail in a queue because they waited": ("queued", {"source": "here/gone"}, "failed"),
    "are taken back": ("running", {"source": "here/gone", "epoch": 1}, "failed"),
}


@pytest.mark.parametrize("due", DUE)
def test_thousands_that_are_due_hold_no_ticket_up_and_are_done_in_small_parts(bench, storage, due):
    state, more, after = DUE[due]
    many(bench, state, **more)
    bench.source()
    waiting = bench.submit()
    keeping = manager(bench, storage, attempts=1)
    with statements() as told:
        keeping.round()
    assert bench.read(waiting).state == "queued"
    changes = [statement for statement, _ in told if "UPDATE tickets" in statement or "DELETE" in statement]
    assert "SET state = 'queued'" in changes[0], "assigning comes first"
    assert max(rows for _, rows in told) <= MOST_AT_ONCE < MANY
    done = 0
    for _ in range(MANY):
        with statements() as told:
            keeping.round()
        assert max(rows for _, rows in told) <= MOST_AT_ONCE
        (left,) = bench.run(
            "SELECT count(*) AS n FROM tickets WHERE folder LIKE :f AND state <> :s", f=f"{state}-%", s=after
        )
        done += 1
        if not left.n:
            break
    assert not left.n, f"{left.n} left after {done} rounds"
    assert done >= MANY / MOST_AT_ONCE


def test_thousands_of_old_rows_and_lines_go_in_small_parts(bench, storage):
    many(bench, "failed", finished=True, files_removed=True)
    bench.run("UPDATE tickets SET finished = finished - interval '400 days'")
    bench.run(
        "INSERT INTO audit (at, who, what, outcome) SELECT clock_timestamp() - interval '100 days', 'a', 'b', 'c'"
        " FROM generate_series(1, :n)",
        n=MANY,
    )
    keeping = manager(bench, storage)
    with statements() as told:
        keeping.turn()
    assert max(rows for _, rows in told) <= MOST_AT_ONCE
    assert bench.run("SELECT (SELECT count(*) FROM tickets) + (SELECT count(*) FROM audit) AS n")[0].n == 0


def test_files_are_removed_in_small_parts_beside_the_rounds(bench, storage):
    many(bench, "failed", finished=True, many=450)
    for row in bench.run("SELECT folder FROM tickets"):
        (storage.tickets / row.folder).mkdir()
    keeping = manager(bench, storage)
    keeping.round()
    assert len(list(storage.tickets.iterdir())) == 450, "no round removes files"
    with statements() as told:
        assert keeping.sweep.work()
    assert len(list(storage.tickets.iterdir())) == 350
    assert max(rows for _, rows in told) == 100
    while keeping.sweep.work():
        pass
    assert list(storage.tickets.iterdir()) == []


def test_the_sweeps_own_thread_removes_files_and_ends(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    bench.web.cancel(ticket)
    keeping = manager(bench, storage)
    keeping.sweep.start()
    while not bench.read(ticket).files_removed:
        keeping.round()
        time.sleep(0.05)
    assert not folder.path.exists()
    keeping.close()
    assert not keeping.sweep.thread.is_alive()


def test_no_files_are_removed_without_a_permit_of_a_manager_that_holds_its_lease(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    bench.web.cancel(ticket)
    keeping = manager(bench, storage)
    assert not keeping.sweep.work()
    keeping.round()
    bench.lapse("manager")
    bench.sources.take("manager", "another")
    keeping.round()
    assert not keeping.sweep.work()
    assert folder.path.exists()


def test_a_permit_lapses(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    bench.web.cancel(ticket)
    keeping = manager(bench, storage)
    keeping.round()
    keeping.sweep.permit = replace(keeping.sweep.permit, until=time.monotonic() - 1.0)
    assert not keeping.sweep.work()
    assert folder.path.exists()


def test_files_that_resist_are_told_once_in_a_while_and_hold_no_others_up(bench, storage, monkeypatch):
    many(bench, "failed", finished=True, many=120)
    for row in bench.run("SELECT folder FROM tickets"):
        (storage.tickets / row.folder).mkdir()
    monkeypatch.setattr("tomaat.manager.resisting.FIRST_PAUSE_SECONDS", 3600.0)
    tried = []
    monkeypatch.setattr(
        "shutil.rmtree", lambda path, **_: tried.append(path.name) or path.name.endswith("7") or path.rmdir()
    )
    keeping = manager(bench, storage)
    keeping.round()
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            keeping.sweep.work()
    resisting = [line["ticket"] for line in logs if line["event"] == "ticket.files_not_removed"]
    assert len(resisting) == len(set(resisting)) == 12
    assert len(tried) == len(set(tried)) == 120, "none was tried in each round"
    assert len(list(storage.tickets.iterdir())) == 12


def test_a_row_that_is_refused_is_left_alone_and_the_others_are_done(bench, storage):
    many(bench, "succeeded", finished=True, many=30)
    bench.run(
        "CREATE TRIGGER refuse BEFORE UPDATE ON tickets FOR EACH ROW WHEN (NEW.folder = 'succeeded-7')"
        " EXECUTE FUNCTION refuse_move()"
    )
    bench.source()
    bad, good = bench.submit(), bench.submit()
    bench.run(
        f"CREATE TRIGGER refuse_too BEFORE UPDATE ON tickets FOR EACH ROW WHEN (NEW.id = {bad.id})"
        " EXECUTE FUNCTION refuse_move()"
    )
    with structlog.testing.capture_logs() as logs:
        manager(bench, storage).turn()
    assert bench.read(good).state == "queued"
    assert bench.run("SELECT count(*) AS n FROM tickets WHERE state = 'succeeded'")[0].n == 1
    refused = [line["ticket"] for line in logs if line["event"] == "row.refused_by_database"]
    assert len(refused) == 2, "each is tried once"


def test_an_old_row_or_line_that_is_refused_keeps_no_other_one(bench):
    many(bench, "failed", finished=True, files_removed=True, many=30)
    bench.run(
        "INSERT INTO audit (at, who, what, outcome) SELECT '2020-01-01', n, 'x', 'y' FROM generate_series(1, 30) n"
    )
    bench.run("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'damaged'; END $$")
    for table, bad in (("tickets", "OLD.folder = 'failed-7'"), ("audit", "OLD.who = '7'")):
        bench.run(f"CREATE TRIGGER refuse BEFORE DELETE ON {table} FOR EACH ROW WHEN ({bad}) EXECUTE FUNCTION refuse()")
    with structlog.testing.capture_logs() as logs:
        assert [len(bench.manager.prune(days=0.01)), bench.manager.prune_audit(days=100)] == [29, 29]
        assert [len(bench.manager.prune(days=0.01)), bench.manager.prune_audit(days=100)] == [0, 0]
    assert [row.folder for row in bench.run("SELECT folder FROM tickets")] == ["failed-7"]
    assert [row.who for row in bench.run("SELECT who FROM audit")] == ["7"]
    assert [sorted(line) for line in logs] == [
        ["event", "log_level", "reason", "ticket"],
        ["event", "line", "log_level", "reason"],
    ], "each is tried once"


def test_more_refused_rows_than_one_statement_changes_keep_no_result(bench):
    """They are the oldest: without a word in the inner selection each statement would pick them alone."""
    many(bench, "succeeded", finished=True, many=30)
    bench.run(
        "CREATE TRIGGER refuse BEFORE UPDATE ON tickets FOR EACH ROW WHEN (NEW.folder <> 'succeeded-1')"
        " EXECUTE FUNCTION refuse_move()"
    )  # the first ended last
    expired = []
    for _ in range(4):
        expired += bench.manager.expire(retention_hours=0.1, fetched_grace_seconds=None, most=10)
    assert [ended.folder for ended in expired] == ["succeeded-1"]


def test_a_refused_duty_ends_no_round(bench, storage):
    bench.source()
    keeping = manager(bench, storage)

    def refuse(**_):
        raise RowRefused("DataError 22008")

    bench.manager.fail_waited = refuse
    bench.manager.queues = refuse
    keeping.round()
    assert keeping.lease is not None
