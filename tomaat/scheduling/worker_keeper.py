"""Keeps a worker for a lane: starts it, says what it offers, and starts another when it is gone."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.processes.waker import Waker
from tomaat.scheduling.held_worker import HeldWorker
from tomaat.scheduling.local_engine import LocalEngine
from tomaat.scheduling.patience import Patience
from tomaat.tickets.source_store import Lease, SourceStore

Answer = TypeVar("Answer")

LONGEST_RESTART_SECONDS = 30.0
RETRY_SECONDS = 1.0


class Stopping(Exception):
    """The lane was told to end."""


class LeaseLost(Stopping):
    """Somebody else holds the source."""


class WorkerKeeper:
    """Used by the lane's thread; ``ending`` tells whether the lane has to end."""

    def __init__(
        self,
        source: ComputeSource,
        sources: SourceStore,
        lease: Lease,
        engine: LocalEngine,
        log: FilteringBoundLogger,
        *,
        patience: Patience,
        waker: Waker,
        ending: Callable[[], bool],
    ) -> None:
        self.source = source
        self.sources = sources
        self.lease = lease
        self.engine = engine
        self.log = log
        self.patience = patience
        self.waker = waker
        self.ending = ending
        self.worker: HeldWorker | None = None
        self.failures = 0

    def ready(self) -> bool:
        """Tell whether there is a worker, after an attempt to start one where there is none.

        Raises ``Stopping`` when the lane has to end meanwhile.
        """
        if self.worker is not None and self.worker.process.alive():
            return True
        if self.worker is not None:
            self.log.error("worker.died", ending=self.worker.process.ending())
            self.end()
        if self.failures:
            self._sleep(min(LONGEST_RESTART_SECONDS, 0.5 * 2**self.failures))
        return not self.ending() and self._start()

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Wait for a message of the worker, a wake-up of the lane, or ``seconds``."""
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        if self.worker is not None:
            poll.register(self.worker, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        self.waker.rest()
        return self.worker.hear() if self.worker is not None and self.worker.fileno() in ready else None

    def note_needs(self, needs: dict[str, Any]) -> None:
        """Keep what the worker has measured; what the database did not take is told again with the next change."""
        try:
            self.sources.note_needs(self.lease, needs)
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))

    def end(self) -> None:
        """Kill the worker, if there is one."""
        if self.worker is not None:
            self.worker.process.stop()
            self.worker = None

    def _start(self) -> bool:
        self.failures += 1
        needs = self._insist(lambda: self.sources.needs_of(self.source.name))
        try:
            worker = HeldWorker(self.engine.start(self.source, needs))
        except OSError as error:
            self.log.error("worker.not_started", reason=str(error))
            return False
        self.worker = worker
        if not self._insist(lambda: self.sources.note_worker(self.lease, worker.process.pid, worker.process.started)):
            raise LeaseLost
        problem = self._hear_offers(worker)
        self._insist(lambda: self._describe(problem))
        if problem is not None:
            self.log.error("source.unusable", reason=problem)
            self.end()
            return False
        self._insist(lambda: self.sources.offer(self.lease, list(worker.offers.values())))
        self.failures = 0
        self.log.info("source.ready", services=sorted(worker.offers), device=self.source.torch_device)
        return True

    def _hear_offers(self, worker: HeldWorker) -> str | None:
        """Listen to a starting worker until it is ready; return why it is not, if so."""
        deadline = time.monotonic() + self.patience.start_seconds
        while True:
            message = self.receive(deadline - time.monotonic())
            if self.ending():
                raise Stopping
            if message is None:
                if time.monotonic() < deadline:
                    continue
                return f"its worker was not ready within {self.patience.start_seconds:g} s"
            if message["is"] == "offer":
                worker.offers[message["offer"]["service"]] = {**message, "service": message["offer"]["service"]}
            elif message["is"] == "problem":
                self.log.error("task.refused", reason=message["reason"])
            elif message["is"] == "ready":
                return None
            elif message["is"] == "ended":
                return f"its worker {message['ending']} while it started"
            else:  # unusable
                return str(message["reason"])

    def _describe(self, problem: str | None) -> None:
        self.sources.describe(
            self.lease,
            device_name=self.source.device_name,
            memory_bytes=self.source.memory_bytes,
            problem=problem,
        )

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Repeat what is safe to repeat until the database answers; ``Stopping`` when the lane has to end first."""
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
