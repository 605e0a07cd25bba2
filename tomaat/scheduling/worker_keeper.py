"""Keeps a worker for a lane: starts it, tells what it offers, and starts another when it has ended."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    Begin,
    ChannelClosed,
    DeviceBroken,
    DeviceUnusable,
    DeviceUsable,
    FromLane,
    FromWorker,
    KnownOffer,
    Loaded,
    Loading,
    MakeRoom,
    MessageRefused,
    NotOffered,
    Offered,
    RoomMade,
    WorkerReady,
)
from tomaat.processes.waker import Waker
from tomaat.scheduling.beside import Beside
from tomaat.scheduling.engine import Engine, Worker
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.offering import Offering
from tomaat.scheduling.suspects import Suspects
from tomaat.tickets.source_store import ITS_TASKS, Lease, SourceStore

Answer = TypeVar("Answer")

LONGEST_RESTART_SECONDS = 30.0
RETRY_SECONDS = 1.0
MOST_FAILURES = 6  #: whose pause is the longest
NONSENSE = "sent a message that cannot be read"  #: how a worker ended that was ended for it


class Stopping(Exception):
    """The lane was told to end."""


class LeaseLost(Stopping):
    """Somebody else holds the source."""


@dataclass(frozen=True, kw_only=True)
class WorkerEnded:
    """In place of a message: the worker has ended, or must end, in this way."""

    ending: str


class WorkerKeeper:
    """Holds the worker, what it offers, and the questions that it has not answered. Used by the lane's thread.

    ``ending`` tells whether the lane has to end.
    """

    def __init__(
        self,
        source: ComputeSource,
        sources: SourceStore,
        lease: Lease,
        engine: Engine,
        log: FilteringBoundLogger,
        *,
        times: LaneTimes,
        waker: Waker,
        ending: Callable[[], bool],
        kept: KeptTasks,
        beside: Beside,
    ) -> None:
        self.beside = beside
        self.kept = kept
        self.source = source
        self.sources = sources
        self.lease = lease
        self.engine = engine
        self.log = log
        self.times = times
        self.waker = waker
        self.ending = ending
        self.failures = 0
        self.suspects = Suspects(log)
        self._hold(None)

    def _hold(self, worker: Worker | None) -> None:
        self.worker = worker
        self.offering = Offering(
            self.sources, self.lease, self.log, load_seconds=self.times.load_seconds, beside=self.beside
        )
        self.broken: str | None = None  #: why the device can be used by this worker no longer
        self.ahead: int | None = None  #: the waiting ticket whose inputs the worker was told to read
        self.estimating: set[int] = set()  #: the tickets whose seconds the worker was asked for
        self.beside.tell(
            usable=False,
            offers={},
            complete=False,
            warm=(),
            performs=None,
            expects_bytes=None,
            alone=False,
            begun=self.beside.own.begun + 1,
            holds_bytes=0,
            ahead=None,
        )

    def tell(self, message: FromLane) -> None:
        """Send the worker a message; one that reads nothing is ended. That is heard later, after its last messages."""
        if self.worker is not None and self.worker.alive():
            try:
                self.worker.send(message)
            except ChannelClosed:
                self.worker.kill()

    def ready(self) -> bool:
        """Tell whether there is a worker, after an attempt to start one where there is none.

        Raises ``Stopping`` when the lane has to end meanwhile.
        """
        if self.worker is not None and self.worker.alive():
            return True
        if self.worker is not None:
            self.log.error("worker.died", ending=self.worker.ending())
            self.suspect_loading()
            self.end()
        if self.failures:
            self._sleep(min(LONGEST_RESTART_SECONDS, 0.5 * 2 ** min(self.failures, MOST_FAILURES)))
        return not self.ending() and self._start()

    def receive(self, seconds: float) -> FromWorker | WorkerEnded | None:
        """Wait for a message of the worker, a wake-up of the lane, or ``seconds``."""
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        if self.worker is not None:
            poll.register(self.worker, select.POLLIN)
            poll.register(self.worker.end_fd, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        self.waker.rest()
        if self.worker is None:
            return None
        if self.worker.fileno() in ready:
            return self._hear(self.worker)
        return WorkerEnded(ending=self.worker.ending()) if self.worker.end_fd in ready else None

    @property
    def has_message(self) -> bool:
        """Whether the worker has sent a message that is not taken yet."""
        return self.worker is not None and self.worker.has_message()

    def _hear(self, worker: Worker) -> FromWorker | WorkerEnded:
        try:
            return worker.receive()
        except ChannelClosed:
            return WorkerEnded(ending=worker.ending())
        except MessageRefused as error:
            self.log.error("worker.message_refused", reason=str(error))
            return WorkerEnded(ending=NONSENSE)

    def note(self, message: Loading | Loaded | Offered | NotOffered | WorkerReady | DeviceBroken | RoomMade) -> None:
        """Take a message of the worker about itself."""
        if isinstance(message, RoomMade):
            self.offering.note_room()
            return
        if isinstance(message, DeviceBroken):
            self.broken = message.reason
            self.log.error("device.broken", reason=message.reason)
            return
        self.offering.note(message)
        if isinstance(message, WorkerReady):
            self.failures = 0
            self.suspects.note_ready()
            self.log.info("source.ready", services=sorted(self.offering.offers), device=self.source.torch_device)

    def suspect_loading(self) -> None:
        """Note that the worker ended, and that what it was loading may be the cause."""
        if self.offering.loading is not None and not self.offering.reloads:  # else the former version is loaded again
            self.suspects.note_loading(self.offering.loading.name)

    def leave_out(self, name: str, reason: str) -> None:
        """Let the next workers do without a file of tasks, or without a service."""
        if not self.offering.reloads:
            self.suspects.leave_out(name, reason)

    def note_death(self, service: str, ending: str) -> None:
        """Note that the worker died with a ticket; deaths with several services are taken as the source's fault."""
        problem = self.suspects.note_death(service, ending)
        if problem is None:
            return
        self.log.error("source.unusable", reason=problem)
        with contextlib.suppress(DatabaseUnavailable):
            self._describe(problem)
        self.failures = MOST_FAILURES  # the next worker is started after the longest pause

    def make_room(self) -> None:
        """Let the worker give its networks' memory to the other lanes."""
        self.log.info("networks.make_room")
        self.tell(MakeRoom())

    def count_output(self, ticket: int) -> None:
        """Bound what is printed from now on as this ticket's."""
        if self.worker is not None:
            self.worker.count_output(ticket)

    def end(self) -> None:
        """Kill the worker, if there is one."""
        if self.worker is not None:
            self.worker.stop()
            self._hold(None)

    def _start(self) -> bool:
        self.failures += 1
        known = self._insist(lambda: self.sources.offers_of(self.source.name))
        try:
            worker = self.engine.start(
                self.source,
                self.kept.copy,
                self.beside.number,
                shared=self.beside.is_shared,
                ending=self.ending,
                python=self.kept.environment.python,
            )
        except OSError as error:
            not_started = f"no worker can be started: {error}"
            self.beside.tell(broken=not_started)
            self.log.error("worker.not_started", reason=str(error))
            self._insist(lambda: self._describe(not_started))
            return False
        if worker is None:
            return False
        self._hold(worker)
        if not self._insist(
            lambda: self.sources.note_worker(self.lease, self.beside.number, worker.pid, worker.started)
        ):
            raise LeaseLost
        problem = self._hear_of_device()
        self.beside.tell(usable=problem is None, broken=self._named(problem))
        self._insist(lambda: self._describe(problem))
        if not any(lane.complete for lane in self.beside.others):
            self._insist(lambda: self.sources.note_loading(self.lease, ITS_TASKS, 0.0))
        if problem is not None:
            self.log.error("source.unusable", reason=problem)
            self.end()
            return False
        for each in known:
            self.tell(KnownOffer(**each))
        self.tell(Begin(without=self.suspects.names()))
        return True

    def _hear_of_device(self) -> str | None:
        """Listen to a starting worker until it can use its device; return why it cannot, if so."""
        deadline = time.monotonic() + self.times.start_seconds
        while True:
            message = self.receive(deadline - time.monotonic())
            if self.ending():
                raise Stopping
            match message:
                case DeviceUsable():
                    return None
                case DeviceUnusable():
                    return message.reason
                case WorkerEnded():
                    return f"its worker {message.ending} while it started"
                case None if time.monotonic() >= deadline:
                    return f"its worker could not use the device within {self.times.start_seconds:g} s"

    def _named(self, problem: str | None) -> str | None:
        python = self.kept.environment.python
        return problem if problem is None or python is None else f"{python}: {problem}"

    def _describe(self, problem: str | None) -> None:
        """Write the source's problem; one that only this lane has is none of the source's."""
        if any(lane.usable for lane in self.beside.others):
            problem = None
        self.sources.describe(
            self.lease,
            device_name=self.source.device_name,
            memory_bytes=self.source.memory_bytes,
            problem=problem,
        )

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Repeat a safe question until the database answers. Raises ``Stopping`` when the lane has to end."""
        while True:
            try:
                return ask()
            except DatabaseUnavailable as error:
                self.log.warning("database.lost", reason=str(error))
                if self.ending():
                    raise Stopping from error
                self._sleep(RETRY_SECONDS)

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        deadline = time.monotonic() + seconds
        while not self.ending() and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.waker.rest()
