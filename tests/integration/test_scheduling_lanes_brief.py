"""Brief tickets that read no file are claimed several at a time, and completed together; each is ended by itself."""

import pytest

from tests.integration.played_lane import SECONDS
from tests.integration.test_refused_rows import refuse
from tomaat.database import SUBMITTED, DatabaseUnavailable, Hint
from tomaat.messages import (
    MOST_BRIEF,
    DeviceBroken,
    GiveUp,
    Perform,
    Performed,
    Performing,
    ReadAhead,
    TaskCrashed,
)
from tomaat.scheduling import running_tickets
from tomaat.scheduling.ends import Cancel, Fail
from tomaat.tickets.lane_store import LaneStore, Success

RESULT = {"sha256": "0" * 64, "size_bytes": 8}


@pytest.fixture
def statements(monkeypatch):
    """Let every task count as brief; return what each statement that could claim completed and claimed."""
    monkeypatch.setattr(running_tickets, "BRIEF_SECONDS", SECONDS)
    seen, join = [], LaneStore.succeed_and_claim

    def note(store, ends, **values):
        kept, claimed = join(store, ends, **values)
        seen.append((sorted(kept), [ticket.id for ticket in claimed]))
        return kept, claimed

    monkeypatch.setattr(LaneStore, "succeed_and_claim", note)
    return seen


def jobs(worker, count):
    """Hear what the worker is told to perform."""
    told = []
    while len(told) < count:
        job = worker.hear((Perform, ReadAhead))
        if isinstance(job, Perform):
            told.append(job)
    return told


def perform(worker, job):
    worker.say(Performing, job)
    worker.say(Performed, job)
    worker.pack(job)


def several(play, count, **offering):
    """Let one ticket end, so that those behind it are claimed together; return the worker, all tickets and the jobs."""
    play.offering = {"file": False, **offering}
    worker = play.begin(look_seconds=SECONDS)
    tickets = play.queue(1)
    (first,) = jobs(worker, 1)
    tickets += play.queue(count)
    play.until(lambda: play.lane.claims.may_wait)
    perform(worker, first)
    return worker, tickets, jobs(worker, 1 if offering.get("file") else min(count, MOST_BRIEF))


def run_of(play, ticket):
    (run,) = (run for run in play.lane.running if run.ticket.id == ticket.id)
    return run


def test_they_are_claimed_in_their_order_and_completed_together(play, statements):
    worker, tickets, told = several(play, MOST_BRIEF + 3)
    ids = [ticket.id for ticket in tickets]
    assert [job.key for job in told] == [f"{id}/1" for id in ids[1 : MOST_BRIEF + 1]]
    assert statements == [(ids[:1], ids[1 : MOST_BRIEF + 1])]
    assert [play.row(ticket).state for ticket in tickets[-3:]] == ["queued"] * 3, "no more are under way"
    for job in told[:4]:
        perform(worker, job)
    for job in [*told[4:], *jobs(worker, 3)]:
        perform(worker, job)
    for ticket in tickets:
        play.until_state(ticket, "succeeded")
    assert [id for _, claimed in statements for id in claimed] == ids[1:]


def test_one_that_reads_a_file_is_claimed_alone(play, statements):
    worker, tickets, (job,) = several(play, 2, file=True)
    play.until_looked(worker, job)
    assert [play.row(ticket).state for ticket in tickets] == ["succeeded", "running", "queued"]
    assert statements == [([tickets[0].id], [tickets[1].id])]


def test_a_deadline_counts_from_a_tickets_own_turn(play, statements):
    worker, tickets, told = several(play, 3)
    play.until(lambda: Fail in run_of(play, tickets[1]).limits.moments)
    assert [Fail in run_of(play, ticket).limits.moments for ticket in tickets[2:]] == [False, False]
    perform(worker, told[0])
    play.until(lambda: Fail in run_of(play, tickets[2]).limits.moments)
    assert Fail not in run_of(play, tickets[3]).limits.moments


def test_one_that_is_given_up_behind_another_is_told_so_and_ends_nobody_else(play, statements):
    worker, tickets, told = several(play, 2)
    assert play.bench.web.cancel(tickets[2]).cancel_requested
    play.lane.hear(at_once=True)
    assert worker.hear(GiveUp).key == told[1].key
    assert Cancel not in run_of(play, tickets[2]).limits.moments
    perform(worker, told[0])
    play.until_state(tickets[1], "succeeded")
    play.lane.hear(at_once=True)
    play.until(lambda: Cancel in run_of(play, tickets[2]).limits.moments)


def test_one_whose_row_is_refused_costs_no_other_its_end(play, statements):
    worker, tickets, told = several(play, 3)
    refuse(play.bench, tickets[2])
    for job in told:
        perform(worker, job)
    for ticket in (tickets[1], tickets[3]):
        play.until_state(ticket, "succeeded")
    play.until(lambda: not play.lane.running)
    assert play.row(tickets[2]).state == "running"
    assert play.thread.is_alive()


def test_a_statement_of_unknown_outcome_completes_each_once_and_loses_no_claim(play, statements, monkeypatch):
    join = LaneStore.succeed_and_claim

    def lose(store, ends, **values):
        join(store, ends, **values)
        raise DatabaseUnavailable("its answer was lost")

    monkeypatch.setattr(LaneStore, "succeed_and_claim", lose)
    worker, tickets, told = several(play, MOST_BRIEF + 1)
    assert [job.key for job in told] == [f"{ticket.id}/1" for ticket in tickets[1 : MOST_BRIEF + 1]]
    for job in told:
        perform(worker, job)
    for job in jobs(worker, 1):
        perform(worker, job)
    for ticket in tickets:
        play.until_state(ticket, "succeeded")
    assert [play.row(ticket).claim for ticket in tickets] == [1] * len(tickets)


def test_a_worker_that_dies_with_several_is_nobodys_fault_and_all_run_alone_then(play, statements):
    worker, tickets, _ = several(play, 3)
    worker.die()
    second = play.workers.get(timeout=SECONDS)
    for ticket in tickets[1:]:
        play.until_state(ticket, "submitted")
    assert [row.attempts for row in play.bench.run("SELECT attempts FROM tickets ORDER BY id")] == [0] * 4
    for ticket in tickets[1:]:
        play.bench.queue(ticket, play.store.lease.name)
    (job,) = jobs(second, 1)
    play.until_looked(second, job)
    assert [play.row(ticket).state for ticket in tickets[2:]] == ["queued", "queued"]


def test_a_device_that_breaks_costs_the_ticket_that_broke_it_and_none_behind_it(play, statements):
    worker, tickets, told = several(play, 3)
    worker.say(Performing, told[0])
    worker.channel.send(DeviceBroken(reason="CUDA error"))
    worker.say(TaskCrashed, told[0], error="AcceleratorError", reference="abcd1234")
    worker.die()
    play.until_state(tickets[1], "failed")
    for ticket in tickets[2:]:
        play.until_state(ticket, "submitted")
    assert [row.attempts for row in play.bench.run("SELECT attempts FROM tickets ORDER BY id")] == [0] * 4


def test_the_manager_hears_of_a_second_ticket_at_a_source_that_was_idle(play):
    worker = play.begin(look_seconds=SECONDS)
    play.queue(1)
    jobs(worker, 1)
    play.until(lambda: not play.lane.claims.may_wait)
    play.bench.hints.clear()
    play.queue(1)
    play.until(lambda: play.bench.hints.count(Hint(SUBMITTED)) > 1)  # one is the submission's


# The statement


def claimed_behind(bench, *changes, most=4, brief=("Add-1",), any_kind=True):
    """Complete one ticket of a lane; return the places of those of four that are claimed with that."""
    lane = bench.source(services=("Add", "Blur"))
    done = bench.claimed(lane)
    tickets = [bench.submit() for _ in range(4)]
    for ticket in tickets:
        bench.queue(ticket, lane.lease.name)
    for place, change in changes:
        bench.force(f"UPDATE tickets SET {change} WHERE id = {tickets[place].id}")  # noqa: S608 (the tests' own)
    kept, claimed = lane.succeed_and_claim(
        [Success(ticket=done, seconds=1.0, **RESULT)],
        interface_hashes=["Add-1", "Blur-1"],
        beside_another=True,
        running=[],
        brief=brief,
        most=most,
        any_kind=any_kind,
    )
    assert kept == {done.id}
    places = [[ticket.id for ticket in tickets].index(each.id) for each in claimed]
    assert lane.next is None or lane.next.id == tickets[len(places)].id
    return places


@pytest.mark.parametrize(("change", "places"), [
    ("stage = stage", [0, 1, 2, 3]),
    ("service = 'Blur', interface_hash = 'Blur-1'", [0, 1]),
    ("claim = 1", [0, 1]),
    ("expected_seconds = 60", [0, 1]),
])  # fmt: skip
def test_the_line_of_brief_tickets_ends_before_one_that_is_not(bench, change, places):
    assert claimed_behind(bench, (2, change)) == places


def test_the_first_one_is_claimed_alone_where_it_is_not_brief(bench):
    assert claimed_behind(bench, brief=()) == [0]


@pytest.mark.parametrize(("brief", "places"), [((), []), (["Add-1"], [0, 1, 2, 3])])
def test_one_of_another_kind_is_left_while_the_device_is_taken(bench, brief, places):
    assert claimed_behind(bench, brief=brief, any_kind=False) == places


def test_nobody_overtakes_one_that_must_run_alone(bench):
    assert claimed_behind(bench, (0, "claim = 1")) == []


def test_no_more_are_claimed_than_may_be(bench):
    assert claimed_behind(bench, most=2) == [0, 1]


def test_each_of_several_is_completed_if_it_is_still_that_claim(bench):
    lane = bench.source()
    tickets = [bench.claimed(lane) for _ in range(3)]
    lane.put_back(tickets[1])
    seconds = (1.0, 9.0, 3.0)
    ends = [Success(ticket=each, seconds=sec, **RESULT) for each, sec in zip(tickets, seconds, strict=True)]
    kept = {tickets[0].id, tickets[2].id}
    assert lane.succeed_all(ends) == kept
    assert bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds == 2.0
    assert lane.succeed_all(ends) == kept, "an outcome that was not known"
    assert bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds == 2.0
    assert [bench.read(each).state for each in tickets] == ["succeeded", "submitted", "succeeded"]
