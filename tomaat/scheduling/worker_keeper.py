"""Keeps a worker for a lane: starts it, tells what it offers, and starts another when it has ended."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    ChannelClosed,
    DeviceUnusable,
    FromLane,
    FromWorker,
    Measured,
    MessageRefused,
    NotOffered,
    Offered,
    WorkerReady,
)
from tomaat.processes.waker import Waker
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.local_engine import LocalEngine, Worker
from tomaat.tickets.source_store import Lease, SourceStore

Answer = TypeVar("Answer")

LONGEST_RESTART_SECONDS = 30.0
RETRY_SECONDS = 1.0
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
    """Holds the worker, its offers, and the questions that it has not answered. Used by the lane's thread.

    ``ending`` tells whether the lane has to end.
    """

    def __init__(
        self,
        source: ComputeSource,
        sources: SourceStore,
        lease: Lease,
        engine: LocalEngine,
        log: FilteringBoundLogger,
        *,
        times: LaneTimes,
        waker: Waker,
        ending: Callable[[], bool],
    ) -> None:
        self.source = source
        self.sources = sources
        self.lease = lease
        self.engine = engine
        self.log = log
        self.times = times
        self.waker = waker
        self.ending = ending
        self.failures = 0
        self._hold(None)

    def _hold(self, worker: Worker | None) -> None:
        self.worker = worker
        self.offers: dict[str, Offered] = {}
        self.ahead: int | None = None  #: the waiting ticket whose inputs the worker was told to read
        self.estimating: set[int] = set()  #: the tickets whose seconds the worker was asked for

    @property
    def interface_hashes(self) -> list[str]:
        """The hashes of the interfaces that the worker runs."""
        return [offered.interface_hash for offered in self.offers.values()]

    def tell(self, message: FromLane) -> None:
        """Send the worker a message. That it has ended is heard later, after its last messages."""
        if self.worker is not None:
            with contextlib.suppress(ChannelClosed):
                self.worker.send(message)

    def ready(self) -> bool:
        """Tell whether there is a worker, after an attempt to start one where there is none.

        Raises ``Stopping`` when the lane has to end meanwhile.
        """
        if self.worker is not None and self.worker.alive():
            return True
        if self.worker is not None:
            self.log.error("worker.died", ending=self.worker.ending())
            self.end()
        if self.failures:
            self._sleep(min(LONGEST_RESTART_SECONDS, 0.5 * 2**self.failures))
        return not self.ending() and self._start()

    def receive(self, seconds: float) -> FromWorker | WorkerEnded | None:
        """Wait for a message of the worker, a wake-up of the lane, or ``seconds``."""
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        if self.worker is not None:
            poll.register(self.worker, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        self.waker.rest()
        return self._hear(self.worker) if self.worker is not None and self.worker.fileno() in ready else None

    def _hear(self, worker: Worker) -> FromWorker | WorkerEnded:
        try:
            return worker.receive()
        except ChannelClosed:
            return WorkerEnded(ending=worker.ending())
        except MessageRefused as error:
            self.log.error("worker.message_refused", reason=str(error))
            return WorkerEnded(ending=NONSENSE)

    def count_output(self, ticket: int) -> None:
        """Bound what is printed from now on as this ticket's."""
        if self.worker is not None and self.worker.output is not None:
            self.worker.output.begin(ticket)

    def note_measured(self, measured: Measured) -> None:
        """Write a measurement; one that the database did not take comes again with the next change."""
        try:
            self.sources.note_needs(self.lease, {**asdict(measured), "warm": list(measured.warm)})
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))

    def end(self) -> None:
        """Kill the worker, if there is one."""
        if self.worker is not None:
            self.worker.stop()
            self._hold(None)

    def _start(self) -> bool:
        self.failures += 1
        needs = self._insist(lambda: self.sources.needs_of(self.source.name))
        try:
            worker = self.engine.start(self.source, needs)
        except OSError as error:
            self.log.error("worker.not_started", reason=str(error))
            return False
        self._hold(worker)
        if not self._insist(lambda: self.sources.note_worker(self.lease, worker.pid, worker.started)):
            raise LeaseLost
        problem = self._hear_offers()
        self._insist(lambda: self._describe(problem))
        if problem is not None:
            self.log.error("source.unusable", reason=problem)
            self.end()
            return False
        self._insist(lambda: self.sources.offer(self.lease, [as_row(offered) for offered in self.offers.values()]))
        self.failures = 0
        self.log.info("source.ready", services=sorted(self.offers), device=self.source.torch_device)
        return True

    def _hear_offers(self) -> str | None:
        """Listen to a starting worker until it is ready; return why it is not, if so."""
        deadline = time.monotonic() + self.times.start_seconds
        while True:
            message = self.receive(deadline - time.monotonic())
            if self.ending():
                raise Stopping
            match message:
                case Offered():
                    self.offers[message.service] = message
                case NotOffered():
                    self.log.error("task.refused", reason=message.reason)
                case WorkerReady():
                    return None
                case DeviceUnusable():
                    return message.reason
                case WorkerEnded():
                    return f"its worker {message.ending} while it started"
                case None if time.monotonic() >= deadline:
                    return f"its worker was not ready within {self.times.start_seconds:g} s"

    def _describe(self, problem: str | None) -> None:
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


def as_row(offered: Offered) -> dict[str, object]:
    """Give an offer as ``SourceStore.offer`` writes it."""
    return {**asdict(offered), "service": offered.service}
