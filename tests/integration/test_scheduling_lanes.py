"""A lane on a real PostgreSQL and real folders, whose worker the test plays: one performs while another is packed."""

import contextlib
import select
import subprocess
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import pytest

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages.channel import Channel, ChannelClosed
from tomaat.scheduling.lanes import Lane
from tomaat.scheduling.local_engine import Worker
from tomaat.scheduling.patience import Patience
from tomaat.storage import Storage
from tomaat.worker.job import DRAFT

SOURCE = "here/cpu-0"
SECONDS = 60.0  #: after which the test gives up


class PlayedWorker:
    """The worker's end of a channel, and a process that does nothing."""

    def __init__(self):
        self.process = subprocess.Popen(["sleep", "600"])
        self.lane_end, there = Channel.pair()
        self.channel = Channel(there)
        offer = {
            "service": "Add",
            "description": "adds",
            "version": "1",
            "interface": {"a": {}},
            "deadline_seconds": 3600.0,
            "estimates": False,
        }
        self.channel.send({"is": "offer", "offer": offer, "interface_hash": "Add-1"})
        self.channel.send({"is": "ready"})

    def say(self, what, job, **facts):
        self.channel.send({"is": what, "key": job["key"], **facts})

    def hear(self, do=None):
        """Take what the lane says next; it has to be this, if given."""
        assert select.select([self.channel], [], [], SECONDS)[0], f"the lane said no {do}"
        message = self.channel.receive()
        assert do in {None, message["do"]}, message
        return message

    def heard(self):
        """Take all that the lane has said by now."""
        heard = []
        while select.select([self.channel], [], [], 0)[0]:
            heard.append(self.channel.receive()["do"])
        return heard

    def pack(self, job):
        (self.out_of(job) / "files").mkdir()
        (self.out_of(job) / DRAFT).write_bytes(b"a result")
        self.say("done", job)

    def out_of(self, job):
        return Path(job["out"])

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
        self.needs_told = []
        self.store = bench.source(SOURCE)

    def begin(self, memory_bytes=None, **patience):
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
            patience=Patience(**(waits | patience)),
        )
        self.thread = threading.Thread(target=self.lane.run)
        self.thread.start()
        return self.workers.get(timeout=SECONDS)

    def start(self, _source, needs):
        """Be the engine."""
        self.needs_told.append(needs)
        played = PlayedWorker()
        self.started.append(played)
        self.workers.put(played)
        return Worker(process=played.process, channel=played.lane_end, started=1)

    def queue(self, count, *, claim=0):
        tickets = []
        for _ in range(count):
            new = self.bench.new_ticket(folder=f"folder-{len(list(self.storage.tickets.iterdir()))}")
            self.storage.ticket(new.folder).inputs.mkdir(parents=True)
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
        worker.say("progress", job, fraction=0.5, stage=word)
        self.until(lambda: self.bench.run("SELECT FROM tickets WHERE stage = :word", word=word))

    def pass_limit(self, job, reason):
        """Let the moment have come at which a running ticket is ended for this reason."""
        (run,) = (run for run in self.lane.running if run.key == job["key"])
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
    one = worker.hear("perform")
    worker.hear("prepare")
    worker.say("performed", one)
    two = worker.hear("perform")
    if more:
        worker.hear("prepare")
    return (first, one), (second, two), *others


def test_a_ticket_is_read_ahead_without_being_claimed_and_claimed_once_the_device_is_free(play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear("perform")
    assert one["inputs"] == str(play.storage.ticket(first.folder).inputs)
    assert worker.hear("prepare")["inputs"] == str(play.storage.ticket(second.folder).inputs)
    play.until_looked(worker, one)
    assert (play.row(second).state, play.row(second).claim) == ("queued", 0)
    worker.say("performed", one)
    assert worker.hear("perform")["inputs"] == str(play.storage.ticket(second.folder).inputs)
    assert [play.row(ticket).state for ticket in (first, second)] == ["running", "running"]
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert play.storage.result_of(first.folder, 1).read_bytes() == b"a result"
    assert play.row(second).state == "running"


def test_no_third_ticket_is_claimed_while_one_is_packed_and_another_waits_for_that(play):
    worker = play.begin()
    (_, one), (_, two), third = two_under_way(play, worker, more=1)
    worker.say("performed", two)
    play.until_looked(worker, two)
    assert play.row(third).state == "queued"
    worker.pack(one)
    assert worker.hear("perform")["key"] == f"{third.id}/1"


def test_a_ticket_that_was_read_ahead_and_is_given_up_is_forgotten(play):
    worker = play.begin()
    first, second = play.queue(2)
    one = worker.hear("perform")
    worker.hear("prepare")
    assert play.bench.web.cancel(second).state == "cancelled"
    worker.hear("forget")
    worker.say("performed", one)
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert worker.heard() == []


def test_a_ticket_that_was_read_ahead_and_moves_to_another_source_makes_way_for_the_next(play):
    worker = play.begin()
    _, second, third = play.queue(3)
    worker.hear("perform")
    worker.hear("prepare")
    play.bench.queue(second, "here/cpu-1")
    assert worker.hear("prepare")["inputs"] == str(play.storage.ticket(third.folder).inputs)


def test_a_packing_tickets_cancelling_never_ends_the_worker(play):
    worker = play.begin(cancel_seconds=0.0)
    (first, one), (second, two) = two_under_way(play, worker)
    assert play.bench.web.cancel(first).state == "running"
    assert worker.hear("cancel")["key"] == one["key"]
    play.until_looked(worker, two)
    worker.say("cancelled", one)
    play.until_state(first, "cancelled")
    assert play.row(second).state == "running"
    assert not (play.storage.ticket(first.folder).path / "out/1").exists()
    assert play.started == [worker]


@pytest.mark.parametrize("how", ["deadline", "too slow to cancel"])
def test_a_result_is_packed_before_the_worker_is_ended_for_the_sake_of_another_ticket(play, how):
    worker = play.begin(cancel_seconds=0.0)
    (first, one), (second, two) = two_under_way(play, worker)
    if how == "deadline":
        play.pass_limit(two, "deadline")
    else:
        play.bench.web.cancel(second)
        assert worker.hear("cancel")["key"] == two["key"]
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
    one = after.hear("perform")
    assert one["key"] == f"{first.id}/2"
    after.say("performed", one)
    play.until_looked(after, one)
    assert after.heard() == [], "neither is anything read ahead beside it"
    assert play.row(second).state == "queued"
    after.die()
    play.until(lambda: play.row(first).attempts == 1)
    play.bench.run("UPDATE tickets SET state = 'cancelled', finished = now() WHERE id = :id", id=first.id)
    last = play.workers.get(timeout=SECONDS)
    two = last.hear("perform")
    assert two["key"] == f"{second.id}/2"
    last.say("performed", two)
    last.pack(two)
    assert last.hear("perform")["key"] == f"{third.id}/1"


def test_a_ticket_that_runs_again_waits_until_the_result_before_it_is_packed(play):
    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear("perform")
    (again,) = play.queue(1, claim=1)
    worker.say("performed", one)
    play.until_looked(worker, one)
    assert play.row(again).state == "queued"
    assert worker.heard() == [], "nor is it read ahead"
    worker.pack(one)
    assert worker.hear("perform")["key"] == f"{again.id}/2"
    play.until_state(first, "succeeded")


def test_a_ticket_waits_until_the_result_of_one_that_runs_again_is_packed(play):
    worker = play.begin()
    (again,) = play.queue(1, claim=1)
    one = worker.hear("perform")
    assert one["key"] == f"{again.id}/2"
    (fresh,) = play.queue(1)
    worker.say("performed", one)
    play.until_looked(worker, one)
    assert play.row(fresh).state == "queued"
    assert worker.heard() == [], "nor is it read ahead"
    worker.pack(one)
    assert worker.hear("perform")["key"] == f"{fresh.id}/1"


def test_a_worker_that_dies_with_one_ticket_spends_its_attempt(play):
    worker = play.begin()
    (first,) = play.queue(1)
    worker.hear("perform")
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
    play.lane.stop()
    play.thread.join(SECONDS)
    assert worker.is_ended()
    for ticket in (first, second):
        row = play.row(ticket)
        assert (row.state, row.attempts) == ("submitted", 0)


def test_a_door_that_stops_lets_both_finish_within_the_grace_time_and_claims_no_other(play):
    worker = play.begin()
    (first, one), (second, two), third = two_under_way(play, worker, more=1)
    play.lane.stop()
    worker.pack(one)
    play.until_state(first, "succeeded")
    worker.say("performed", two)
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
    assert not worker.out_of(one).exists()


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
    one = worker.hear("perform")
    worker.hear("prepare")
    claim = play.store.claim

    def claim_and_lose_the_answer(*arguments, **named):
        if claim(*arguments, **named) is not None:
            raise DatabaseUnavailable("gone after the commit")

    monkeypatch.setattr(play.store, "claim", claim_and_lose_the_answer)
    worker.say("performed", one)
    two = worker.hear("perform")
    assert two["key"] == f"{second.id}/1"
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
    one = worker.hear("perform")
    succeed = play.store.succeed

    def succeed_and_lose_the_answer(*arguments, **named):
        succeed(*arguments, **named)
        raise DatabaseUnavailable("gone after the commit")

    monkeypatch.setattr(play.store, "succeed", succeed_and_lose_the_answer)
    play.lane.stop()
    worker.say("performed", one)
    worker.pack(one)
    play.thread.join(SECONDS)
    assert play.row(first).state == "succeeded"
    assert play.storage.result_of(first.folder, 1).exists()


def test_a_slow_disk_holds_up_no_other_ticket(play, monkeypatch):
    worker = play.begin()
    (first, one), (second, two) = two_under_way(play, worker)
    seal, goes_on = play.storage.seal_result, threading.Event()
    monkeypatch.setattr(play.storage, "seal_result", lambda draft: goes_on.wait(SECONDS) and seal(draft))
    worker.pack(one)
    play.until_looked(worker, two)
    assert play.bench.web.cancel(second).state == "running"
    worker.hear("cancel")
    goes_on.set()
    play.until_state(first, "succeeded")


def test_a_result_that_finds_the_disk_full_is_put_back_and_the_other_ticket_goes_on(play):
    worker = play.begin()
    (first, one), (second, two) = two_under_way(play, worker)
    worker.say("disk_full", one)
    play.until_state(first, "submitted")
    assert play.row(first).attempts == 0
    worker.say("performed", two)
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


NEEDS = {"service": "Add", "network_bytes": 5, "peak_bytes": 7, "load_seconds": 3.0, "warm": ["Add"]}


def test_what_a_worker_has_measured_is_told_to_the_next_one(play):
    worker = play.begin()
    play.queue(1)
    one = worker.hear("perform")
    worker.say("needs", one, **NEEDS, loading_seconds=0.0)
    worker.say("crashed", one, problem={})
    play.until(lambda: play.bench.sources.needs_of(SOURCE) == [("Add-1", "1", 5, 7, 3.0)])
    worker.die()
    play.workers.get(timeout=SECONDS)
    assert play.needs_told == [[], [("Add-1", "1", 5, 7, 3.0)]]


def test_the_loading_of_a_network_is_no_part_of_its_tickets_duration(play):
    worker = play.begin()
    (first, one), (second, two) = two_under_way(play, worker)
    worker.say("needs", two, **NEEDS, loading_seconds=1000.0)
    worker.pack(one)
    play.until_state(first, "succeeded")
    assert play.bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds >= 0, "it was the other one's"
    play.bench.run("DELETE FROM durations")
    worker.say("performed", two)
    worker.pack(two)
    play.until_state(second, "succeeded")
    assert -1000 < play.bench.run("SELECT mean_seconds FROM durations")[0].mean_seconds < -1000 + SECONDS


def test_needs_that_the_database_does_not_take_hold_up_nothing(play, monkeypatch):
    def away(*_arguments):
        raise DatabaseUnavailable("away")

    worker = play.begin()
    (first,) = play.queue(1)
    one = worker.hear("perform")
    monkeypatch.setattr(play.bench.sources, "note_needs", away)
    worker.say("needs", one, **NEEDS, loading_seconds=0.0)
    worker.say("performed", one)
    worker.pack(one)
    play.until_state(first, "succeeded")


def test_a_ticket_that_outgrew_its_source_is_put_back_for_a_larger_one(play):
    play.bench.source("here/GPU-larger", memory_bytes=200)
    worker = play.begin(memory_bytes=100)
    (first,) = play.queue(1)
    worker.say("outgrown", worker.hear("perform"), problem={"detail": "too large"})
    play.until_state(first, "submitted")
    assert play.bench.run("SELECT outgrown_bytes FROM tickets")[0].outgrown_bytes == 100
    assert play.row(first).attempts == 0


def test_a_ticket_that_outgrew_the_largest_source_fails_with_the_workers_words(play):
    worker = play.begin(memory_bytes=100)
    (first,) = play.queue(1)
    worker.say("outgrown", worker.hear("perform"), problem={"detail": "too large"})
    play.until_state(first, "failed")
    assert play.row(first).error == {"detail": "too large"}
