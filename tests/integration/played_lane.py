"""A lane on a real PostgreSQL and real folders, whose worker the test plays."""

import contextlib
import select
import subprocess
import threading
import time
from queue import SimpleQueue

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    DRAFT,
    FROM_LANE,
    Begin,
    Channel,
    ChannelClosed,
    DeviceUsable,
    KnownOffer,
    Offered,
    Packed,
    Perform,
    Performed,
    Progress,
    ReadAhead,
    WorkerReady,
)
from tomaat.scheduling.beside import LanesOfSource
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.lanes import Lane
from tomaat.scheduling.local_engine import LocalWorker
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.reload_store import ReloadStore

SOURCE = "here/cpu-0"
SECONDS = 60.0  #: after which the test gives up


class PlayedWorker:
    """The worker's end of a channel, and a process that does nothing."""

    def __init__(self, first_words=None, *, estimates=False, services=("Add",), ready=True, needs=None, file=True):
        self.file = file  #: whether the input of its services is a file
        self.needs = needs or {}  #: of a service: the bytes of its network, and its peak
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
            "interface": {"a": {"store": "file" if self.file else "mainjson"}},
            "deadline_seconds": 3600.0,
            "estimates": estimates,
            "example": {},
            "file": f"{service}Task.py",
            "trial": False,
            **dict.fromkeys(["intended_use", "licence", "reference", "contact", "kind"], ""),
            "weights_sha256": None,
        }
        facts = dict.fromkeys(["network_bytes", "peak_bytes", "load_seconds", "warm"])
        if service in self.needs:
            network, peak = self.needs[service]
            facts = {"network_bytes": network, "peak_bytes": peak, "load_seconds": 1.0, "warm": 1}
        self.channel.send(Offered(offer=offer, interface_hash=f"{service}-1", **facts))

    def say(self, what, job, **facts):
        self.channel.send(what(key=job.key, **facts))

    def hear(self, kind):
        """Take what the lane says next; it has to be of this kind."""
        while True:
            assert select.select([self.channel], [], [], SECONDS)[0], f"the lane said no {kind}"
            message = self.channel.receive()
            if isinstance(message, (KnownOffer, Begin)):
                self.note_begin(message)
            if isinstance(message, kind):
                return message
            assert isinstance(message, (KnownOffer, Begin)), message

    def note_begin(self, message):
        if isinstance(message, KnownOffer):
            self.known.append(message)
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
        self.services_of = {}  #: lanes of other environments offer others
        self.first_words = []
        self.estimates = False
        self.tasks = folder / "tasks"
        self.tasks.mkdir()
        (self.tasks / "AddTask.py").write_text("1")
        self.kept = KeptTasks(self.tasks, folder / "kept")
        self.reloads = ReloadStore(bench.database)
        self.store = bench.source(SOURCE)

    def begin(self, memory_bytes=None, **times):
        """Begin with one lane; return its worker."""
        (worker,) = self.begin_lanes(1, memory_bytes, **times)
        return worker

    def begin_lanes(self, count, memory_bytes=None, **times):
        """Begin with several lanes; return their workers in the lanes' order."""
        source = ComputeSource(
            name=SOURCE,
            device_name="CPU",
            memory_bytes=memory_bytes,
            torch_device="cpu",
            visible_devices="",
            services=None,
            problem=None,
        )
        self.lanes = LanesOfSource(memory_bytes, on_gpu=False)
        waits = {"grace_seconds": SECONDS, "cancel_seconds": SECONDS}
        waits |= {"poll_seconds": 0.05, "report_seconds": 0.02, "look_seconds": 0.05}
        self.all_lanes = [
            Lane(
                source,
                self.store if number == 1 else self.store_of(number),
                self.bench.sources,
                self.storage,
                self,
                attempts=3,
                times=LaneTimes(**(waits | times)),
                kept=self.kept if number == 1 else self.kept.twin(),
                reloads=self.reloads,
                lanes=self.lanes,
            )
            for number in range(1, count + 1)
        ]
        self.bench.sources.note_lanes(self.store.lease, count)
        self.lane = self.all_lanes[0]
        # a lane that never ends fails its test alone
        self.threads = [threading.Thread(target=lane.run, daemon=True) for lane in self.all_lanes]
        self.thread = self.threads[0]
        self.polling = threading.Thread(target=self._poll, daemon=True)
        for thread in (*self.threads, self.polling):
            thread.start()
        return sorted((self.workers.get(timeout=SECONDS) for _ in self.threads), key=lambda worker: worker.lane)

    def _poll(self):
        """Do what the main thread of TaskScheduling does: let the lanes look where tickets wait or run."""
        while any(thread.is_alive() for thread in self.threads):
            with contextlib.suppress(DatabaseUnavailable):
                if self.bench.sources.with_tickets([SOURCE]):
                    for lane in self.all_lanes:
                        lane.hear(at_once=True)
            time.sleep(0.05)

    def store_of(self, lane):
        return LaneStore(self.bench.database, self.store.lease, self.bench.hints.append, lane=lane)

    def start(self, _source, kept, lane, *, shared, ending, python=None):
        """Be the engine."""
        if ending():
            return None
        assert (shared, python) == (len(self.all_lanes) > 1, None)
        self.copies.append((kept / "AddTask.py").read_text())
        first_words = self.first_words.pop() if self.first_words else None
        services = {"services": self.services_of[lane]} if lane in self.services_of else {}
        played = PlayedWorker(first_words, estimates=self.estimates, **self.offering | services)
        played.lane = lane
        self.started.append(played)
        self.workers.put(played)
        return LocalWorker(process=played.process, channel=played.lane_end, started=1)

    def lane_that_hears(self, kind, workers):
        """Wait until one of the workers is told something of this kind, and return it; the rest is left."""
        give_up = time.monotonic() + SECONDS
        while time.monotonic() < give_up:
            for worker in workers:
                if select.select([worker.channel], [], [], 0.01)[0] and isinstance(worker.channel.receive(), kind):
                    return worker
        raise AssertionError(f"nobody was told {kind.__name__}")

    def queue(self, count, *, claim=0, service="Add"):
        tickets = []
        for _ in range(count):
            new = self.bench.new_ticket(service, folder=f"folder-{len(list(self.storage.tickets.iterdir()))}")
            self.storage.folder_of(new.folder).inputs.mkdir(parents=True)
            ticket = self.bench.web.submit(new)
            if claim or ticket.state == "submitted":  # else it went into the queue at once, and may run by now
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
        for lane in self.all_lanes:
            lane.hear(at_once=True)
        worker.say(Progress, job, fraction=0.5, stage=word)
        self.until(lambda: self.bench.run("SELECT FROM tickets WHERE stage = :word", word=word))

    def pass_limit(self, job, kind):
        """Let the moment have come at which a running ticket is ended in this way."""
        (run,) = (run for run in self.lane.running if run.key == job.key)
        self.until(lambda: kind in run.limits.moments)
        run.limits.moments[kind] = (time.monotonic(), run.limits.moments[kind][1])

    def close(self):
        for lane in self.all_lanes:
            lane.abandon()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        self.polling.join(SECONDS)
        for lane in self.all_lanes:
            lane.close()
        for worker in self.started:
            worker.process.kill()
            worker.process.wait()
            worker.channel.close()


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
