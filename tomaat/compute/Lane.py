"""One compute source's way of tickets: claim the oldest, hand it to the worker, record progress and the end."""

from __future__ import annotations

import select
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog

from tomaat.compute.Channel import ChannelClosed
from tomaat.compute.ComputeSource import ComputeSource
from tomaat.compute.Job import DRAFT
from tomaat.compute.Limits import Limits
from tomaat.compute.LocalEngine import LocalEngine, Worker
from tomaat.compute.Patience import Patience
from tomaat.database import DatabaseUnavailable
from tomaat.disk import bytes_below, is_disk_full
from tomaat.problems import deadline_passed, result_not_stored, worker_died
from tomaat.tickets import LaneStore, Lease, SourceStore, Storage, Ticket
from tomaat.Waker import Waker

log = structlog.get_logger()
Answer = TypeVar("Answer")

LONGEST_RESTART_SECONDS = 30.0
RETRY_SECONDS = 1.0
LEAST_ROOM_BYTES = 64 * 1024**2  #: free, before a lane that found the disk full claims again


class Stopping(Exception):
    """The lane was told to end: its lease is lost, or the door stops."""


class Lane:
    """Runs in a thread of its own, from when the source's lease was taken until it is lost or the door stops."""

    def __init__(
        self,
        source: ComputeSource,
        store: LaneStore,
        sources: SourceStore,
        storage: Storage,
        engine: LocalEngine,
        *,
        attempts: int,
        patience: Patience,
    ) -> None:
        self.source = source
        self.store = store
        self.sources = sources
        self.storage = storage
        self.engine = engine
        self.attempts = attempts
        self.patience = patience
        self.log = log.bind(source=source.name)
        self.worker: Worker | None = None
        self.offers: dict[str, dict[str, Any]] = {}
        self.estimating = False
        self.not_estimated: set[int] = set()
        self.outcome_unknown = False
        self.room_bytes = 0
        self.failures = 0
        self.stop_asked = False
        self.lease_lost = False
        self.waker = Waker()

    @property
    def lease(self) -> Lease:
        """The lease under which this lane claims."""
        return self.store.lease

    def wake(self) -> None:
        """Let the lane look again; any thread may call it."""
        self.waker.wake()

    def stop(self) -> None:
        """Ask the lane to end; a running ticket gets the grace time, then it is put back."""
        self.stop_asked = True
        self.wake()

    def abandon(self) -> None:
        """End the lane because somebody else holds the source now."""
        self.lease_lost = True
        self.wake()

    def run(self) -> None:
        """Claim and run tickets until told to end."""
        try:
            while not self._ending():
                if self._has_room() and self._has_worker():
                    self._run_next()
        except Stopping:
            pass
        finally:
            if self.worker is not None:
                self.worker.stop()
            self.waker.close()

    def _ending(self) -> bool:
        return self.stop_asked or self.lease_lost

    def _has_room(self) -> bool:
        """Wait, after a result found the disk full, until there is room for such a one."""
        if not self.room_bytes:
            return True
        if shutil.disk_usage(self.storage.base).free < self.room_bytes:
            self._sleep(self.patience.poll_seconds)
            return False
        self.log.info("storage.has_room")
        self.room_bytes = 0
        return True

    # The worker

    def _has_worker(self) -> bool:
        if self.worker is not None and self.worker.alive():
            return True
        if self.worker is not None:
            self._lose_worker()
        if self.failures:
            self._sleep(min(LONGEST_RESTART_SECONDS, 0.5 * 2**self.failures))
        if self._ending():
            return False
        return self._start_worker()

    def _start_worker(self) -> bool:
        self.failures += 1
        try:
            self.worker = self.engine.start(self.source)
        except OSError as error:
            self.log.error("worker.not_started", reason=str(error))
            return False
        if not self._insist(lambda: self.sources.note_worker(self.lease, self._held().pid, self._held().started)):
            self.lease_lost = True
            raise Stopping
        problem = self._hear_offers()
        self._insist(lambda: self._describe(problem))
        if problem is not None:
            self.log.error("source.unusable", reason=problem)
            self._lose_worker()
            return False
        self._insist(lambda: self.sources.offer(self.lease, list(self.offers.values())))
        self.store.ask_for_work()
        self.failures = 0
        self.log.info("source.ready", services=sorted(self.offers), device=self.source.torch_device)
        return True

    def _hear_offers(self) -> str | None:
        """Listen to a starting worker until it is ready; return why it is not, if so."""
        self.offers = {}
        deadline = time.monotonic() + self.patience.start_seconds
        while True:
            message = self._receive(deadline - time.monotonic())
            if self._ending():
                raise Stopping
            if message is None:
                if time.monotonic() < deadline:
                    continue
                return f"its worker was not ready within {self.patience.start_seconds:g} s"
            if message["is"] == "offer":
                self.offers[message["offer"]["service"]] = {**message, "service": message["offer"]["service"]}
            elif message["is"] == "problem":
                self.log.error("task.refused", reason=message["reason"])
            elif message["is"] == "ready":
                return None
            else:  # "unusable", or "ended": the worker died while it started
                return str(message["reason"])

    def _describe(self, problem: str | None) -> None:
        self.sources.describe(
            self.lease,
            device_name=self.source.device_name,
            memory_bytes=self.source.memory_bytes,
            problem=problem,
        )

    def _lose_worker(self) -> str:
        ending = self._held().ending()
        self._held().stop()
        self.worker = None
        self.estimating = False
        return ending

    def _kill_worker(self) -> None:
        self._held().stop()
        self.worker = None
        self.estimating = False

    def _held(self) -> Worker:
        if self.worker is None:
            raise RuntimeError("the lane has no worker now")
        return self.worker

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """Wait for a message of the worker, a ``wake()``, or ``seconds``; a dead worker's message is ``ended``."""
        poll = select.poll()
        poll.register(self._held().channel.fileno(), select.POLLIN)
        poll.register(self.waker, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        self.waker.rest()
        if self._held().channel.fileno() not in ready:
            return None
        try:
            return self._held().channel.receive()
        except ChannelClosed:
            return {"is": "ended", "reason": f"its worker {self._held().ending()} while it started"}

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        deadline = time.monotonic() + seconds
        while not self._ending() and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.waker.rest()

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Repeat what is safe to repeat until the database answers; ``Stopping`` when the lane has to end first."""
        while True:
            try:
                return ask()
            except DatabaseUnavailable as error:
                self.log.warning("database.lost", reason=str(error))
                if self._ending():
                    raise Stopping from error
                self._sleep(RETRY_SECONDS)

    # One ticket

    def _run_next(self) -> None:
        """Claim a ticket and run it to an end, or wait a while for one."""
        ticket = self._claim()
        if ticket is not None:
            self.log.info("ticket.claimed", ticket=ticket.id, service=ticket.service, claim=ticket.claim)
            self._run_ticket(ticket)
            return
        try:
            self._ask_estimates()
        except ChannelClosed:
            self._lose_worker()
            return
        message = self._receive(self.patience.poll_seconds)
        if message is not None and message["is"] == "estimated":
            self._note_estimates(message["seconds"])
        elif message is not None and message["is"] == "ended":
            self.log.error("worker.died", ending=self._lose_worker())

    def _claim(self) -> Ticket | None:
        hashes = [offer["interface_hash"] for offer in self.offers.values()]
        try:
            if self.outcome_unknown:
                ticket = self.store.left_running()
                self.outcome_unknown = False
                if ticket is not None:
                    return ticket
            ticket = self.store.claim(hashes)
            if ticket is None:
                self.store.ask_for_work()
        except DatabaseUnavailable as error:
            if not self.outcome_unknown:
                self.log.warning("database.lost", reason=str(error))
            self.outcome_unknown = True
            self._sleep(RETRY_SECONDS)
            return None
        return ticket

    def _run_ticket(self, ticket: Ticket) -> None:
        folder = self.storage.ticket(ticket.folder)
        out = folder.claim(ticket.claim)
        began = time.monotonic()
        try:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(mode=0o700, parents=True)
            self._held().channel.send(
                {
                    "do": "perform",
                    "key": key_of(ticket),
                    "service": ticket.service,
                    "inputs": str(folder.inputs),
                    "out": str(out),
                    "source": self.source.name,
                }
            )
            message = self._follow(ticket)
        except ChannelClosed:
            message = {"is": "ended"}
        except OSError as error:
            message = self._not_stored(ticket, error)
        kept = False
        try:
            kept = self._end(ticket, message, time.monotonic() - began)
        finally:
            if not kept:
                shutil.rmtree(out, ignore_errors=True)

    def _follow(self, ticket: Ticket) -> dict[str, Any]:
        """Record the running ticket's progress until the worker says how it ended, or has to be ended."""
        limits = Limits(deadline_seconds=float(self.offers[ticket.service]["offer"]["deadline_seconds"]))
        report: dict[str, Any] | None = None
        written = time.monotonic()
        while (due := self._due(limits)) is None:
            longest = self.patience.report_seconds if report else self.patience.poll_seconds
            message = self._receive(limits.left(longest))
            if message is not None and message["is"] == "progress":
                report = message
            elif message is not None and message["is"] == "estimated":
                self._note_estimates(message["seconds"])
            elif message is not None:
                return message
            if message is None or time.monotonic() - written >= self.patience.report_seconds:
                if not self._record(ticket, report, limits):
                    return {"is": "lost"}
                report, written = None, time.monotonic()
                self._ask_estimates()
        return {"is": due}

    def _due(self, limits: Limits) -> str | None:
        """Tell why a running ticket has to be ended now, if so."""
        if self.lease_lost:
            return "lost"
        if self.stop_asked:
            limits.allow("stopped", self.patience.grace_seconds)
        return limits.due()

    def _record(self, ticket: Ticket, report: dict[str, Any] | None, limits: Limits) -> bool:
        """Write progress, if any, and hear whether the client gave the ticket up; ``False``: not ours any longer."""
        try:
            if report is None:
                given_up = self.store.look(ticket)
            else:
                given_up = self.store.report(ticket, report["fraction"], report["stage"])
        except DatabaseUnavailable:
            return True  # the work goes on; the end is insisted on
        if given_up and limits.allow("too_slow_to_cancel", self.patience.cancel_seconds):
            self._held().channel.send({"do": "cancel", "key": key_of(ticket)})
        return given_up is not None

    def _end(self, ticket: Ticket, message: dict[str, Any], seconds: float) -> bool:
        """Bring the ticket to the end that ``message`` tells; returns whether its result is kept."""
        end = message["is"]
        if end == "done":
            return self._succeed(ticket, seconds)
        if end in {"refused", "crashed"}:
            self._insist(lambda: self.store.fail(ticket, message["problem"]))
            self.log.info("ticket.failed", ticket=ticket.id, reason=end)
        elif end in {"cancelled", "too_slow_to_cancel"}:
            if end == "too_slow_to_cancel":
                self._kill_worker()
            self._insist(lambda: self.store.cancelled(ticket))
            self.log.info("ticket.cancelled", ticket=ticket.id)
        elif end == "deadline":
            self._kill_worker()
            problem = deadline_passed(ticket.service, self.offers[ticket.service]["offer"]["deadline_seconds"])
            self._insist(lambda: self.store.fail(ticket, problem))
            self.log.warning("ticket.failed", ticket=ticket.id, reason="deadline")
        elif end == "lost":
            self._kill_worker()
            self.log.warning("ticket.lost", ticket=ticket.id, claim=ticket.claim)
        elif end == "stopped":
            self._kill_worker()
            self._insist(lambda: self.store.put_back(ticket))
            self.log.info("ticket.put_back", ticket=ticket.id)
        elif end == "disk_full":
            self._put_back_until_room(ticket)
        elif end == "not_stored":
            self._give_up_attempt(ticket, result_not_stored())
        else:
            ending = self._lose_worker()
            self.log.error("worker.died", ticket=ticket.id, ending=ending)
            self._give_up_attempt(ticket, worker_died(ending, ticket.attempts + 1))
        return False

    def _succeed(self, ticket: Ticket, seconds: float) -> bool:
        out = self.storage.ticket(ticket.folder).claim(ticket.claim)
        try:
            shutil.rmtree(out / "files")
            sha256, size_bytes = self.storage.seal_result(out / DRAFT)
        except OSError as error:
            return self._end(ticket, self._not_stored(ticket, error), seconds)
        kept = self._insist(lambda: self.store.succeed(ticket, sha256=sha256, size_bytes=size_bytes, seconds=seconds))
        if kept:
            self._remove_earlier_claims(out)
        self.log.info("ticket.succeeded" if kept else "ticket.too_late", ticket=ticket.id, claim=ticket.claim)
        return kept

    def _not_stored(self, ticket: Ticket, error: OSError) -> dict[str, Any]:
        """Tell a full disk, which is waited out, from one that spends an attempt."""
        if is_disk_full(error, self.storage.base):
            return {"is": "disk_full"}
        self.log.error("result.not_stored", ticket=ticket.id, error=type(error).__name__)
        return {"is": "not_stored"}

    def _put_back_until_room(self, ticket: Ticket) -> None:
        """Let a ticket whose result does not fit wait, no attempt spent; the lane claims none before there is room."""
        written = bytes_below(self.storage.ticket(ticket.folder).claim(ticket.claim))
        self.room_bytes = max(LEAST_ROOM_BYTES, 2 * written)
        self.log.error("storage.full", ticket=ticket.id, waits_for_free_bytes=self.room_bytes)
        self._insist(lambda: self.store.put_back(ticket))

    def _remove_earlier_claims(self, out: Path) -> None:
        """Remove what workers that died have left; nobody else runs a ticket that succeeded."""
        for other in out.parent.iterdir():
            if other != out:
                shutil.rmtree(other, ignore_errors=True)

    def _give_up_attempt(self, ticket: Ticket, problem: dict[str, Any]) -> None:
        state = self._insist(lambda: self.store.give_up_attempt(ticket, attempts=self.attempts, error=problem))
        self.log.warning("ticket.attempt_spent", ticket=ticket.id, state=state)

    # Estimates

    def _ask_estimates(self) -> None:
        """Ask the worker how long its own and the queued tickets will take, where their task can say."""
        services = [name for name, offer in self.offers.items() if offer["offer"]["estimates"]]
        if self.estimating or not services:
            return
        try:
            tickets = self.store.without_estimate(services, asked=self.not_estimated)
        except DatabaseUnavailable:
            return
        if tickets:
            asked = [(str(t.id), t.service, str(self.storage.ticket(t.folder).inputs)) for t in tickets]
            self._held().channel.send({"do": "estimate", "tickets": asked})
            self.estimating = True

    def _note_estimates(self, seconds: dict[str, float | None]) -> None:
        self.estimating = False
        self.not_estimated |= {int(ticket) for ticket, value in seconds.items() if value is None}
        try:
            self.store.estimate({int(ticket): value for ticket, value in seconds.items() if value is not None})
        except DatabaseUnavailable:
            return  # asked again later


def key_of(ticket: Ticket) -> str:
    """Name one claim of one ticket to the worker."""
    return f"{ticket.id}/{ticket.claim}"
