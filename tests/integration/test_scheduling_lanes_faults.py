"""What a lane does when a device breaks, when the lane itself fails, and when its worker says anything."""

import json
import socket
from types import SimpleNamespace

import pytest
import structlog

from tests.integration.played_lane import SECONDS, SOURCE, two_under_way
from tomaat.database import RowRefused
from tomaat.messages import DeviceBroken, DiskFull, Perform, Performed, ReadAhead, TaskCrashed
from tomaat.scheduling.ends import Cancel, Ends, Fail
from tomaat.scheduling.running_tickets import RunningTicket
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.problems import task_crashed, without_details

# A broken device


def test_a_broken_device_costs_the_ticket_that_broke_it_and_its_neighbour_is_put_back(play):
    worker = play.begin()
    (first, _one), (second, two), third = two_under_way(play, worker, more=1)
    worker.channel.send(DeviceBroken(reason="CUDA error: device-side assert triggered"))
    worker.say(TaskCrashed, two, error="AcceleratorError", reference="abcd1234")
    play.until_state(second, "failed")
    play.until_state(first, "submitted")
    assert play.row(second).error == task_crashed("AcceleratorError", "abcd1234")
    assert (play.row(first).attempts, play.row(third).claim) == (0, 0)
    assert worker.is_ended()
    after = play.workers.get(timeout=SECONDS)
    assert after.hear(Perform).key == f"{third.id}/1"


def test_a_source_whose_workers_die_with_three_services_in_a_row_is_unusable_for_a_while(capfd, play):
    play.offering = {"services": ("Add", "Blur", "Cut")}
    worker = play.begin()
    for service in ("Add", "Blur", "Blur", "Cut"):
        assert play.bench.run("SELECT FROM compute_sources WHERE problem IS NULL")
        (ticket,) = play.queue(1, service=service)
        worker.hear(Perform)
        worker.die()
        play.until_state(ticket, "submitted")
        if service != "Cut":
            worker = play.workers.get(timeout=SECONDS)
    play.until(lambda: play.bench.run("SELECT FROM compute_sources WHERE problem LIKE '%3 services%'"))
    assert "source.unusable" in capfd.readouterr().out


def test_a_child_that_keeps_the_channel_open_does_not_keep_the_ticket_of_a_dead_worker(play):
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear(Perform)
    worker.process.kill()
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 1


# Our own faults


def test_an_error_of_ours_fails_the_ticket_at_which_it_comes_up_and_the_lane_goes_on(capfd, play, monkeypatch):
    worker = play.begin()
    (first, one), (second, _two) = two_under_way(play, worker)
    monkeypatch.setattr(RunningTicket, "seal", lambda *_: 1 / 0)
    worker.pack(one)
    play.until_state(first, "failed")
    play.until_state(second, "submitted")
    monkeypatch.undo()
    assert play.row(first).error["type"] == "/problems/server-fault"
    assert play.row(second).attempts == 0
    logged = capfd.readouterr().out
    assert "lane.fault" in logged
    assert "ZeroDivisionError" in logged
    play.bench.queue(second, SOURCE)
    after = play.workers.get(timeout=SECONDS)
    again = after.hear(Perform)
    after.say(Performed, again)
    after.pack(again)
    play.until_state(second, "succeeded")


def test_a_ticket_that_cannot_be_ended_at_all_ends_the_lane_as_if_its_lease_were_lost(play, monkeypatch):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    monkeypatch.setattr(play.lane.store, "fail", lambda *_: 1 / 0)
    worker.say(TaskCrashed, one, error="OSError", reference="abcd1234")
    play.thread.join(SECONDS)
    assert not play.thread.is_alive()
    assert play.lane.lease_lost
    assert play.row(first).state == "running", "the manager takes it back"


# A worker that says anything


GARBAGE = [
    b"six by",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"[]",
    b"{}",
    b'{"is": ["Progress"]}',
    b'{"is": "Perform", "key": "1/1"}',
    b'{"is": "Progress", "key": "1/1", "fraction": NaN, "stage": "x"}',
    b'{"is": "Progress", "key": "1/1", "fraction": 1.5, "stage": "x"}',
    b'{"is": "Progress", "key": "1/1", "fraction": 0.5, "stage": 7}',
    b'{"is": "Progress", "key": "1\\u0000/1", "fraction": 0.5, "stage": "x"}',
    b'{"is": "Estimated", "seconds": {"1": Infinity}}',
    b'{"is": "Estimated", "seconds": {"1": 1.8e308}}',
    b'{"is": "Measured", "service": "Add", "network_bytes": -1, "peak_bytes": null, "load_seconds": 0, "warm": [],'
    b' "loading_seconds": 0}',
    b'{"is": "Packed", "key": "1/1", "more": 1}',
    b'{"is": "Progress", "key": "1/1", "fraction": 0.5, "stage": "' + b"x" * 200_000,
]


@pytest.mark.parametrize("said", GARBAGE, ids=lambda said: repr(said[:30]))
def test_a_worker_that_sends_no_message_is_ended_and_its_ticket_spends_an_attempt(capfd, play, said):
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear(Perform)
    worker.channel.end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024**2)
    worker.channel.end.send(said)
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 1
    assert worker.is_ended()
    assert "worker.message_refused" in capfd.readouterr().out
    play.bench.queue(first, SOURCE)
    after = play.workers.get(timeout=SECONDS)
    one = after.hear(Perform)
    after.say(Performed, one)
    after.pack(one)
    play.until_state(first, "succeeded")


def test_what_a_worker_has_said_in_a_message_that_is_none_reaches_no_log(capfd, play):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    said = f'{{"is": "Progress", "key": "{one.key}", "fraction": "MILLER^ANNA", "stage": "MILLER^ANNA"}}'
    worker.channel.end.send(said.encode())
    play.until(lambda: play.row(first).attempts == 1)
    logged = capfd.readouterr().out
    assert "Progress: fraction is no number from 0 to 1" in logged
    assert "MILLER" not in logged


def test_a_ticket_whose_workers_send_no_messages_fails_with_that_reason(play):
    worker = play.begin()
    (first,) = play.queue(1)
    play.bench.run("UPDATE tickets SET attempts = 2 WHERE id = :id", id=first.id)
    worker.hear(Perform)
    worker.channel.end.send(b"six by")
    play.until_state(first, "failed")
    assert "sent a message that cannot be read" in play.row(first).error["detail"]


def test_a_worker_that_sends_no_message_while_it_starts_is_replaced(play):
    play.first_words = [b"six by"]
    worker = play.begin()
    play.workers.get(timeout=SECONDS)
    play.until(lambda: play.lane.keeper.offering.offers)
    assert worker.is_ended()


def test_a_broken_sentence_of_a_task_reaches_its_client_cleaned(play):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    said = {"is": "TicketRefused", "key": one.key, "detail": "series 1.2.3\0 of caf\udce9.dcm"}
    said |= {"errors": [], "now": False}
    worker.channel.end.send(json.dumps(said).encode())
    play.until_state(first, "failed")
    assert play.row(first).error["detail"] == "series 1.2.3\ufffd of caf\ufffd.dcm"


def test_a_broken_stage_of_a_task_reaches_its_client_cleaned(play):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    said = {"is": "Progress", "key": one.key, "fraction": 1, "stage": "slice\0of\n" + "x" * 1000}
    worker.channel.end.send(json.dumps(said).encode())
    play.until(lambda: play.row(first).stage)
    assert play.row(first).stage.startswith("slice\ufffdof xxx")
    assert len(play.row(first).stage) == 200


# A ticket that its lane does not know, or cannot end


def claimed_unseen(play, ticket, interface_hash):
    """Let a ticket be claimed as a claim does that is made long after the lane has asked for its outcome."""
    late = LaneStore(play.bench.database, play.store.lease, lambda _: None).claim([interface_hash])
    assert late.id == ticket.id


def test_a_claim_that_is_made_long_after_its_outcome_was_looked_for_is_found(play, monkeypatch):
    worker = play.begin()
    monkeypatch.setattr(play.lane.store, "claim", lambda *_args, **_how: None)
    (first,) = play.queue(1)
    claimed_unseen(play, first, "Add-1")
    one = worker.hear(Perform)
    assert one.key == f"{first.id}/1"
    worker.say(Performed, one)
    worker.pack(one)
    play.until_state(first, "succeeded")


def test_a_found_ticket_whose_service_is_not_offered_is_put_back(play):
    worker = play.begin()
    (first,) = play.queue(1, service="Blur")
    claimed_unseen(play, first, "Blur-1")
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 0
    (second,) = play.queue(1)
    assert worker.hear(Perform).key == f"{second.id}/1"


def test_an_error_of_ours_while_a_ticket_is_handed_over_fails_that_ticket(play, monkeypatch):
    worker = play.begin()
    monkeypatch.setattr(play.storage, "lend_input", lambda _: 1 / 0)
    (first,) = play.queue(1)
    play.until_state(first, "failed")
    assert play.row(first).error["type"] == "/problems/server-fault"
    monkeypatch.undo()
    assert worker.is_ended()


def test_a_ticket_whose_end_is_refused_fails_without_details(play, monkeypatch):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)

    def refuse(_ticket):
        raise RowRefused("no such end")

    monkeypatch.setattr(play.lane.store, "put_back", refuse)
    monkeypatch.setattr(play.lane.room, "may_come", lambda *_: True)
    worker.say(DiskFull, one)
    play.until_state(first, "failed")
    assert play.row(first).error == without_details()
    assert play.started == [worker]


def test_a_ticket_whose_row_takes_no_end_is_left_and_neither_run_again_nor_in_the_way(capfd, play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    play.bench.run(
        f"CREATE TRIGGER refuse_{first.id} BEFORE UPDATE ON tickets FOR EACH ROW"
        f" WHEN (NEW.id = {first.id}) EXECUTE FUNCTION refuse_move()"
    )
    worker.say(TaskCrashed, one, error="OSError", reference="abcd1234")
    two = worker.hear(Perform)
    assert two.key == f"{second.id}/1"
    worker.say(Performed, two)
    worker.pack(two)
    play.until_state(second, "succeeded")
    assert "ticket.end_refused" in capfd.readouterr().out
    (third,) = play.queue(1)
    assert worker.hear(Perform).key == f"{third.id}/1"
    assert play.row(first).state == "running"
    assert play.started == [worker]


def test_a_result_that_never_fits_the_disk_spends_an_attempt(play, monkeypatch):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    monkeypatch.setattr(play.lane.room, "may_come", lambda *_: False)
    worker.say(DiskFull, one)
    play.until(lambda: play.row(first).attempts == 1)
    assert play.started == [worker]


def test_a_source_without_a_worker_is_unusable_until_one_starts(play, monkeypatch):
    start, problems = play.start, []

    def refuse_once(*lane, **told):
        problems.extend(row.problem for row in play.bench.run("SELECT problem FROM compute_sources"))
        if len(problems) == 1:
            raise OSError("its former worker, process 42, was killed and is still there")
        return start(*lane, **told)

    monkeypatch.setattr(play, "start", refuse_once)
    play.begin()
    assert problems == [None, "no worker can be started: its former worker, process 42, was killed and is still there"]
    play.until(lambda: play.bench.run("SELECT FROM compute_sources WHERE problem IS NULL"))


def test_a_lane_that_has_to_end_while_it_waits_for_its_worker_ends(play, monkeypatch):
    def start(*_, ending, **__):
        assert not ending()
        play.lane.stop()
        assert ending()
        play.workers.put(SimpleNamespace(lane=1))

    monkeypatch.setattr(play, "start", start)
    with structlog.testing.capture_logs() as lines:
        play.begin()
        play.thread.join(SECONDS)
    assert not play.thread.is_alive()
    assert not play.lane.lease_lost
    assert [line for line in lines if line["log_level"] in {"warning", "error"}] == []


def test_an_end_that_comes_too_late_is_not_said_to_have_been_made(bench, tmp_path):
    lane = bench.source()
    ticket = bench.claimed(lane)
    bench.run("UPDATE tickets SET epoch = 0")  # somebody else's
    ends = Ends(lane, structlog.get_logger(), attempts=3)
    with structlog.testing.capture_logs() as lines:
        for end in (Fail(problem={}, reason="refused"), Cancel()):
            assert not ends.carry_out(end, ticket, tmp_path / "out/1")
    assert [line["event"] for line in lines] == ["ticket.too_late", "ticket.too_late"]
