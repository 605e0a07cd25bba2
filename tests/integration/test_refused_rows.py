"""A row or a value that PostgreSQL refuses costs its own ticket, and no other; no door ends, or tries it for ever."""

from unittest.mock import Mock

import structlog

from tomaat.database import RowRefused
from tomaat.scheduling.scheduler import Scheduler
from tomaat.tickets.source_store import SourceStore
from tomaat.web.watch.ended_tickets import EndedTickets

POISONED = {"type": "/problems/refused", "title": "Refused", "status": 409, "detail": "series 1.2.3\0 is too short."}


def refuse(bench, ticket):
    """Let PostgreSQL refuse every change of one ticket's row."""
    bench.run(
        f"CREATE TRIGGER refuse_{ticket.id} BEFORE UPDATE ON tickets FOR EACH ROW"
        f" WHEN (NEW.id = {ticket.id}) EXECUTE FUNCTION refuse_move()"
    )


def allow(bench, ticket):
    bench.run(f"DROP TRIGGER refuse_{ticket.id} ON tickets")


def test_a_ticket_whose_row_is_refused_is_left_alone_and_the_next_is_claimed(bench):
    lane = bench.source()
    bad, good = bench.submit(), bench.submit()
    for ticket in (bad, good):
        bench.queue(ticket, lane.lease.name)
    refuse(bench, bad)
    with structlog.testing.capture_logs() as logs:
        assert lane.claim(["Add-1"]) is None
        assert lane.next_queued(["Add-1"]).id == good.id
        assert lane.claim(["Add-1"]).id == good.id
        assert lane.claim(["Add-1"]) is None
    assert [(line["event"], line["ticket"]) for line in logs] == [("ticket.not_claimed", bad.id)]


def test_a_ticket_that_comes_to_the_front_when_another_ones_row_is_refused_is_not_blamed(bench):
    """The refused one has left the queue before the lane looks which one it was."""
    lane = bench.source()
    bad, good, last = (bench.submit() for _ in range(3))
    for ticket in (bad, good, last):
        bench.queue(ticket, lane.lease.name)
    refuse(bench, bad)
    look = lane.next_queued

    def look_late(*how, **values):
        allow(bench, bad)
        bench.web.cancel(bad)
        refuse(bench, last)
        return look(*how, **values)

    lane.next_queued = look_late
    assert lane.claim(["Add-1"]).id == good.id
    assert lane.refused == []


def test_the_front_may_change_once_more_and_nobody_is_blamed(bench):
    """Whoever is in front when the claim comes again was not looked at: it is left to the next claim."""
    lane = bench.source()
    bad, good, worse = (bench.submit() for _ in range(3))
    for ticket in (bad, good, worse):
        bench.queue(ticket, lane.lease.name)
    for ticket in (bad, worse):
        refuse(bench, ticket)
    look = lane.next_queued

    def look_early(*how, **values):
        allow(bench, bad)
        bench.web.cancel(bad)
        found = look(*how, **values)
        bench.web.cancel(good)
        return found

    lane.next_queued = look_early
    with structlog.testing.capture_logs() as logs:
        assert lane.claim(["Add-1"]) is None
    assert (lane.refused, logs) == ([], [])


def test_a_ticket_that_runs_here_still_is_not_blamed_for_the_next_ones_row(bench):
    lane = bench.source()
    running = bench.claimed(lane)
    bench.force("UPDATE tickets SET state = 'queued'")
    bad = bench.submit()
    bench.queue(bad, lane.lease.name)
    refuse(bench, bad)
    assert lane.claim(["Add-1"], running=[running.id]) is None
    assert lane.refused == [bad.id]


def test_an_error_that_cannot_be_stored_fails_its_ticket_without_details(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.fail(ticket, POISONED)
    assert bench.read(ticket).state == "failed"
    assert bench.read(ticket).error["type"] == "/problems/task-crashed"


def test_a_progress_that_cannot_be_stored_is_dropped_and_the_ticket_runs_on(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.report(ticket, 0.5, "slice\0 of") is False
    assert lane.report(ticket, float("nan"), "slice") is False
    assert bench.read(ticket).progress == 0
    bench.web.cancel(ticket)
    assert lane.report(ticket, 0.5, "caf\udce9") is True


def test_a_duration_that_no_row_takes_does_not_cost_the_result(bench):
    lane = bench.source()
    for seconds in (-0.5, 1.7e308):
        ticket = bench.claimed(lane)
        assert lane.succeed(ticket, sha256="0" * 64, size_bytes=1, seconds=seconds)
        assert bench.read(ticket).state == "succeeded"


def test_an_offer_that_cannot_be_stored_is_left_out_and_the_others_are_made(bench):
    lease = bench.source(services=()).lease
    offers = [
        {"service": service, "interface_hash": service, "offer": {"description": text, "version": "1", "interface": {}}}
        for service, text in (("Good", "adds"), ("Nul", "a\0b"), ("Half", "caf\udce9"))
    ]
    with structlog.testing.capture_logs() as logs:
        bench.sources.offer(lease, offers)
    assert [service.name for service in bench.web.offered_services()] == ["Good"]
    assert [line["event"] for line in logs] == ["task.refused", "task.refused"]


def test_measurements_that_cannot_be_stored_are_dropped(bench):
    lane = bench.source()
    bench.needs(lane, "Add", 5, 7, float("inf"), "Add")
    assert [offer["network_bytes"] for offer in bench.sources.offers_of(lane.lease.name)] == [None]


def test_readings_that_cannot_be_stored_are_dropped(bench):
    lane = bench.source()
    bench.sources.note_reading(lane.lease, used_bytes=2**70, total_bytes=1, use=0.5, celsius=None)
    assert bench.watch.world().sources[0].used_bytes is None


def test_a_row_that_cannot_be_read_stops_the_counting_only_as_long_as_it_is_listed(bench):
    told = []
    ended = EndedTickets(bench.watch, told.append)
    ended.look()
    first = bench.submit()
    bench.web.cancel(first)
    bench.run("UPDATE tickets SET started = '-infinity', finished = 'infinity'")
    ended.look()
    bench.run("UPDATE tickets SET started = NULL, finished = clock_timestamp()")
    ended.look()
    second = bench.submit()
    bench.web.cancel(second)
    ended.look()
    assert second.id in {each.id for each in told}


def beating(sources, lanes, **parts):
    """A scheduler with these lanes, in the midst of its life."""
    kept = parts.pop("kept", Mock())
    reloads = Mock(asked=Mock(return_value=[]))
    kept = dict.fromkeys([lane.lease.name for lane in lanes], kept)
    engine = Mock(duties=(), sources=lambda: [Named(lane.lease) for lane in lanes])
    scheduler = Scheduler(sources, None, engine, None, reloads=reloads, kept=kept, poll_seconds=1, lanes=1)
    scheduler.running = {lane.lease.name: Running(lane.lease) for lane in lanes}
    scheduler._note_readings = lambda: None
    return scheduler


def test_a_source_whose_row_is_refused_does_not_cost_the_others_their_lease(bench):
    refused = RowRefused("DataError 22P05")

    class Refusing(SourceStore):
        def _renew_together(self, _leases):
            raise refused

        def renew(self, lease):
            renewed.append(lease.name)
            if lease.name == "here/cpu-0":
                raise refused
            return super().renew(lease)

    renewed: list[str] = []
    lanes = [bench.source(name) for name in ("here/cpu-0", "here/cpu-1")]
    scheduler = beating(Refusing(bench.database, lease_seconds=3600), lanes)
    with structlog.testing.capture_logs() as lines:
        scheduler._beat()
    assert renewed == ["here/cpu-0", "here/cpu-1"]
    assert [line["event"] for line in lines] == ["source.refused"]
    assert abandoned(scheduler) == []


def test_an_error_of_the_machine_costs_no_source_its_lease(bench):
    lanes = [bench.source(name) for name in ("here/cpu-0", "here/cpu-1")]
    kept = Mock(hold=Mock(side_effect=FileNotFoundError("/proc/self/task/7/children")))
    scheduler = beating(bench.sources, lanes, kept=kept)
    for lane in lanes:
        bench.lapse(lane.lease.name)
    with structlog.testing.capture_logs() as lines:
        scheduler._beat()
    kept.hold.assert_called_once()
    assert [line["event"] for line in lines] == ["beat.fault"]
    assert all(source.held for source in bench.watch.world().sources)


def test_a_lane_whose_lease_somebody_else_has_is_abandoned_and_no_other(bench):
    lanes = [bench.source(name) for name in ("here/cpu-0", "here/cpu-1")]
    scheduler = beating(bench.sources, lanes)
    bench.lapse("here/cpu-1")
    bench.sources.take("here/cpu-1", "another")
    scheduler._beat()
    assert abandoned(scheduler) == ["here/cpu-1"]


def abandoned(scheduler):
    return [name for name, running in scheduler.running.items() if running.lanes[0].lane.abandon.called]


class Named:
    """A compute source, by its name."""

    problem = None

    def __init__(self, lease):
        self.name = lease.name


class Running:
    """A source under its lease, of one lane."""

    is_ended = is_ending = False

    def __init__(self, lease):
        self.lease = lease
        self.source = Named(lease)
        lane = Mock()
        lane.lane.kept.environment.python = None
        self.lanes = [lane]
