"""A lane on a real PostgreSQL and real folders, whose worker the test plays: one performs while another is packed."""

import shutil
import threading
import time
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
import structlog

from tests.integration.played_lane import SECONDS, SOURCE, two_under_way
from tomaat.database import DatabaseUnavailable
from tomaat.messages import (
    Begin,
    DiskFull,
    Estimate,
    Estimated,
    Forget,
    GiveUp,
    Measured,
    Outgrown,
    Perform,
    Performed,
    Performing,
    ReadAhead,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
)
from tomaat.scheduling import estimates
from tomaat.scheduling.ends import Fail, SpendAttempt
from tomaat.scheduling.running_tickets import Stage
from tomaat.tickets.problems import out_of_memory, refused, task_crashed


def test_a_ticket_is_read_ahead_without_being_claimed_and_claimed_once_the_device_is_free(play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear(Perform)
    assert one.inputs == play.storage.folder_of(first.folder).inputs
    assert worker.hear(ReadAhead).inputs == play.storage.folder_of(second.folder).inputs
    play.until_looked(worker, one)
    assert (play.row(second).state, play.row(second).claim) == ("queued", 0)
    worker.say(Performed, one)
    assert worker.hear(Perform).inputs == play.storage.folder_of(second.folder).inputs
    assert [play.row(ticket).state for ticket in (first, second)] == ["running", "running"]
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert play.storage.result_of(first.folder, play.row(first).out).read_bytes() == b"a result"
    assert play.row(second).state == "running"


def test_no_third_ticket_is_claimed_while_one_is_packed_and_another_waits_for_that(play):
    worker = play.begin()
    (_, one), (_, two), third = two_under_way(play, worker, more=1)
    worker.say(Performed, two)
    play.until_looked(worker, two)
    assert play.row(third).state == "queued"
    worker.pack(one)
    assert worker.hear(Perform).key == f"{third.id}/1"


def test_an_end_claims_nothing_while_another_ticket_performs(play):
    worker = play.begin(look_seconds=SECONDS)
    (first, one), (_, two), third = two_under_way(play, worker, more=1)
    worker.pack(one)
    play.until_state(first, "succeeded")
    play.until_looked(worker, two)
    assert play.row(third).state == "queued"


def test_a_ticket_that_was_read_ahead_and_is_given_up_is_forgotten(play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    assert play.bench.web.cancel(second).state == "cancelled"
    worker.hear(Forget)
    worker.say(Performed, one)
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert worker.heard() == []


def test_a_ticket_that_was_read_ahead_and_moves_to_another_source_makes_way_for_the_next(play):
    worker = play.begin()
    _, second, third = play.queue(3)
    worker.hear(Perform)
    worker.hear(ReadAhead)
    play.bench.queue(second, "here/cpu-1")
    assert worker.hear(ReadAhead).inputs == play.storage.folder_of(third.folder).inputs


def test_a_packing_tickets_cancelling_never_ends_the_worker(play):
    worker = play.begin(cancel_seconds=0.0)
    (first, one), (second, two) = two_under_way(play, worker)
    assert play.bench.web.cancel(first).state == "running"
    assert worker.hear(GiveUp).key == one.key
    play.until_looked(worker, two)
    worker.say(TaskStopped, one)
    play.until_state(first, "cancelled")
    assert play.row(second).state == "running"
    assert list((play.storage.folder_of(first.folder).path / "out").iterdir()) == []
    assert play.started == [worker]


@pytest.mark.parametrize("how", ["deadline", "too slow to cancel"])
def test_a_result_is_packed_before_the_worker_is_ended_for_the_sake_of_another_ticket(play, how):
    worker = play.begin(cancel_seconds=0.0)
    (first, one), (second, two) = two_under_way(play, worker)
    if how == "deadline":
        play.pass_limit(two, Fail)
    else:
        play.bench.web.cancel(second)
        assert worker.hear(GiveUp).key == two.key
    play.until_looked(worker, one)
    worker.pack(one)
    play.until_state(second, "failed" if how == "deadline" else "cancelled")
    play.until_state(first, "succeeded")
    assert worker.is_ended()
    assert play.row(first).claim == 1


def test_a_packing_that_never_ends_ends_the_worker_and_the_other_ticket_spends_no_attempt(play):
    worker = play.begin()
    (first, one), (second, _) = two_under_way(play, worker)
    play.pass_limit(one, SpendAttempt)
    play.until_state(first, "submitted")
    play.until_state(second, "submitted")
    assert worker.is_ended()
    assert [play.row(ticket).attempts for ticket in (first, second)] == [1, 0]


def test_a_worker_that_dies_with_two_tickets_spends_no_attempt_and_both_run_alone_afterwards(play):
    worker = play.begin()
    (first, _), (second, _) = two_under_way(play, worker)
    worker.die()
    for ticket in (first, second):
        play.until_state(ticket, "submitted")
        assert play.row(ticket).attempts == 0
        play.bench.queue(ticket, SOURCE)
    (third,) = play.queue(1)
    after = play.workers.get(timeout=SECONDS)
    one = after.hear(Perform)
    assert one.key == f"{first.id}/2"
    after.say(Performed, one)
    play.until_looked(after, one)
    assert after.heard() == [], "neither is anything read ahead beside it"
    assert play.row(second).state == "queued"
    after.die()
    play.until(lambda: play.row(first).attempts == 1)
    play.bench.run("UPDATE tickets SET state = 'cancelled', finished = now() WHERE id = :id", id=first.id)
    last = play.workers.get(timeout=SECONDS)
    two = last.hear(Perform)
    assert two.key == f"{second.id}/2"
    last.say(Performed, two)
    last.pack(two)
    assert last.hear(Perform).key == f"{third.id}/1"


def test_a_ticket_that_runs_again_waits_until_the_result_before_it_is_packed(play):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    (again,) = play.queue(1, claim=1)
    worker.say(Performed, one)
    play.until_looked(worker, one)
    assert play.row(again).state == "queued"
    assert worker.heard() == [], "nor is it read ahead"
    worker.pack(one)
    assert worker.hear(Perform).key == f"{again.id}/2"
    play.until_state(first, "succeeded")


def test_a_ticket_waits_until_the_result_of_one_that_runs_again_is_packed(play):
    worker = play.begin()
    (again,) = play.queue(1, claim=1)
    one = worker.hear(Perform)
    assert one.key == f"{again.id}/2"
    (fresh,) = play.queue(1)
    worker.say(Performed, one)
    play.until_looked(worker, one)
    assert play.row(fresh).state == "queued"
    assert worker.heard() == [], "nor is it read ahead"
    worker.pack(one)
    assert worker.hear(Perform).key == f"{fresh.id}/1"


def test_a_worker_that_dies_with_one_ticket_spends_its_attempt(play):
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear(Perform)
    worker.die()
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 1


def test_a_result_that_was_packed_before_the_worker_died_is_kept(play):
    worker = play.begin()
    (first, one), (second, _) = two_under_way(play, worker)
    worker.pack(one)
    worker.die()
    play.until_state(first, "succeeded")
    play.until_state(second, "submitted")
    assert play.row(second).attempts == 1, "it was alone in the worker"


def test_a_door_that_stops_puts_both_back_after_the_grace_time(play):
    worker = play.begin(grace_seconds=0.1)
    (first, _), (second, _) = two_under_way(play, worker)
    with structlog.testing.capture_logs() as lines:
        play.lane.stop()
        play.thread.join(SECONDS)
    assert worker.is_ended()
    waited = [line for line in lines if line["event"] == "ticket.waited_for"]
    assert [line["ticket"] for line in waited] == [first.id, second.id], "each once"
    assert all(abs(datetime.now(timezone.utc) - datetime.fromisoformat(line["until"])).days == 0 for line in waited)
    for ticket in (first, second):
        row = play.row(ticket)
        assert (row.state, row.attempts) == ("submitted", 0)


def test_a_door_that_stops_lets_both_finish_within_the_grace_time_and_claims_no_other(play):
    worker = play.begin()
    (first, one), (second, two), third = two_under_way(play, worker, more=1)
    play.lane.stop()
    worker.pack(one)
    play.until_state(first, "succeeded")
    worker.say(Performed, two)
    worker.pack(two)
    play.thread.join(SECONDS)
    assert [play.row(ticket).state for ticket in (first, second, third)] == ["succeeded", "succeeded", "queued"]


def test_a_lost_lease_ends_both_and_changes_neither(play):
    worker = play.begin()
    (first, one), (second, _) = two_under_way(play, worker)
    before = [play.row(ticket) for ticket in (first, second)]
    play.lane.abandon()
    play.thread.join(SECONDS)
    assert worker.is_ended()
    assert [play.row(ticket) for ticket in (first, second)] == before
    assert not one.out.exists()


def test_a_ticket_that_is_somebody_elses_by_now_ends_the_worker_and_the_other_is_put_back(play):
    worker = play.begin()
    (first, _), (second, _) = two_under_way(play, worker)
    play.bench.run("UPDATE tickets SET state = 'submitted', epoch = NULL, source = NULL WHERE id = :id", id=first.id)
    play.until_state(second, "submitted")
    assert worker.is_ended()
    assert play.row(first).attempts == play.row(second).attempts == 0


def test_a_claim_of_unknown_outcome_is_found_beside_the_ticket_that_is_known(play, monkeypatch):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    claim = play.store.claim

    def claim_and_lose_the_answer(*arguments, **named):
        if claim(*arguments, **named) is not None:
            raise DatabaseUnavailable("gone after the commit")

    monkeypatch.setattr(play.store, "claim", claim_and_lose_the_answer)
    worker.say(Performed, one)
    two = worker.hear(Perform)
    assert two.key == f"{second.id}/1"
    worker.pack(one)
    play.until_state(first, "succeeded")


def test_an_end_that_the_database_does_not_take_holds_up_no_other_ticket(play, monkeypatch):
    worker = play.begin()
    (first, one), (second, two) = two_under_way(play, worker)
    succeed, down = play.store.succeed_all, threading.Event()
    down.set()

    def succeed_when_it_is_back(*arguments, **named):
        if down.is_set():
            raise DatabaseUnavailable("away")
        return succeed(*arguments, **named)

    monkeypatch.setattr(play.store, "succeed_all", succeed_when_it_is_back)
    worker.pack(one)
    play.until_looked(worker, two)
    assert play.row(first).state == "running"
    down.clear()
    play.until_state(first, "succeeded")
    assert play.row(second).state == "running"


def test_a_door_that_stops_without_its_database_leaves_a_result_whose_completion_may_have_been_made(play, monkeypatch):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    succeed = play.store.succeed_all

    def succeed_and_lose_the_answer(*arguments, **named):
        succeed(*arguments, **named)
        raise DatabaseUnavailable("gone after the commit")

    monkeypatch.setattr(play.store, "succeed_all", succeed_and_lose_the_answer)
    play.lane.stop()
    worker.say(Performed, one)
    worker.pack(one)
    play.thread.join(SECONDS)
    assert play.row(first).state == "succeeded"
    assert play.storage.result_of(first.folder, play.row(first).out).exists()


def test_a_slow_disk_holds_up_no_other_ticket(play, monkeypatch):
    worker = play.begin()
    (first, one), (second, two) = two_under_way(play, worker)
    seal, goes_on = play.storage.seal_result, threading.Event()
    monkeypatch.setattr(play.storage, "seal_result", lambda draft: goes_on.wait(SECONDS) and seal(draft))
    worker.pack(one)
    play.until_looked(worker, two)
    assert play.bench.web.cancel(second).state == "running"
    worker.hear(GiveUp)
    goes_on.set()
    play.until_state(first, "succeeded")


def test_a_result_that_finds_the_disk_full_is_put_back_and_the_other_ticket_goes_on(play, monkeypatch):
    worker = play.begin()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0, total=2**40))
    (first, one), (second, two) = two_under_way(play, worker)
    worker.say(DiskFull, one)
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 0
    worker.say(Performed, two)
    worker.pack(two)
    play.until_state(second, "succeeded")


def test_a_tickets_seconds_are_those_for_which_it_kept_its_source_from_the_next(play):
    worker = play.begin()
    (first, one), _ = two_under_way(play, worker)
    time.sleep(0.5)  # it is packed
    worker.pack(one)
    play.until_state(first, "succeeded")
    mean = play.bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds
    done = play.row(first)
    assert mean <= (done.finished - done.started).total_seconds() - 0.5


def measured(loading_seconds=0.0):
    return Measured(
        service="Add",
        network_bytes=5,
        peak_bytes=7,
        load_seconds=3.0,
        warm=("Add",),
        loading_seconds=loading_seconds,
    )


def test_what_a_task_expects_is_asked_once_and_written(play):
    play.estimates = True
    first, second = play.queue(2)
    worker = play.begin()
    one = worker.hear(Perform)
    assert worker.hear(ReadAhead).service == "Add"
    asked = worker.hear(Estimate)
    assert {each.ticket for each in asked.tickets} == {first.id, second.id}
    (third,) = play.queue(1)
    worker.channel.send(Estimated(seconds={first.id: 12.5, second.id: None, third.id: 99.0}))
    again = worker.hear(Estimate)
    assert [each.ticket for each in again.tickets] == [third.id], "second's task cannot say; third was not asked for"
    assert play.row(first).expected_seconds == 12.5
    assert play.row(third).expected_seconds is None
    play.until_looked(worker, one)
    assert worker.heard() == []


def test_the_task_is_asked_about_a_ticket_as_soon_as_it_is_queued(play, monkeypatch):
    monkeypatch.setattr(play.bench.sources, "with_tickets", lambda _: [])
    play.estimates = True
    (first,) = play.queue(1)
    worker = play.begin(poll_seconds=10 * SECONDS)
    worker.hear(Perform)
    worker.hear(Estimate)
    worker.channel.send(Estimated(seconds={first.id: 12.5}))
    play.until(lambda: play.row(first).expected_seconds == 12.5 and not play.lane.estimates.due)
    (second,) = play.queue(1)
    play.lane.hear()
    assert worker.hear(ReadAhead).service == "Add"
    assert [each.ticket for each in worker.hear(Estimate).tickets] == [second.id]


def test_a_ticket_whose_task_never_says_is_not_asked_about_again_and_the_next_one_is(play, monkeypatch):
    monkeypatch.setattr(estimates, "ANSWER_SECONDS", 0.1)
    play.estimates = True
    first, second = play.queue(2)
    worker = play.begin()
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    worker.hear(Estimate)
    play.until(lambda: cannot_say(play) == {first.id, second.id})
    worker.channel.send(Estimated(seconds={first.id: 12.5}))
    (third,) = play.queue(1)
    assert [each.ticket for each in worker.hear(Estimate).tickets] == [third.id]
    play.until_looked(worker, one)
    assert play.row(first).expected_seconds is None, "its answer came too late"


def test_answers_that_come_one_by_one_are_waited_for(play):
    play.estimates = True
    first, second = play.queue(2)
    worker = play.begin()
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    worker.hear(Estimate)
    for ticket, seconds in ((second, 5.0), (first, 12.5)):
        worker.channel.send(Estimated(seconds={ticket.id: seconds}))
        play.until(lambda ticket=ticket, seconds=seconds: play.row(ticket).expected_seconds == seconds)
        play.until_looked(worker, one)
        assert cannot_say(play) == set()
        assert worker.heard() == []


def test_a_ticket_whose_files_are_gone_keeps_no_other_from_being_asked_about(play, monkeypatch):
    def lend_input(folder):
        if folder == second.folder:
            raise FileNotFoundError(folder)
        return play.storage.folder_of(folder).inputs

    monkeypatch.setattr(play.storage, "lend_input", lend_input)
    play.estimates = True
    first, second = play.queue(2)
    worker = play.begin()
    worker.hear(Perform)
    assert [each.ticket for each in worker.hear(Estimate).tickets] == [first.id]
    play.until(lambda: cannot_say(play) == {second.id})


def cannot_say(play):
    """The tickets whose task is not asked again how long they take."""
    return {row.id for row in play.bench.run("SELECT id FROM tickets WHERE not_estimated")}


def test_what_a_worker_has_measured_is_told_to_the_next_one(play):
    worker = play.begin()
    play.queue(1)
    one = worker.hear(Perform)
    worker.channel.send(measured())
    worker.say(TaskCrashed, one, error="OSError", reference="abcd1234")
    play.until(lambda: play.bench.sources.offers_of(SOURCE)[0]["peak_bytes"] == 7)
    worker.die()
    after = play.workers.get(timeout=SECONDS)
    after.hear(Begin)
    (known,) = after.known
    assert (known.interface_hash, known.file) == ("Add-1", "AddTask.py")
    assert (known.network_bytes, known.peak_bytes, known.load_seconds) == (5, 7, 3.0)
    assert [each.peak_bytes for each in worker.known] == [None]


def test_more_services_than_one_message_holds_are_told_to_the_next_worker(play):
    services = [f"Service{number:04}" for number in range(1300)]
    play.bench.offer(play.store.lease, *services)
    worker = play.begin()
    worker.hear(Begin)
    assert [each.service for each in worker.known] == services


def test_a_worker_that_reads_nothing_is_ended(play, monkeypatch):
    monkeypatch.setattr("tomaat.messages.channel.SEND_SECONDS", 1)
    play.bench.offer(play.store.lease, *(f"Service{number:04}" for number in range(2000)))
    worker = play.begin()
    play.until(lambda: worker.process.poll() is not None)
    play.workers.get(timeout=SECONDS).hear(Begin)


def test_the_loading_of_a_network_is_no_part_of_its_tickets_duration(play):
    worker = play.begin()
    (first, one), (second, two) = two_under_way(play, worker)
    worker.channel.send(measured(1000.0))
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert play.bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds >= 0, "it was the other one's"
    play.bench.run("DELETE FROM durations")
    worker.say(Performed, two)
    worker.pack(two)
    play.until_state(second, "succeeded")
    assert play.bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds == 0, "1000 s of it were the loading"


def test_needs_that_the_database_does_not_take_hold_up_nothing(play, monkeypatch):
    def away(*_arguments):
        raise DatabaseUnavailable("away")

    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    monkeypatch.setattr(play.bench.sources, "note_needs", away)
    worker.channel.send(measured())
    worker.say(Performed, one)
    worker.pack(one)
    play.until_state(first, "succeeded")


def test_a_ticket_that_outgrew_its_source_is_put_back_for_a_larger_one(play):
    play.bench.source("here/GPU-larger", memory_bytes=200)
    worker = play.begin(memory_bytes=100)
    (first,) = play.queue(1)
    worker.say(Outgrown, worker.hear(Perform), needed_bytes=150, total_bytes=100)
    play.until_state(first, "submitted")
    assert play.bench.run("SELECT outgrown_bytes FROM tickets")[0].outgrown_bytes == 100
    assert play.row(first).attempts == 0


FAULT = {"input": "x", "code": "not-a-number", "detail": "x: 'abc' is not a number."}


@pytest.mark.parametrize(
    ("kind", "facts", "error"),
    [
        (Outgrown, {"needed_bytes": None, "total_bytes": 100}, out_of_memory("Add", SOURCE, None, 100)),
        (TicketRefused, {"detail": "scan: no liver was found."}, refused("scan: no liver was found.", [])),
        (TicketRefused, {"detail": FAULT["detail"], "errors": (FAULT,)}, refused(FAULT["detail"], [FAULT])),
        (TaskCrashed, {"error": "OSError", "reference": "abcd1234"}, task_crashed("OSError", "abcd1234")),
    ],
)
def test_what_the_worker_tells_of_a_ticket_without_a_result_becomes_its_clients_sentence(play, kind, facts, error):
    worker = play.begin(memory_bytes=100)
    (first,) = play.queue(1)
    worker.say(kind, worker.hear(Perform), **facts)
    play.until_state(first, "failed")
    assert play.row(first).error == error
    assert "errors" not in error or error["errors"] == [FAULT]


def test_a_running_tickets_stage_is_the_one_that_its_worker_told(play):
    worker = play.begin()
    play.queue(1)
    one = worker.hear(Perform)
    play.until_looked(worker, one)
    (run,) = play.lane.running
    for kind, stage in ((None, Stage.READING), (Performing, Stage.PERFORMING), (Performed, Stage.PACKING)):
        if kind is not None:
            worker.say(kind, one)
        play.until_looked(worker, one)
        assert run.stage is stage
    worker.say(Performing, one)
    play.until_looked(worker, one)
    assert run.stage is Stage.PACKING, "a stage only goes forward"
