"""The manager's rounds and the sweep, on a real PostgreSQL and real folders."""

import sys
from dataclasses import replace

import pytest
import structlog

from tests.integration.watched_statements import watched_statements
from tomaat.database import IDLE, SUBMITTED, Hint, connect
from tomaat.manager.manager import Manager, Rules
from tomaat.manager.sweep import Sweep
from tomaat.manager.withdrawals import Withdrawals
from tomaat.storage import Storage
from tomaat.storage.storage import RESULT
from tomaat.tickets.manager_store import QueuesNow
from tomaat.tickets.priorities import NIGHT, NORMAL, RANKS, rank_of
from tomaat.tickets.question_store import QuestionStore
from tomaat.tickets.source_store import SourceStore
from tomaat.tickets.withdrawal_store import WithdrawalStore
from TOMAATSettings import HUNDRED_YEARS_DAYS, HUNDRED_YEARS_HOURS

RESULT_ROW = {"sha256": "0" * 64, "size_bytes": 1, "seconds": 1.0}


@pytest.fixture
def storage(tmp_path):
    made = Storage(tmp_path / "storage")
    made.prepare()
    return made


RULES = Rules(
    attempts=3,
    wait_limit_hours=1.0,
    retention_hours=1.0,
    fetched_grace_seconds=0.0,
    ticket_days=365.0,
    audit_days=30.0,
    poll_seconds=0.0,
    lease_seconds=3600.0,
    clock_steady_seconds=3600.0,
)


def manager(bench, storage, strategy="KEEP_ALL", **rules):
    questions = QuestionStore(bench.database, bench.hints.append)
    sweep = Sweep(
        bench.manager, storage, questions, pair=lambda: None, strategy=strategy, retention_hours=RULES.retention_hours
    )
    own = replace(RULES, fetched_grace_seconds=None if strategy == "KEEP_ALL" else 0.0, **rules)
    withdrawals = Withdrawals(WithdrawalStore(bench.database, bench.hints.append), after_hours=72.0)
    return Turning(bench.manager, bench.sources, questions, sweep, withdrawals, rules=own)


def test_a_manager_that_is_stopped_while_the_database_is_away_ends_in_peace(bench, storage):
    keeping = manager(bench, storage)
    keeping.round()
    keeping.sources = SourceStore(connect("postgresql://localhost:1/none", deadline_seconds=1), lease_seconds=1)
    keeping.close()
    assert keeping.sweep.stopped


class Turning(Manager):
    """A manager whose sweep works when a test wants it."""

    def turn(self):
        """Do what is due, a little at a time, until nothing more is."""
        for _ in range(1000):
            self.round()
            while self.sweep.work():
                pass
            if not self.duties.do(1e9):
                break
        for _ in range(2):  # a slow machine may do less of it at once, and what was removed is pruned
            self.round()
            while self.duties.do(1e9):
                pass
            self.sweep.work()


def finished(bench, storage, lane):
    """A succeeded ticket with its files on disk."""
    folder = storage.new_incoming()
    (folder.inputs / "main.json").write_text("{}")
    storage.keep(folder)
    ticket = bench.web.submit(bench.new_ticket(folder=folder.name))
    bench.queue(ticket, lane.lease.name)
    claimed = lane.claim(["Add-1"])
    out = storage.folder_of(folder.name).claim(claimed.out)
    out.mkdir(parents=True)
    (out / RESULT).write_text("x")
    assert lane.succeed(claimed, **RESULT_ROW)
    return claimed, storage.folder_of(folder.name)


def test_a_round_queues_what_was_submitted_on_the_shortest_queue(bench, storage):
    for name in ("here/cpu-0", "here/cpu-1"):
        bench.source(name)
    tickets = [bench.submit() for _ in range(4)]
    manager(bench, storage).turn()
    assert [bench.read(ticket).source for ticket in tickets] == ["here/cpu-0", "here/cpu-1"] * 2
    assert {bench.read(ticket).state for ticket in tickets} == {"queued"}


def test_a_ticket_of_an_interface_that_nobody_offers_waits_and_holds_nobody_up(bench, storage):
    bench.source()
    orphan, ticket = bench.submit("Gone"), bench.submit()
    manager(bench, storage).turn()
    assert bench.read(orphan).state == "submitted"
    assert bench.read(ticket).state == "queued"


def test_an_idle_source_gets_what_waits_behind_another(bench, storage):
    busy = bench.source("here/cpu-0")
    bench.claimed(busy)
    waiting = bench.submit()
    bench.queue(waiting, "here/cpu-0")
    bench.source("here/cpu-1")
    manager(bench, storage).turn()
    assert bench.read(waiting).source == "here/cpu-1"


def test_a_source_with_a_problem_gets_nothing(bench, storage):
    lane = bench.source()
    bench.sources.describe(lane.lease, device_name="GPU", memory_bytes=1, problem="torch cannot use it")
    ticket = bench.submit()
    manager(bench, storage).turn()
    assert bench.read(ticket).state == "submitted"
    assert [service.available for service in bench.web.offered_services()] == [False]


def test_a_ticket_goes_where_its_network_is_warm_unless_that_queue_is_longer_than_the_loading(bench, storage):
    lanes = [bench.source(name, services=("Add", "Blur"), memory_bytes=10) for name in ("here/cpu-0", "here/cpu-1")]
    for lane, warm in zip(lanes, ("Blur", "Add"), strict=True):
        for service in ("Add", "Blur"):
            bench.needs(lane, service, 8, 8, 20.0, warm)
    bench.run("INSERT INTO durations SELECT source, service, 15 FROM offers")
    tickets = [bench.submit() for _ in range(3)]
    manager(bench, storage).turn()
    assert [bench.read(ticket).source for ticket in tickets] == ["here/cpu-1", "here/cpu-1", "here/cpu-0"]
    loading = [row.loading_seconds for row in bench.run("SELECT loading_seconds FROM tickets ORDER BY id")]
    assert loading == [0.0, 0.0, 20.0]


def test_a_source_that_is_too_small_for_a_service_is_left_out(bench, storage):
    small = bench.source("here/GPU-a", services=("Add", "Blur"), memory_bytes=10)
    large = bench.source("here/GPU-b", memory_bytes=30)
    waiting = bench.submit()
    bench.queue(waiting, small.lease.name)
    bench.needs(large, "Add", 15, 20, 1.0, "Add")
    tickets = [bench.submit() for _ in range(3)]
    manager(bench, storage).turn()
    assert {bench.read(ticket).source for ticket in (*tickets, waiting)} == {"here/GPU-b"}
    bench.needs(small, "Add", 5, 10, 1.0, "Add")
    after = bench.submit()
    manager(bench, storage).turn()
    assert bench.read(after).source == "here/GPU-a", "what was measured there counts more than elsewhere"


def test_a_service_that_fits_nowhere_fails_at_once_with_both_figures(bench, storage):
    lanes = [bench.source(name, memory_bytes=30 * 10**9) for name in ("here/GPU-a", "here/GPU-b")]
    for lane in lanes:
        bench.needs(lane, "Add", 15 * 10**9, 20 * 10**9, 1.0, "Add")
        bench.sources.describe(lane.lease, device_name="CPU", memory_bytes=16 * 10**9, problem=None)
    bench.lapse("here/GPU-b")
    ticket, orphan = bench.submit(), bench.submit("Gone")
    manager(bench, storage).turn()
    failed = bench.read(ticket)
    assert (failed.state, failed.error["type"]) == ("failed", "/problems/out-of-memory")
    assert "needs 20.0 GB" in failed.error["detail"].replace("was measured to need", "needs")
    assert "has 16.0 GB" in failed.error["detail"]
    assert bench.read(orphan).state == "submitted"


def test_a_service_that_fits_only_on_a_source_that_is_away_waits_for_it(bench, storage):
    small = bench.source("here/GPU-a", services=("Add", "Blur"), memory_bytes=10)
    large = bench.source("here/GPU-b", memory_bytes=30)
    for lane in (small, large):
        bench.needs(lane, "Add", 15, 20, 1.0, "Add")
    bench.lapse(large.lease.name)
    tickets = [bench.submit() for _ in range(2)]
    other = bench.submit("Blur")
    manager(bench, storage).turn()
    assert {bench.read(ticket).state for ticket in tickets} == {"submitted"}
    assert bench.read(other).source == small.lease.name, "and holds nobody up"


def test_a_ticket_that_outgrew_a_source_goes_to_a_larger_one_only(bench, storage):
    small = bench.source("here/GPU-a", memory_bytes=100)
    bench.source("here/GPU-b", memory_bytes=100)
    bench.source("here/GPU-c", memory_bytes=200)
    bench.source("here/cpu-0")
    ticket = bench.claimed(small)
    assert small.outgrow(ticket, 100, {}) == "submitted"
    manager(bench, storage).turn()
    assert bench.read(ticket).source == "here/GPU-c"


def test_a_second_manager_waits_for_the_first(bench, storage):
    bench.sources.take("manager", "somebody/else/1/2")
    bench.source()
    ticket = bench.submit()
    waiting = manager(bench, storage)
    waiting.round()
    assert bench.read(ticket).state == "submitted"
    bench.lapse("manager")
    waiting.round()
    assert bench.read(ticket).state == "submitted", "its clock may be wrong"
    bench.sources.lease_seconds = 0.0
    waiting.round()
    assert bench.read(ticket).state == "queued", "by the own clock the other was silent for a lease"


def test_deleting_removes_row_first_and_files_second(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    keeping = manager(bench, storage)
    keeping.turn()
    assert folder.path.exists()
    bench.web.cancel(ticket)
    keeping.turn()
    assert bench.read(ticket).state == "expired"
    assert bench.read(ticket).files_removed
    assert not folder.path.exists()


@pytest.mark.parametrize(("strategy", "left"), [("KEEP_ALL", 2), ("KEEP_ONLY_INPUT", 1), ("KEEP_NOTHING", 0)])
def test_a_strategy_says_what_is_kept_after_the_result_was_fetched(bench, storage, strategy, left):
    ticket, folder = finished(bench, storage, bench.source())
    keeping = manager(bench, storage, strategy)
    keeping.turn()
    assert storage.result_of(folder.name, ticket.out).exists()
    bench.web.mark_fetched([ticket.id])
    keeping.turn()
    assert [folder.claim(ticket.out).exists(), folder.inputs.exists()].count(True) == left
    assert bench.read(ticket).state == ("succeeded" if strategy == "KEEP_ALL" else "expired")


def test_files_are_gone_after_the_retention_time_whatever_the_strategy(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    bench.run("UPDATE tickets SET finished = clock_timestamp() - interval '2 hours'")
    manager(bench, storage).turn()
    assert not folder.path.exists()
    assert bench.read(ticket).state == "expired"


def test_a_ticket_is_forgotten_a_year_after_its_end_and_not_while_it_has_files(bench, storage):
    old, _ = finished(bench, storage, bench.source())
    young, _ = finished(bench, storage, bench.source("here/cpu-1"))
    bench.run("UPDATE tickets SET finished = finished - interval '400 days' WHERE id = :id", id=old.id)
    bench.run("UPDATE tickets SET delete_requested = true WHERE id = :id", id=young.id)
    waiting = bench.submit()
    assert not bench.manager.prune(days=365.0)
    manager(bench, storage).turn()  # its retention time is long over
    assert bench.web.find(old.id) is None
    assert bench.read(young).files_removed
    assert bench.read(waiting).state == "queued"


def test_what_an_error_said_is_forgotten_with_the_files(bench, storage):
    lane = bench.source()
    ticket = bench.claimed(lane)
    error = {"type": "/problems/refused", "title": "Refused", "status": 409, "detail": "Doe^Jane was refused."}
    lane.fail(ticket, error)
    bench.run("UPDATE tickets SET delete_requested = true")
    manager(bench, storage).turn()
    assert bench.read(ticket).error == error | {"detail": "The details are no longer kept."}


TEXTS = """SELECT stage, idempotency_key, payload_sha256, label, error->>'detail' AS detail, error->'errors' AS errors
    FROM tickets"""


@pytest.mark.parametrize("resist", [False, True])
def test_all_texts_go_with_the_files_and_also_without_them(bench, storage, monkeypatch, resist):
    lane = bench.source()
    bench.web.submit(bench.new_ticket(idempotency_key="Jane Doe 1", payload_sha256=b"x" * 32, label="Jane Doe"))
    bench.run("UPDATE tickets SET state = 'queued', source = 'here/cpu-0'")
    ticket = lane.claim(["Add-1"])
    lane.report(ticket, 0.5, "Jane Doe's liver")
    said = [{"input": "scan", "code": "series", "detail": "two series: Jane Doe's head, Jane Doe's neck"}]
    lane.fail(ticket, {"type": "/problems/refused", "title": "X", "status": 409, "detail": "Jane Doe", "errors": said})
    bench.run("UPDATE tickets SET stage = 'Jane Doe again'")  # as an older version may have left it
    (storage.tickets / ticket.folder).mkdir()
    assert "Jane Doe" in str(bench.run(TEXTS))
    bench.web.cancel(ticket)
    if resist:
        monkeypatch.setattr(sys.modules["tomaat.manager.sweep"].shutil, "rmtree", lambda *_, **__: None)
    made = manager(bench, storage)
    made.round()
    made.sweep.work()
    assert bench.read(ticket).files_removed != resist
    forgotten = [None, None, None, None, "The details are no longer kept.", None]
    assert [list(row) for row in bench.run(TEXTS)] == [forgotten]
    columns = bench.run("SELECT to_json(t) AS row FROM tickets t")
    assert "Jane" not in str(columns)
    assert "Jane" not in str(bench.run("SELECT to_json(a) FROM audit a"))


def test_files_that_resist_are_told_once_and_go_as_soon_as_they_can(bench, storage, monkeypatch):
    ticket, folder = finished(bench, storage, bench.source())
    bench.run("UPDATE tickets SET delete_requested = true")
    of_sweep = sys.modules["tomaat.manager.sweep"]
    tried = []
    monkeypatch.setattr(of_sweep.shutil, "rmtree", lambda path, **_: tried.append(path))
    made = manager(bench, storage)
    with structlog.testing.capture_logs() as lines:
        made.round()
        for _ in range(20):
            made.round()
            made.sweep.work()
    assert [line["ticket"] for line in lines if line["event"] == "ticket.files_not_removed"] == [ticket.id]
    assert tried.count(folder.path) < 20, "it was not tried each time"
    assert not bench.read(ticket).files_removed
    monkeypatch.undo()
    made.sweep.resisting.troubles.clear()  # its pause is over
    made.sweep.work()
    assert bench.read(ticket).files_removed
    assert not folder.path.exists()


def test_the_files_of_a_manager_that_died_between_row_and_files_go_too(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    bench.run("UPDATE tickets SET state = 'expired'")
    manager(bench, storage, "KEEP_ONLY_INPUT").turn()
    assert not folder.claim(ticket.out).exists()
    assert folder.inputs.exists()
    assert not bench.read(ticket).files_removed


def test_what_has_no_row_goes_into_quarantine_and_what_has_one_stays(bench, storage, monkeypatch):
    _, known = finished(bench, storage, bench.source())
    stray, whole = storage.new_incoming(), storage.keep(storage.new_incoming())
    manager(bench, storage).turn()
    assert stray.path.exists(), "an upload has an hour to get its row"
    assert whole.path.exists()
    monkeypatch.setattr(sys.modules["tomaat.manager.sweep"], "STRAY_SECONDS", -1.0)
    manager(bench, storage).turn()
    assert (storage.quarantine / stray.name).exists()
    assert (storage.quarantine / whole.name).exists()
    assert known.path.exists()


def test_what_is_kept_for_as_long_as_a_setting_allows_is_removed_where_its_client_asks(bench, storage):
    ticket, folder = finished(bench, storage, bench.source())
    longest = {"retention_hours": HUNDRED_YEARS_HOURS, "wait_limit_hours": HUNDRED_YEARS_HOURS}
    keeping = manager(bench, storage, **longest, ticket_days=HUNDRED_YEARS_DAYS, audit_days=HUNDRED_YEARS_DAYS)
    keeping.sweep.retention_hours = HUNDRED_YEARS_HOURS
    keeping.turn()
    assert folder.path.exists()
    bench.web.cancel(ticket)
    keeping.turn()
    assert bench.read(ticket).files_removed
    assert not folder.path.exists()


TIDYING = {"_put_uploads_away", "_put_strays_away", "_empty_quarantine"}


@pytest.mark.parametrize("part", ["_remove_ended", "_remove_results", "_tidy", *sorted(TIDYING)])
def test_a_part_of_the_sweep_that_fails_holds_no_other_up(bench, storage, monkeypatch, part):
    def fail(_sweep, *_how):
        raise PermissionError

    fail.__name__ = part
    monkeypatch.setattr(Sweep, part, fail)
    monkeypatch.setattr(sys.modules["tomaat.manager.sweep"], "_older", lambda folder, _seconds: list(folder.iterdir()))
    lane = bench.source()
    deleted, fetched = finished(bench, storage, lane), finished(bench, storage, lane)
    bench.web.cancel(deleted[0])
    bench.web.mark_fetched([fetched[0].id])
    upload, stray = storage.new_incoming(), storage.keep(storage.new_incoming())
    quarantined = storage.quarantine / "old"
    quarantined.mkdir()
    with structlog.testing.capture_logs() as logs:
        manager(bench, storage, "KEEP_ONLY_INPUT").turn()
    assert {line["part"] for line in logs if line["event"] == "sweep.crashed"} == {part}
    paths = {
        "_remove_ended": deleted[1].path,
        "_remove_results": fetched[1].claim(fetched[0].out),
        "_put_uploads_away": upload.path,
        "_put_strays_away": stray.path,
        "_empty_quarantine": quarantined,
    }
    left = {name for name, path in paths.items() if path.exists()}
    assert left == (TIDYING if part == "_tidy" else {part})


def test_an_upload_is_kept_whole_or_dropped(storage):
    folder = storage.new_incoming()
    (folder.inputs / "main.json").write_text("{}")
    assert (folder.path.stat().st_mode & 0o777) == 0o700
    kept = storage.keep(folder)
    assert (kept.inputs / "main.json").exists()
    assert not folder.path.exists()
    dropped = storage.new_incoming()
    storage.drop(dropped)
    assert not dropped.path.exists()


def test_a_result_is_sealed_with_its_hash_and_size(storage, tmp_path):
    draft = tmp_path / "a/b/c/result.tar.gz.part"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b"abc")
    digest, size = storage.seal_result(draft)
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert size == 3
    assert draft.with_name(RESULT).exists()


@pytest.mark.parametrize("seconds", [3600.0, 0.0])
def test_a_ticket_that_an_idle_source_is_about_to_claim_is_left_to_it_for_a_moment(
    bench, storage, monkeypatch, seconds
):
    monkeypatch.setattr("tomaat.manager.manager.CLAIM_SECONDS", seconds)
    for name in ("here/cpu-0", "here/cpu-1"):
        bench.source(name)
    ticket = bench.submit()
    keeping = manager(bench, storage)
    keeping.round()
    assert bench.read(ticket).source == "here/cpu-0"
    keeping.round()
    assert bench.read(ticket).source == ("here/cpu-0" if seconds else "here/cpu-1")


def test_who_sends_a_ticket_whenever_the_last_one_was_claimed_takes_turns_with_a_cohort(bench, storage):
    lane = bench.source()
    bench.claimed(lane)
    keeping = manager(bench, storage)

    def send(key):
        ticket = bench.web.submit(bench.new_ticket(key_name=key))
        keeping.round()
        return ticket.id

    cohort = [send("anna") for _ in range(4)]
    claimed = []
    for _ in range(5):
        sent = send("ben")
        while sent not in claimed:
            claimed.append(lane.claim(["Add-1"]).id)
    assert claimed.index(cohort[-1]) < len(claimed) - 1, claimed


def test_a_ticket_of_the_night_that_was_raised_has_its_turn_at_once(bench, storage):
    bench.claimed(bench.source())
    keeping = manager(bench, storage, poll_seconds=3600.0)
    night = bench.web.submit(bench.new_ticket(priority=NIGHT))
    assert any(keeping.round() for _ in range(50)), "all duties are done"
    bench.run("UPDATE tickets SET created = created - interval '13 hours' WHERE id = :id", id=night.id)
    keeping.rules = replace(keeping.rules, wait_limit_hours=24.0)
    keeping.duties_at = 0.0
    assert any(keeping.round() for _ in range(50)), "then nothing is left to do until the next poll"
    raised = bench.read(night)
    assert (raised.state, rank_of(raised.queue_order)) == ("queued", RANKS[NORMAL])


def test_a_source_that_became_idle_costs_no_look_where_nothing_waits_elsewhere(bench, storage):
    looks = []
    for name in ("here/cpu-0", "here/cpu-1"):
        bench.source(name)
    keeping = manager(bench, storage, poll_seconds=3600.0)
    keeping.round()
    keeping.store.read = lambda **_: looks.append(1) or QueuesNow(queues=[], submitted=[])
    idle = Hint(IDLE, "here/cpu-0")
    keeping.round({idle})
    assert looks == []
    keeping.crowded = {"here/cpu-1"}
    keeping.round({idle})
    assert len(looks) == 1, "what waits there may be taken over"
    keeping.crowded = {"here/cpu-0"}
    keeping.round({idle})
    assert len(looks) == 1, "its own queue is empty, since it is idle"
    keeping.round({idle, Hint(SUBMITTED)})
    keeping.round({Hint(IDLE)})
    assert len(looks) == 3, "a new ticket, and a connection that was lost, are reasons"


def test_hints_are_collected_for_a_moment_only_while_no_source_is_idle(bench, storage):
    bench.source("here/cpu-0")
    keeping = manager(bench, storage, poll_seconds=3600.0)
    keeping.round()
    assert not keeping._can_wait(set())
    bench.submit()
    keeping.round({Hint(SUBMITTED)})
    assert keeping._can_wait({Hint(SUBMITTED)}), "the only source has got a ticket"
    keeping.round({Hint(IDLE, "here/cpu-0")})
    assert not keeping._can_wait({Hint(IDLE, "here/cpu-0")})
    assert not keeping._can_wait({Hint(SUBMITTED)}), "it is idle still"


def test_a_round_reads_no_queue_while_nothing_waits(bench, storage):
    bench.source("here/cpu-0")
    keeping = manager(bench, storage)
    keeping.round()
    with watched_statements(after=lambda _cursor, statement, _values: told.append(statement)):
        told: list[str] = []
        keeping.round()
        assert told
        assert not any("offers" in statement and "leases" in statement for statement in told)
        bench.submit()
        keeping.round()
        assert any("offers" in statement and "leases" in statement for statement in told)
