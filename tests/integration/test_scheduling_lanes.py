"""A lane on a real PostgreSQL and real folders, whose worker the test plays: one performs while another is packed."""

import contextlib
import json
import select
import socket
import subprocess
import threading
import time
from datetime import datetime, timezone
from queue import SimpleQueue

import pytest
import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    DRAFT,
    FROM_LANE,
    Begin,
    Channel,
    ChannelClosed,
    DeviceBroken,
    DeviceUsable,
    DiskFull,
    Estimate,
    Estimated,
    Forget,
    GiveUp,
    KnownOffers,
    Loaded,
    Loading,
    Measured,
    NotOffered,
    Offered,
    Outgrown,
    Packed,
    Perform,
    Performed,
    Performing,
    Progress,
    ReadAhead,
    Reload,
    Reloaded,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
    WorkerReady,
)
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.lanes import Lane
from tomaat.scheduling.local_engine import Worker
from tomaat.scheduling.running_tickets import RunningTicket, Stage
from tomaat.storage import Storage
from tomaat.tickets.problems import loading_too_long, out_of_memory, refused, task_crashed
from tomaat.tickets.reload_store import ReloadOutcome, ReloadStore

SOURCE = "here/cpu-0"
SECONDS = 60.0  #: after which the test gives up


class PlayedWorker:
    """The worker's end of a channel, and a process that does nothing."""

    def __init__(self, first_words=None, *, estimates=False, services=("Add",), ready=True):
        self.known = []  #: the offers of earlier workers, as the lane has told them
        self.without = None  #: the names that the lane told it to leave out
        self.process = subprocess.Popen(["sleep", "600"])
        self.lane_end, there = Channel.pair()
        self.channel = Channel(there, FROM_LANE)
        if first_words is not None:
            there.send(first_words)
            return
        self.channel.send(DeviceUsable())
        for service in services:
            self.offer(service, estimates=estimates)
        if ready:
            self.channel.send(WorkerReady())

    def offer(self, service, *, estimates=False):
        offer = {
            "service": service,
            "description": "adds",
            "version": "1",
            "interface": {"a": {}},
            "deadline_seconds": 3600.0,
            "estimates": estimates,
            "example": {},
            "file": f"{service}Task.py",
        }
        nothing = dict.fromkeys(["network_bytes", "peak_bytes", "load_seconds", "warm"])
        self.channel.send(Offered(offer=offer, interface_hash=f"{service}-1", **nothing))

    def say(self, what, job, **facts):
        self.channel.send(what(key=job.key, **facts))

    def hear(self, kind):
        """Take what the lane says next; it has to be of this kind."""
        assert select.select([self.channel], [], [], SECONDS)[0], f"the lane said no {kind.__name__}"
        message = self.channel.receive()
        if isinstance(message, (KnownOffers, Begin)):
            self.note_begin(message)
            return message if isinstance(message, kind) else self.hear(kind)
        assert isinstance(message, kind), message
        return message

    def note_begin(self, message):
        if isinstance(message, KnownOffers):
            self.known += message.offers
        else:
            self.without = message.without

    def heard(self):
        """Take all that the lane has said by now."""
        heard = []
        while select.select([self.channel], [], [], 0)[0]:
            heard.append(self.channel.receive())
        return heard

    def pack(self, job):
        (job.out / "files").mkdir()
        (job.out / DRAFT).write_bytes(b"a result")
        self.say(Packed, job)

    def die(self):
        self.process.kill()
        self.process.wait()
        self.channel.close()

    def is_ended(self):
        with contextlib.suppress(ChannelClosed):
            while True:
                self.channel.receive()
        return self.process.poll() is not None


class Play:
    """A lane in a thread, the tickets of its queue, and one played worker after the other."""

    def __init__(self, bench, folder):
        self.bench = bench
        self.storage = Storage(folder)
        self.storage.prepare()
        self.workers = SimpleQueue()
        self.started = []
        self.copies = []  #: the text from which each worker was started
        self.offering = {}
        self.first_words = []
        self.estimates = False
        self.tasks = folder / "tasks"
        self.tasks.mkdir()
        (self.tasks / "AddTask.py").write_text("1")
        self.kept = KeptTasks(self.tasks, folder / "kept")
        self.reloads = ReloadStore(bench.database)
        self.store = bench.source(SOURCE)

    def begin(self, memory_bytes=None, **times):
        source = ComputeSource(
            name=SOURCE,
            device_name="CPU",
            memory_bytes=memory_bytes,
            torch_device="cpu",
            visible_devices="",
            services=None,
            problem=None,
        )
        waits = {"poll_seconds": 0.05, "grace_seconds": SECONDS, "cancel_seconds": SECONDS, "report_seconds": 0.02}
        self.lane = Lane(
            source,
            self.store,
            self.bench.sources,
            self.storage,
            self,
            attempts=3,
            times=LaneTimes(**(waits | times)),
            kept=self.kept,
            reloads=self.reloads,
        )
        self.thread = threading.Thread(target=self.lane.run)
        self.thread.start()
        return self.workers.get(timeout=SECONDS)

    def start(self, _source, kept):
        """Be the engine."""
        self.copies.append((kept / "AddTask.py").read_text())
        first_words = self.first_words.pop() if self.first_words else None
        played = PlayedWorker(first_words, estimates=self.estimates, **self.offering)
        self.started.append(played)
        self.workers.put(played)
        return Worker(process=played.process, channel=played.lane_end, started=1)

    def queue(self, count, *, claim=0, service="Add"):
        tickets = []
        for _ in range(count):
            new = self.bench.new_ticket(service, folder=f"folder-{len(list(self.storage.tickets.iterdir()))}")
            self.storage.folder_of(new.folder).inputs.mkdir(parents=True)
            ticket = self.bench.web.submit(new)
            self.bench.run("UPDATE tickets SET claim = :claim WHERE id = :id", claim=claim, id=ticket.id)
            self.bench.queue(ticket, SOURCE)
            tickets.append(ticket)
        return tickets

    def row(self, ticket):
        return self.bench.read(ticket)

    def until(self, true):
        give_up = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < give_up
            time.sleep(0.01)

    def until_state(self, ticket, state):
        self.until(lambda: self.row(ticket).state == state)

    def until_looked(self, worker, job):
        """Wait until the lane has taken whatever was said before, and has looked round."""
        word = f"stage {time.monotonic()}"
        worker.say(Progress, job, fraction=0.5, stage=word)
        self.until(lambda: self.bench.run("SELECT FROM tickets WHERE stage = :word", word=word))

    def pass_limit(self, job, reason):
        """Let the moment have come at which a running ticket is ended for this reason."""
        (run,) = (run for run in self.lane.running if run.key == job.key)
        assert reason in run.limits.moments
        run.limits.moments[reason] = time.monotonic()

    def close(self):
        self.lane.abandon()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        self.lane.close()
        for worker in self.started:
            worker.process.kill()
            worker.process.wait()
            worker.channel.close()


@pytest.fixture
def play(bench, tmp_path):
    made = Play(bench, tmp_path / "storage")
    yield made
    made.close()


def two_under_way(play, worker, *, more=0):
    """Bring two tickets as far as that the first is packed and the second performs; return both with their jobs."""
    first, second, *others = play.queue(2 + more)
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    worker.say(Performed, one)
    two = worker.hear(Perform)
    if more:
        worker.hear(ReadAhead)
    return (first, one), (second, two), *others


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
        play.pass_limit(two, "deadline")
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
    play.pass_limit(one, "not_packed")
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
    succeed, down = play.store.succeed, threading.Event()
    down.set()

    def succeed_when_it_is_back(*arguments, **named):
        if down.is_set():
            raise DatabaseUnavailable("away")
        return succeed(*arguments, **named)

    monkeypatch.setattr(play.store, "succeed", succeed_when_it_is_back)
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
    succeed = play.store.succeed

    def succeed_and_lose_the_answer(*arguments, **named):
        succeed(*arguments, **named)
        raise DatabaseUnavailable("gone after the commit")

    monkeypatch.setattr(play.store, "succeed", succeed_and_lose_the_answer)
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


def test_a_result_that_finds_the_disk_full_is_put_back_and_the_other_ticket_goes_on(play):
    worker = play.begin()
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


# Loading


def test_a_service_is_offered_and_its_tickets_run_while_others_are_loaded(play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    play.bench.run("DELETE FROM offers")
    loading = lambda: [name for _, name, _ in play.bench.watch.loading()]  # noqa: E731
    play.until(lambda: loading() == ["its tasks"])
    worker.channel.send(Loading(name="Liver"))
    play.until(lambda: loading() == ["Liver"])
    worker.offer("Add")
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    play.until(lambda: [each["service"] for each in play.bench.sources.offers_of(SOURCE)] == ["Add"])
    worker.say(Performed, one)
    worker.pack(one)
    play.until_state(first, "succeeded")
    worker.channel.send(Loaded())
    worker.channel.send(WorkerReady())
    play.until(lambda: loading() == [])


def test_a_service_that_the_new_worker_does_not_offer_is_withdrawn_once_all_are_loaded(play):
    play.offering = {"services": ("Blur",), "ready": False}
    play.bench.offer(play.store.lease, "Add")
    worker = play.begin()
    offered = lambda: [each["service"] for each in play.bench.sources.offers_of(SOURCE)]  # noqa: E731
    play.until(lambda: offered() == ["Add", "Blur"])
    worker.channel.send(WorkerReady())
    play.until(lambda: offered() == ["Blur"])


def load_too_long(play):
    """Let the present loading have passed its deadline."""
    play.until(lambda: play.lane.keeper.loading is not None)
    play.lane.keeper.loading_since -= 1e6
    play.lane.wake()


def test_a_network_that_loads_too_long_is_left_out_and_the_others_serve(capfd, play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    worker.channel.send(Loading(name="Liver", deadline_seconds=30.0))
    play.offering = {}
    load_too_long(play)
    after = play.workers.get(timeout=SECONDS)
    assert after.hear(Begin).without == ("Liver",)
    (first,) = play.queue(1)
    one = after.hear(Perform)
    after.say(Performed, one)
    after.pack(one)
    play.until_state(first, "succeeded")
    assert worker.is_ended()
    assert "it was not loaded within 30 s" in capfd.readouterr().out


def test_a_ticket_waits_for_no_network_longer_than_its_deadline_and_a_neighbour_is_put_back(play):
    worker = play.begin()
    (first, _one), (second, two) = two_under_way(play, worker)
    worker.say(Performing, two)
    worker.channel.send(Loading(name="Add"))
    load_too_long(play)
    play.until_state(second, "failed")
    assert play.row(second).error == loading_too_long("Add", 600.0)
    assert (play.row(first).state, play.row(first).attempts) == ("submitted", 0)


def test_only_what_ends_two_workers_while_it_loads_is_left_out(play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    for without in ((), ("Liver",)):
        worker.channel.send(Loading(name="Liver"))
        play.until(lambda: play.lane.keeper.loading is not None)
        worker.die()
        worker = play.workers.get(timeout=SECONDS)
        assert worker.hear(Begin).without == without


def test_a_network_that_breaks_the_device_of_two_workers_while_it_loads_is_left_out(play):
    play.offering = {"services": (), "ready": False}
    worker = play.begin()
    for without in ((), ("Liver",)):
        for message in (
            Loading(name="Liver"),
            Loaded(),
            NotOffered(reason="Liver: load() failed"),
            Loading(name="Liver"),
        ):
            worker.channel.send(message)
        worker.channel.send(DeviceBroken(reason="CUDA error: device-side assert triggered"))
        worker = play.workers.get(timeout=SECONDS)
        assert worker.hear(Begin).without == without


def test_a_ticket_is_not_to_blame_for_a_worker_that_dies_while_another_network_loads(play):
    play.offering = {"ready": False}
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear(Perform)
    worker.channel.send(Loading(name="Liver"))
    worker.die()
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 0


# Loading on purpose


def ask_to_reload(play, service=None):
    (asked,) = play.reloads.ask(service)
    play.lane.reload(asked)
    return asked.id


def outcome(play, id):
    play.until(lambda: play.reloads.outcomes([id]))
    return play.reloads.outcomes([id])[id]


def test_a_file_that_has_changed_is_loaded_only_when_it_is_asked_for(play):
    worker = play.begin()
    (play.tasks / "AddTask.py").write_text("2")
    worker.die()
    worker = play.workers.get(timeout=SECONDS)
    assert play.copies == ["1", "1"]
    play.until(lambda: play.lane.keeper.complete)
    id = ask_to_reload(play)
    told = worker.hear(Reload)
    assert (told.files, (told.copy / "AddTask.py").read_text()) == (("AddTask.py",), "2")
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    assert outcome(play, id) == ReloadOutcome(failed=False, says="offered are Add")
    worker.die()
    play.workers.get(timeout=SECONDS)
    assert play.copies == ["1", "1", "2"]


def test_a_file_that_failed_stays_as_it_was_and_the_reason_is_told(play):
    worker = play.begin()
    (play.tasks / "AddTask.py").write_text("2")
    play.until(lambda: play.lane.keeper.complete)
    id = ask_to_reload(play)
    worker.hear(Reload)
    worker.channel.send(NotOffered(reason="Add: load() failed: OSError: no weights"))
    worker.channel.send(Reloaded(services=("Add",), refused=("AddTask.py",)))
    assert outcome(play, id).failed
    assert outcome(play, id).says == "Add: load() failed: OSError: no weights; the former tasks serve"
    worker.die()
    play.workers.get(timeout=SECONDS)
    assert play.copies == ["1", "1"]


def test_a_worker_that_dies_while_it_loads_on_purpose_is_followed_by_one_with_the_former_tasks(play):
    worker = play.begin()
    (play.tasks / "AddTask.py").write_text("2")
    play.until(lambda: play.lane.keeper.complete)
    for _ in range(3):
        id = ask_to_reload(play)
        worker.hear(Reload)
        worker.channel.send(Loading(name="Add"))
        play.until(lambda: play.lane.keeper.loading is not None)
        worker.die()
        assert outcome(play, id).says == "the worker ended while it loaded; the former tasks serve"
        worker = play.workers.get(timeout=SECONDS)
        play.until(lambda: play.lane.keeper.complete)
    assert set(play.copies) == {"1"}
    assert not worker.without, "the former version is not left out"


def test_a_ticket_waits_for_what_is_loaded_on_purpose_and_a_running_one_is_not_disturbed(play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear(Perform)
    worker.hear(ReadAhead)
    (play.tasks / "AddTask.py").write_text("2")
    ask_to_reload(play)
    play.until_looked(worker, one)
    assert worker.heard() == []
    worker.say(Performed, one)
    worker.hear(Reload)
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert play.row(second).state == "queued"
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    heard = []
    play.until(lambda: heard.extend(worker.heard()) or [each for each in heard if isinstance(each, Perform)])
    assert heard[-1].key == f"{second.id}/1"


def test_a_service_that_the_changed_files_no_longer_hold_is_withdrawn(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.complete)
    (play.tasks / "AddTask.py").unlink()
    id = ask_to_reload(play)
    assert not (worker.hear(Reload).copy / "AddTask.py").exists()
    worker.channel.send(Reloaded(services=(), refused=()))
    assert not outcome(play, id).failed
    play.until(lambda: play.bench.sources.offers_of(SOURCE) == [])


def test_a_service_is_loaded_anew_by_its_name_even_if_its_file_has_not_changed(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.complete)
    assert outcome(play, ask_to_reload(play)).says == "nothing has changed"
    (play.tasks / "BlurTask.py").write_text("1")
    ask_to_reload(play, "Add")
    assert worker.hear(Reload).files == ("AddTask.py",)


def test_a_service_that_was_left_out_is_loaded_when_it_is_asked_for(play):
    (play.tasks / "LiverTask.py").write_text("1")
    play.kept.take(play.kept.renewed({"LiverTask.py"}), ())
    worker = play.begin()
    play.until(lambda: play.lane.keeper.complete)
    play.lane.keeper.leave_out("Liver", "it was not loaded within 30 s")
    ask_to_reload(play, "Liver")
    assert worker.hear(Reload).files == ("LiverTask.py",)
    assert "Liver" not in play.lane.keeper.left_out


def test_files_that_cannot_be_copied_are_told_and_cost_no_worker(play, monkeypatch):
    def renewed(_names):
        raise OSError(28, "No space left on device")

    worker = play.begin()
    play.until(lambda: play.lane.keeper.complete)
    (play.tasks / "AddTask.py").write_text("2")
    monkeypatch.setattr(play.kept, "renewed", renewed)
    assert outcome(play, ask_to_reload(play)) == ReloadOutcome(
        failed=True,
        says="the files cannot be copied ([Errno 28] No space left on device); the former tasks serve",
    )
    assert play.lane.keeper.worker.pid == worker.process.pid


def test_a_service_that_no_file_offers_is_told(play):
    worker = play.begin()
    play.until(lambda: play.lane.keeper.complete)
    (play.tasks / "BlurTask.py").write_text("1")
    id = ask_to_reload(play, "Cut")
    worker.hear(Reload)
    worker.channel.send(Reloaded(services=("Add",), refused=()))
    assert outcome(play, id) == ReloadOutcome(failed=True, says="no file in the folder of tasks offers Cut")


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
    play.until(lambda: play.lane.keeper.offers)
    assert worker.is_ended()


def test_a_broken_sentence_of_a_task_reaches_its_client_cleaned(play):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear(Perform)
    said = {"is": "TicketRefused", "key": one.key, "detail": "series 1.2.3\0 of caf\udce9.dcm", "errors": []}
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
