"""Several lanes of one source, whose workers the test plays: they share its queue, its offers and its memory."""

import threading
import time

import pytest

from tests.integration.played_lane import SECONDS, SOURCE
from tomaat.messages import (
    Expected,
    Forget,
    Loading,
    MakeRoom,
    Measured,
    Outgrown,
    Perform,
    Performed,
    Performing,
    ReadAhead,
    RoomMade,
    TicketRefused,
    WorkerReady,
)
from tomaat.scheduling import running_tickets
from tomaat.scheduling.beside import Beside
from tomaat.scheduling.claims import Claims
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.reload_store import ReloadAsked, ReloadStore


@pytest.fixture
def joined(monkeypatch):
    """Let every task be brief; return the tickets that are claimed in statements that complete others."""
    monkeypatch.setattr(running_tickets, "BRIEF_SECONDS", SECONDS)
    claimed, claim = [], LaneStore.succeed_and_claim

    def note(store, *ticket, **values):
        kept, others = claim(store, *ticket, **values)
        claimed.append([other.id for other in others])
        return kept, others

    monkeypatch.setattr(LaneStore, "succeed_and_claim", note)
    return claimed


def performed_briefly(play, worker, job):
    worker.say(Performing, job)
    performed(play, worker, job)


def next_job(worker):
    """Take the word by which a worker is told to perform its next ticket; return its id and the job."""
    while not isinstance(job := worker.hear((Perform, ReadAhead, Forget)), Perform):
        pass
    return int(job.key.split("/")[0]), job


def performed(play, worker, job):
    worker.say(Performed, job)
    worker.pack(job)


def job_of(play, workers, ticket):
    """Take the word by which one of the workers was told to perform a ticket; return the worker and the job."""
    play.until_state(ticket, "running")
    (lane,) = play.bench.run("SELECT lane FROM tickets WHERE id = :id", id=ticket.id)
    worker = workers[lane.lane - 1]
    while not isinstance(job := worker.hear((Perform, ReadAhead, Forget)), Perform):
        pass
    assert job.key.startswith(f"{ticket.id}/")
    return worker, job


def queued(play, ticket, rounds=5):
    """Whether a ticket still waits after every lane has looked several times."""
    for _ in range(rounds):
        for lane in play.all_lanes:
            lane.wake()
        time.sleep(0.05)
    return play.row(ticket).state == "queued"


def requeue(play, ticket):
    """Be the manager: give a ticket that was put back to the source again."""
    play.until_state(ticket, "submitted")
    play.bench.queue(ticket, SOURCE)


def test_each_lane_runs_a_ticket_and_takes_none_of_anothers(play):
    workers = play.begin_lanes(3)
    tickets = play.queue(3)
    jobs = [job_of(play, workers, ticket) for ticket in tickets]
    assert {worker.lane for worker, _ in jobs} == {1, 2, 3}
    for worker, job in jobs:
        play.until_looked(worker, job)  # and more than one look for a claim that was made late
    for worker, job in jobs:
        performed(play, worker, job)
    for ticket in tickets:
        play.until_state(ticket, "succeeded")
        assert play.row(ticket).claim == 1
    assert len(play.started) == 3


def test_a_workers_death_harms_the_ticket_of_its_own_lane_only(play):
    workers = play.begin_lanes(2)
    tickets = play.queue(2)
    (one, _), (two, other) = (job_of(play, workers, ticket) for ticket in tickets)
    one.die()
    play.until(lambda: play.row(tickets[0]).attempts == 1)
    performed(play, two, other)
    play.until_state(tickets[1], "succeeded")
    assert (play.row(tickets[0]).state, play.row(tickets[1]).attempts) == ("submitted", 0)


def test_two_lanes_read_two_tickets_ahead_and_neither_leaves_one_waiting_for_a_lane_that_is_long_busy(play):
    workers = play.begin_lanes(2)
    first, second, third, fourth, fifth, sixth = play.queue(6)
    (one, _), (two, job) = (job_of(play, workers, ticket) for ticket in (first, second))
    play.until(lambda: {lane.ahead and lane.ahead[0] for lane in play.lanes.now} == {third.id, fourth.id})
    reserved, _ = play.lanes.now[one.lane - 1].ahead
    claimed = []
    for _ in range(4):  # the first ticket takes for ever
        performed(play, two, job)
        while not isinstance(job := two.hear((Perform, ReadAhead, Forget)), Perform):
            pass
        claimed.append(int(job.key.split("/")[0]))
    assert sorted(claimed) == [ticket.id for ticket in (third, fourth, fifth, sixth)]
    younger = [ticket for ticket in claimed[: claimed.index(reserved)] if ticket > reserved]
    assert len(younger) <= 1, "it was overtaken twice"


@pytest.mark.parametrize(("memory_bytes", "crowded", "is_joined"), [
    (None, False, True), (10, False, True), (9, False, False), (10, True, False),
])  # fmt: skip
def test_an_end_claims_the_next_ticket_in_the_same_statement_where_memory_is_ample(
    play, joined, memory_bytes, crowded, is_joined
):
    play.offering = {"needs": {"Add": (1, 5)}}
    workers = play.begin_lanes(2, memory_bytes, look_seconds=SECONDS)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    first, *others = play.queue(4)
    worker, job = job_of(play, workers, first)
    play.until(lambda: play.row(others[0]).state == "running" or not is_joined)
    if crowded:
        play.lanes.crowded[0] = (1, time.monotonic())
    performed_briefly(play, worker, job)
    play.until_state(first, "succeeded")
    assert joined == ([[next_job(worker)[0]]] if is_joined else [])


def test_an_end_that_claims_leaves_the_ticket_that_another_worker_reads_and_once_only(play, joined):
    workers = play.begin_lanes(2, look_seconds=SECONDS)
    jobs = [job_of(play, workers, ticket) for ticket in play.queue(2)]
    read, younger, last = play.queue(3)
    play.until(lambda: {lane.ahead and lane.ahead[0] for lane in play.lanes.now} == {read.id, younger.id})
    ((other, job),) = (each for each in jobs if play.lanes.now[each[0].lane - 1].ahead[0] == younger.id)
    performed_briefly(play, other, job)
    claimed, job = next_job(other)
    assert claimed == younger.id
    performed_briefly(play, other, job)
    assert next_job(other)[0] == read.id
    assert joined == [[younger.id], [read.id]]
    assert play.row(last).state == "queued"


def test_an_end_that_finds_only_what_others_read_claims_that_at_once(play, joined, monkeypatch):
    workers = play.begin_lanes(2, look_seconds=SECONDS)
    (worker, job), _ = (job_of(play, workers, ticket) for ticket in play.queue(2))
    monkeypatch.setattr(Beside, "reserved", {})  # both read it
    (read,) = play.queue(1)
    monkeypatch.setattr(Claims, "_reserved", lambda _: {read.id: 1})
    claims = play.all_lanes[worker.lane - 1].claims
    play.until(lambda: claims.may_wait and claims.store.next is not None)
    polled = threading.Event()
    monkeypatch.setattr(play.bench.sources, "with_tickets", lambda _: polled.set())
    assert polled.wait(SECONDS)
    performed_briefly(play, worker, job)
    assert next_job(worker)[0] == read.id
    assert joined == [[]]


def test_a_service_is_offered_by_one_lane_and_what_none_offers_goes_when_all_are_ready(play):
    play.bench.offer(play.store.lease, "Old")
    play.offering = {"ready": False}
    one, two = play.begin_lanes(2)
    two.offer("Blur")
    one.channel.send(WorkerReady())
    play.until(lambda: play.lanes.now[0].complete)
    offers = "SELECT service FROM offers WHERE source = :source ORDER BY service"
    play.until(lambda: [row.service for row in play.bench.run(offers, source=SOURCE)] == ["Add", "Blur", "Old"])
    play.until(lambda: play.bench.run("SELECT FROM compute_sources WHERE loading IS NULL"))
    two.channel.send(Loading(name="Cut"))
    two.channel.send(WorkerReady())
    play.until(lambda: all(lane.keeper.offering.withdrawn for lane in play.all_lanes))
    assert [row.service for row in play.bench.run(offers, source=SOURCE)] == ["Add", "Blur"]
    assert play.bench.run("SELECT FROM compute_sources WHERE loading IS NULL"), "one lane has loaded everything"


def test_a_reload_is_done_once_all_lanes_have_loaded(play, monkeypatch):
    through, done = [], ReloadStore.done

    def note(store, *outcome):
        through.append(sum(bool(told) for told in play.lanes.reloaded))
        done(store, *outcome)

    monkeypatch.setattr(ReloadStore, "done", note)
    play.begin_lanes(2)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    (asked,) = play.reloads.ask(None)
    play.all_lanes[0].reload(ReloadAsked(id=asked.id, source=SOURCE, service=None))
    play.until(lambda: asked.id in play.lanes.reloaded[0])
    play.all_lanes[1].reload(ReloadAsked(id=asked.id, source=SOURCE, service=None))
    play.until(lambda: play.reloads.outcomes([asked.id]))
    assert play.reloads.outcomes([asked.id])[asked.id].says == "nothing has changed"
    assert set(through) == {2}


# Memory


@pytest.mark.parametrize(("peak", "beside"), [(5, True), (6, False)])
def test_a_ticket_starts_where_its_peak_fits_beside_the_neighbours(play, peak, beside):
    play.offering = {"needs": {"Add": (2, peak)}}
    workers = play.begin_lanes(2, memory_bytes=10)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    first, second = play.queue(2)
    worker, job = job_of(play, workers, first)
    assert queued(play, second) is not beside
    performed(play, worker, job)
    job_of(play, workers, second)
    assert play.row(second).claim == 1


def test_what_does_not_fit_is_not_overtaken_by_what_would(play):
    play.offering = {"services": ("Add", "Large"), "needs": {"Add": (1, 2), "Large": (1, 9)}}
    workers = play.begin_lanes(2, memory_bytes=10)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    (first,) = play.queue(1)
    worker, job = job_of(play, workers, first)
    (large,), (small,) = play.queue(1, service="Large"), play.queue(1)
    assert queued(play, large)
    assert queued(play, small)
    performed(play, worker, job)
    play.until_state(large, "running")
    assert queued(play, small)


def test_what_was_never_measured_runs_alone_until_it_was(play):
    play.offering = {"needs": {"Add": (2, None)}}
    workers = play.begin_lanes(2, memory_bytes=100)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    first, second = play.queue(2)
    worker, _ = job_of(play, workers, first)
    assert queued(play, second)
    facts = {"network_bytes": 2, "peak_bytes": 5, "load_seconds": 1.0, "loading_seconds": 0.0}
    worker.channel.send(Measured(service="Add", warm=("Add",), **facts))
    job_of(play, workers, second)
    assert play.row(first).state == "running"


def test_an_idle_worker_lets_its_networks_go_for_a_ticket_that_would_fit_then(play):
    play.offering = {"services": ("Add", "Large"), "needs": {"Add": (4, 5), "Large": (1, 9)}}
    one, two = play.begin_lanes(2, memory_bytes=12)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    assert [lane.holds_bytes for lane in play.lanes.now] == [5, 5]
    (large,) = play.queue(1, service="Large")
    hearing = play.lane_that_hears(MakeRoom, (one, two))
    assert play.row(large).state == "queued"
    hearing.channel.send(RoomMade())
    worker, _ = job_of(play, (one, two), large)
    assert worker is not hearing


def test_a_ticket_for_a_lane_of_another_environment_is_not_overtaken_either(play):
    play.services_of = {1: ("Add",), 2: ("Apart",)}
    play.offering = {"needs": {"Add": (1, 6), "Apart": (1, 6)}}
    workers = play.begin_lanes(2, memory_bytes=10)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    (first,) = play.queue(1)
    worker, job = job_of(play, workers, first)
    (apart,), (later,) = play.queue(1, service="Apart"), play.queue(1)
    assert queued(play, apart)
    performed(play, worker, job)
    play.until_state(first, "succeeded")
    assert queued(play, later)
    hearing = play.lane_that_hears(MakeRoom, workers)
    hearing.channel.send(RoomMade())
    job_of(play, workers, apart)
    assert play.row(later).state == "queued"


@pytest.mark.parametrize(("foretold", "beside"), [(7, True), (8, False)])
def test_a_ticket_may_start_beside_one_that_was_never_measured_if_that_one_foretells_its_memory(play, foretold, beside):
    play.offering = {"services": ("New", "Add"), "needs": {"New": (1, None), "Add": (1, 3)}}
    workers = play.begin_lanes(2, memory_bytes=10)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    (first,) = play.queue(1, service="New")
    worker, job = job_of(play, workers, first)
    (second,) = play.queue(1)
    assert queued(play, second)
    worker.channel.send(Expected(service="New", peak_bytes=foretold - 1))  # beside the other network, of 1
    play.until(lambda: any(lane.expects_bytes == foretold for lane in play.lanes.now))
    assert queued(play, second) is not beside
    performed(play, worker, job)
    play.until(lambda: not any(lane.expects_bytes for lane in play.lanes.now))


CROWDED = {
    "it ran out": (Outgrown, {"needed_bytes": None, "total_bytes": 10}, "out-of-memory"),
    "it would": (Outgrown, {"needed_bytes": 9, "total_bytes": 3, "now": True}, "out-of-memory"),
    "the machine's": (TicketRefused, {"detail": "It needs 9 GiB.", "now": True}, "refused"),
}


@pytest.mark.parametrize("how", CROWDED)
def test_a_ticket_that_has_no_memory_beside_another_is_put_back_and_runs_alone(play, how):
    end, facts, problem = CROWDED[how]
    play.offering = {"needs": {"Add": (1, 4)}}
    workers = play.begin_lanes(2, memory_bytes=10)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    first, second = play.queue(2)
    (one, job), (two, other) = (job_of(play, workers, ticket) for ticket in (first, second))
    two.say(end, other, **facts)
    requeue(play, second)
    assert play.row(second).attempts == 0
    assert queued(play, second)
    performed(play, one, job)
    hearing = play.lane_that_hears(MakeRoom, workers)
    hearing.channel.send(RoomMade())
    worker, again = job_of(play, workers, second)
    (third,) = play.queue(1)
    assert queued(play, third), "it has a neighbour again"
    worker.say(end, again, **facts)
    play.until_state(second, "failed")
    assert play.row(second).error["type"] == f"/problems/{problem}"
    job_of(play, workers, third)


def test_a_ticket_that_runs_out_of_memory_over_and_over_is_put_back_only_so_often(play, monkeypatch):
    play.offering = {"needs": {"Add": (1, 4)}}
    workers = play.begin_lanes(2, memory_bytes=10)
    play.until(lambda: all(lane.complete for lane in play.lanes.now))
    for lane in play.all_lanes:
        monkeypatch.setattr(lane.claims.turns, "_starts_alone", lambda: True)
    first, second = play.queue(2)
    job_of(play, workers, first)  # beside which it runs each time
    for _ in range(20):
        worker, job = job_of(play, workers, second)
        worker.say(Outgrown, job, needed_bytes=None, total_bytes=10)
        play.until(lambda: play.row(second).state != "running")
        if play.row(second).state == "failed":
            break
        requeue(play, second)
    assert play.row(second).state == "failed"
    assert (play.row(second).claim, play.row(second).attempts) == (3, 0)
