"""What an operator sees and does, on a real PostgreSQL."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tests.integration.test_tickets_stores import ERROR, RESULT, sequential_scans
from tomaat.access.key_store import KeyStore
from tomaat.database import Hint
from tomaat.manager.choosing import assign
from tomaat.manager.fitting import fitting
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.operator_store import LatestReading, OperatorStore
from tomaat.tickets.queue import Placement
from tomaat.tickets.ticket_store import AgainRules

RULES = AgainRules(retention_seconds=3600.0, keep_input=False)


@pytest.fixture
def operator(database, bench):
    return OperatorStore(database, bench.hints.append)


@pytest.fixture
def again(bench):
    """Run a ticket again; the new one, or nothing."""

    def run_again(ticket, folder="again", rules=RULES):
        return bench.web.run_again(ticket, folder, operator="anna", rules=rules)

    return run_again


def test_nobody_claims_on_a_drained_source_until_it_is_resumed(bench, operator):
    lane = bench.source()
    ticket = bench.submit()
    bench.queue(ticket, lane.lease.name)
    assert operator.drain(lane.lease.name, operator="anna")
    assert lane.claim(["Add-1"]) is None
    assert lane.next_queued(["Add-1"]) is None, "nor is it read ahead"
    assert operator.resume(lane.lease.name, operator="anna")
    assert lane.claim(["Add-1"]).id == ticket.id


def test_what_runs_on_a_source_that_is_drained_is_finished_there(bench, operator):
    lane = bench.source()
    ticket = bench.claimed(lane)
    operator.drain(lane.lease.name, operator="anna")
    assert lane.report(ticket, 0.5, "half") is False
    assert bench.manager.take_back(settled=True, attempts=3) == []
    assert lane.succeed(ticket, **RESULT)


def test_a_source_that_comes_back_is_drained_still(bench, operator):
    lane = bench.source(holder="a")
    operator.drain(lane.lease.name, operator="anna")
    bench.lapse(lane.lease.name)
    fresh = bench.source(holder="b")
    bench.queue(bench.submit(), lane.lease.name)
    assert fresh.claim(["Add-1"]) is None


def test_a_source_that_nobody_knows_is_neither_drained_nor_resumed(operator):
    assert not operator.drain("here/cpu-9", operator="anna")
    assert not operator.resume("here/cpu-9", operator="anna")


def test_what_waits_for_a_drained_source_moves_where_it_can_run_and_stays_where_it_cannot(bench, operator):
    for name, services in (("here/cpu-0", ("Add", "Blur")), ("here/cpu-1", ("Blur",))):
        bench.source(name, services=services)
    alone, movable = bench.submit("Add"), bench.submit("Blur")
    for ticket in (alone, movable):
        bench.queue(ticket, "here/cpu-0")
    assert not bench.manager.unqueue_stranded(settled=False)
    operator.drain("here/cpu-0", operator="anna")
    assert len(bench.manager.unqueue_stranded(settled=False)) == 1
    fresh = bench.submit("Add")
    live = [queue for queue in fitting(bench.manager.queues()) if queue.live]
    assert [queue.source for queue in live] == ["here/cpu-1"]
    bench.manager.assign(assign(bench.manager.read().submitted, live))
    where = {ticket.id: (bench.read(ticket).state, bench.read(ticket).source) for ticket in (alone, movable, fresh)}
    assert where == {
        alone.id: ("queued", "here/cpu-0"),
        movable.id: ("queued", "here/cpu-1"),
        fresh.id: ("submitted", None),
    }


@pytest.mark.parametrize("how", ["drained", "away", "unfit", "outgrown"])
def test_what_waits_for_a_drained_source_stays_where_the_other_one_cannot_run_it_either(bench, operator, how):
    for name in ("here/GPU-a", "here/GPU-b"):
        bench.source(name, memory_bytes=100)
    ticket = bench.submit()
    bench.queue(ticket, "here/GPU-a")
    operator.drain("here/GPU-a", operator="anna")
    if how == "drained":
        operator.drain("here/GPU-b", operator="anna")
    elif how == "away":
        bench.lapse("here/GPU-b")
    elif how == "outgrown":
        bench.run("UPDATE tickets SET outgrown_bytes = 100")
    unfit = [("here/GPU-b", "Add-1")] if how == "unfit" else []
    assert not bench.manager.unqueue_stranded(settled=False, unfit=unfit)


def test_a_service_whose_only_source_is_drained_is_not_available_and_its_tickets_wait(bench, operator):
    lane = bench.source()
    operator.drain(lane.lease.name, operator="anna")
    assert [(each.name, each.available) for each in bench.web.offered_services()] == [("Add", False)]
    assert bench.web.ahead() == {}
    ticket = bench.submit()
    assert bench.manager.fail_waited(hours=1) == []
    operator.resume(lane.lease.name, operator="anna")
    assert [each.available for each in bench.web.offered_services()] == [True]
    move = Placement(ticket=ticket.id, from_source=None, to_source=lane.lease.name)
    assert bench.manager.assign([move]) == {ticket.id: lane.lease.name}


def test_an_operators_cancelling_deletes_nothing(bench):
    lane = bench.source()
    done = bench.claimed(lane)
    lane.succeed(done, **RESULT)
    assert bench.web.cancel(done, operator="anna").delete_requested is False
    waiting = bench.submit()
    assert bench.web.cancel(waiting, operator="anna").state == "cancelled"
    running = bench.claimed(lane)
    assert bench.web.cancel(running, operator="anna").cancel_requested
    assert lane.cancelled(running)
    assert bench.manager.removable(retention_hours=1, keep_input=False) == []
    bench.web.cancel(waiting)
    assert [ended.id for ended in bench.manager.removable(retention_hours=1, keep_input=False)] == [waiting.id]


def test_what_its_client_gave_up_as_well_keeps_no_input(bench):
    lane = bench.source()
    for first, second in (("anna", None), (None, "anna")):
        ticket = bench.claimed(lane)
        bench.web.cancel(ticket, operator=first)
        bench.web.cancel(ticket, operator=second)
        lane.cancelled(ticket)
        assert ticket.id in [ended.id for ended in bench.manager.removable(retention_hours=1, keep_input=False)]


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
def test_an_ended_ticket_is_run_again_as_its_clients(bench, again, end):
    lane = bench.source()
    bench.queue(
        bench.web.submit(bench.new_ticket(key_name="radiology", idempotency_key="mine", label="head 7")),
        lane.lease.name,
    )
    ticket = lane.claim(["Add-1"])
    bench.web.add_token(ticket, b"y" * 32)
    if end == "succeed":
        lane.succeed(ticket, **RESULT)
    elif end == "fail":
        lane.fail(ticket, ERROR)
    else:
        bench.web.cancel(ticket, operator="anna")
        lane.cancelled(ticket)
    assert bench.web.can_run_again(ticket, rules=RULES)
    new = again(ticket)
    assert (new.state, new.service, new.key_name, new.folder) == ("submitted", "Add", "radiology", "again")
    assert (new.token_hashes, new.label) == ((b"x" * 32, b"y" * 32), "head 7")
    assert again(ticket).id == new.id, "a folder has one ticket"
    assert bench.hints[-1] == Hint("tomaat_submitted")
    line = bench.run("SELECT who, what, ticket, outcome FROM audit ORDER BY id DESC LIMIT 1")[0]
    assert tuple(line) == ("anna", "run again", ticket.id, f"as ticket {new.id}")


def failed(bench, lane):
    ticket = bench.claimed(lane)
    lane.fail(ticket, ERROR)
    return ticket


@pytest.mark.parametrize(
    "change",
    [
        "files_removed = true",
        "delete_requested = true",
        "finished = finished - interval '61 minutes'",
        "state = 'cancelled'",
        "state = 'expired'",
        "state = 'queued', finished = NULL",
        "interface_hash = 'Add-0'",
    ],
)
def test_what_is_gone_or_going_or_taken_no_longer_is_not_run_again(bench, again, change):
    ticket = failed(bench, bench.source())
    bench.force("UPDATE tickets SET " + change)  # noqa: S608 (a constant above)
    assert not bench.web.can_run_again(ticket, rules=RULES)
    assert again(ticket) is None
    assert len(bench.run("SELECT FROM tickets")) == 1


def test_a_result_that_has_expired_is_run_again_where_the_strategy_keeps_its_input(bench, again):
    ticket = failed(bench, bench.source())
    bench.force("UPDATE tickets SET state = 'expired'")
    assert again(ticket, rules=AgainRules(retention_seconds=3600.0, keep_input=True)) is not None


def test_where_labels_are_kept_no_longer_what_runs_again_has_none(bench, again):
    ticket = failed(bench, bench.source())
    bench.force("UPDATE tickets SET label = 'head 7'")
    assert again(ticket, rules=replace(RULES, keep_labels=False)).label is None


def test_an_operator_sees_the_sources_with_their_devices_and_queues(bench, operator):
    assert operator.overview(rules=RULES).sources == ()
    lane = bench.source("here/GPU-a", services=("Blur", "Add"), memory_bytes=100)
    bench.source("here/GPU-b")
    bench.lapse("here/GPU-b")
    bench.sources.note_reading(lane.lease, used_bytes=5, total_bytes=9, use=0.5, celsius=None)
    running, unqueued = bench.claimed(lane), bench.submit()
    lane.report(running, 0.25, "<b>half</b>")
    waiting = [bench.submit() for _ in range(12)]
    for ticket in reversed(waiting):
        bench.queue(ticket, "here/GPU-a")
    seen = operator.overview(rules=RULES)
    first, second = seen.sources
    assert (first.name, first.device, first.memory_bytes) == ("here/GPU-a", "CPU", 100)
    assert (first.live, first.drained, first.problem) == (True, False, None)
    assert (first.services, first.waiting) == (("Add", "Blur"), 12)
    assert isinstance(first.reading, LatestReading)
    assert (first.reading.used_bytes, first.reading.total_bytes, first.reading.use, first.reading.celsius) == (
        *(5, 9, 0.5),
        None,
    )
    assert abs(seen.now - first.reading.read) < timedelta(minutes=1)
    assert (second.live, second.reading, second.waiting) == (False, None, 0)
    assert [ticket.id for ticket in seen.busy] == [running.id, *(each.id for each in waiting[:10]), unqueued.id]
    assert (seen.busy[0].progress, seen.busy[0].stage) == (0.25, "<b>half</b>")
    assert seen.unqueued == 1


def test_an_operator_sees_whether_a_manager_is_alive(bench, operator):
    assert operator.overview(rules=RULES).manager_live is False
    bench.sources.take("manager", "m")
    assert operator.overview(rules=RULES).manager_live is True
    bench.lapse("manager")
    assert operator.overview(rules=RULES).manager_live is False


def test_a_stale_holder_writes_no_reading(bench, operator):
    stale = bench.source(holder="a").lease
    bench.lapse(stale.name)
    bench.source(holder="b")
    bench.sources.note_reading(stale, used_bytes=5, total_bytes=9, use=0.5, celsius=70)
    assert operator.overview(rules=RULES).sources[0].reading is None


def test_the_newest_tickets_are_listed_without_what_may_name_a_patient(bench, operator):
    lane = bench.source()
    tickets = [failed(bench, lane) for _ in range(3)]
    bench.run("UPDATE tickets SET error = :e", e='{"title": "X", "detail": "Anna Schmidt"}')
    listed = operator.tickets(rules=RULES, most=2)
    assert [ticket.id for ticket in listed] == [tickets[2].id, tickets[1].id]
    assert (listed[0].error, listed[0].can_run_again) == ("X", True)
    assert "Schmidt" not in str(listed)
    assert "xxx" not in str(listed)
    assert [ticket.id for ticket in operator.tickets(rules=RULES, up_to=tickets[1].id)] == [
        tickets[1].id,
        tickets[0].id,
    ]


def test_what_ended_is_summed_up_by_hour_for_each_service_and_for_all(bench, operator):
    hour = datetime(2026, 1, 2, 10, tzinfo=timezone.utc)
    ends = [  # service, state, files removed, minutes: created, started, finished after the hour
        ("Add", "succeeded", False, 0, 2, 4),
        ("Add", "expired", True, 0, 4, 8),
        ("Blur", "failed", False, 0, 6, 7),
        ("Blur", "cancelled", True, 0, None, 9),
        ("Add", "succeeded", False, 50, 55, 61),
    ]
    for number, (service, state, removed, *minutes) in enumerate(ends):
        at = [None if minute is None else hour + timedelta(minutes=minute) for minute in minutes]
        bench.force(
            """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, files_removed, created, started,
                 finished, result_sha256, result_bytes)
               VALUES ('x', :service, 'h', :folder, :state, :removed, :created, :started, :finished, 'x', 1)""",
            service=service,
            folder=f"old{number}",
            state=state,
            removed=removed,
            **dict(zip(("created", "started", "finished"), at, strict=True)),
        )
    both = operator.ended(hour, hour + timedelta(hours=2))
    assert [(each.begins, service) for service, each in both] == [
        (hour, None),
        (hour, "Add"),
        (hour, "Blur"),
        (hour + timedelta(hours=1), None),
        (hour + timedelta(hours=1), "Add"),
    ]
    everything, add, blur = (each for _, each in both[:3])
    assert (everything.succeeded, everything.failed, everything.cancelled) == (2, 1, 1)
    assert (everything.wait_median_seconds, everything.run_median_seconds) == (240.0, 180.0)
    assert (add.wait_median_seconds, add.wait_95_seconds) == (180.0, pytest.approx(234.0))
    assert (blur.failed, blur.run_median_seconds, blur.wait_95_seconds) == (1, None, 360.0)
    assert operator.ended(hour, hour + timedelta(minutes=4)) == [], "the end is not within"


def test_no_statement_of_the_page_reads_the_whole_history(bench, operator):
    lane = bench.source()
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, finished, files_removed)
           SELECT 'x', 'Add', 'Add-1', 'old' || n, 'failed', 'here/cpu-0',
             clock_timestamp() - n * interval '1 minute', n % 2 = 0 FROM generate_series(1, 20000) n"""
    )
    bench.run("VACUUM ANALYZE tickets")
    ticket = failed(bench, lane)
    before = sequential_scans(bench)
    now = datetime.now(timezone.utc)
    for _ in range(7):
        operator.overview(rules=RULES)
        operator.tickets(rules=RULES)
        operator.tickets(rules=RULES, up_to=100)
        operator.ended(now - timedelta(hours=1), now)
        operator.drain(lane.lease.name, operator="anna")
        operator.resume(lane.lease.name, operator="anna")
        bench.web.can_run_again(ticket, rules=RULES)
        bench.web.run_again(ticket, "again", operator="anna", rules=RULES)
        lane.next_queued(["Add-1"])
        bench.manager.unqueue_stranded(settled=True)
    assert sequential_scans(bench) == before


def test_what_an_operator_did_is_in_the_trail(bench, operator):
    lane = bench.source()
    ticket = bench.submit()
    operator.drain(lane.lease.name, operator="anna")
    operator.resume(lane.lease.name, operator="anna")
    bench.web.cancel(ticket, operator="anna")
    lines = bench.run("SELECT what, ticket, outcome FROM audit WHERE who = 'anna' ORDER BY id")
    assert [tuple(line) for line in lines] == [
        ("drain", None, "here/cpu-0"),
        ("resume", None, "here/cpu-0"),
        ("cancel", ticket.id, "cancelled"),
    ]


def test_a_key_is_an_operators_only_where_it_was_made_so(database):
    keys = KeyStore(database)
    assert keys.find(keys.make("anna", None, operator=True)).operator
    assert not keys.find(keys.make("radiology", None)).operator
    assert [(key.name, key.operator) for key in keys.all()] == [("anna", True), ("radiology", False)]


def test_a_beat_and_a_drain_change_no_index(bench, operator):
    """Readings come every few seconds: they are HOT updates, and leave the table small."""
    lane: LaneStore = bench.source()
    for _ in range(20):
        bench.sources.note_reading(lane.lease, used_bytes=1, total_bytes=2, use=0.1, celsius=40)
    bench.database.dispose()
    bench.run("SELECT pg_sleep(0.5)")
    told = bench.run("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'compute_sources'")[0]
    assert told.n_tup_upd == told.n_tup_hot_upd >= 20
