"""Give tickets to queues, round after round, for QueueManager."""

from __future__ import annotations

import time
from dataclasses import replace

import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.manager.choosing import assign, rebalance
from tomaat.manager.fitting import fitting, misfits, unfit
from tomaat.manager.sweep import Sweep
from tomaat.manager.withdrawals import Withdrawals
from tomaat.tickets.manager_store import MOST_AT_ONCE, ManagerStore
from tomaat.tickets.queue import Queue
from tomaat.tickets.source_store import MANAGER_LEASE, Lease, SourceStore, take_lease

log = structlog.get_logger()

PAUSE_SECONDS = 0.01  #: between two rounds under load, so that one statement moves many tickets


class Manager:
    """Holds the manager's lease and does one round at a time; it remembers no ticket between two rounds."""

    def __init__(
        self,
        store: ManagerStore,
        sources: SourceStore,
        sweep: Sweep,
        withdrawals: Withdrawals,
        *,
        attempts: int,
        wait_limit_hours: float,
        poll_seconds: float,
        lease_seconds: float,
    ) -> None:
        self.store = store
        self.sources = sources
        self.sweep = sweep
        self.withdrawals = withdrawals
        self.attempts = attempts
        self.wait_limit_hours = wait_limit_hours
        self.poll_seconds = poll_seconds
        self.lease_seconds = lease_seconds
        self.lease: Lease | None = None
        self.connected_at: float | None = None
        self.duties_at = 0.0
        self.said_held = False

    def round(self) -> float:
        """Do a round; return how many seconds to wait for a hint before the next one."""
        try:
            return self._round()
        except DatabaseUnavailable as error:
            if self.connected_at is not None:
                log.warning("database.lost", reason=str(error))
            self.connected_at = None
            return self.poll_seconds

    def close(self) -> None:
        """Give the manager's place to the next one."""
        if self.lease is not None:
            self.sources.release(self.lease)

    def _round(self) -> float:
        if time.monotonic() >= self.duties_at or self.connected_at is None:
            if not self._hold_lease():
                return self.poll_seconds
            self._do_duties()
            self.duties_at = time.monotonic() + min(self.poll_seconds, self.lease_seconds / 5)
        assigned = self._assign()
        moved = self._rebalance() if len(assigned) < MOST_AT_ONCE else {}
        for event, queued in (("ticket.queued", assigned), ("ticket.moved", moved)):
            for ticket, source in queued.items():
                log.info(event, ticket=ticket, source=source)
        if assigned or moved:
            return PAUSE_SECONDS
        return max(0.0, self.duties_at - time.monotonic())

    def _hold_lease(self) -> bool:
        if self.lease is None or not self.sources.renew(self.lease):
            self.lease = take_lease(self.sources, MANAGER_LEASE)
            if self.lease is None:
                if not self.said_held:
                    log.warning(
                        "manager.held", reason="another QueueManager manages this database; waiting for its end"
                    )
                self.said_held = True
                return False
            self.said_held = False
            log.info("manager.took_over", epoch=self.lease.epoch)
        if self.connected_at is None:
            self.connected_at = time.monotonic()
        return True

    def _do_duties(self) -> None:
        """Take back, expire and clean up; no holder is declared dead within a lease after the own (re)connection."""
        settled = self.connected_at is not None and time.monotonic() - self.connected_at > self.lease_seconds
        for ticket, state in self.store.take_back(settled=settled, attempts=self.attempts):
            log.warning("ticket.taken_back", ticket=ticket, state=state)
        queues = self.store.queues()
        for ticket in self.store.unqueue_stranded(settled=settled, unfit=unfit(queues)):
            log.warning("ticket.unqueued", ticket=ticket, reason="its compute source is gone, drained or changed")
        for misfit in misfits(queues):
            for ticket in self.store.fail_unfit(misfit):
                log.warning("ticket.failed", ticket=ticket, reason="fits nowhere", needed_bytes=misfit.needed_bytes)
        for ticket in self.store.fail_waited(hours=self.wait_limit_hours):
            log.warning("ticket.failed", ticket=ticket, reason="waited too long")
        if settled:
            self.withdrawals.look()
        self.sweep.remove_ended()
        self.sweep.tidy()

    def _assign(self) -> dict[int, str]:
        queues = self._live_queues()
        offered = {interface_hash for queue in queues for _, interface_hash in queue.offers}
        if not offered:
            return {}
        largest = max(queue.memory_bytes or 0 for queue in queues)
        return self.store.assign(assign(self.store.submitted(offered, largest_bytes=largest), queues))

    def _rebalance(self) -> dict[int, str]:
        queues = self._live_queues()
        if not any(queue.running_left_seconds is None for queue in queues):
            return {}
        return self.store.move(rebalance([self._with_front(queue) for queue in queues]))

    def _live_queues(self) -> list[Queue]:
        return [queue for queue in fitting(self.store.queues()) if queue.live]

    def _with_front(self, queue: Queue) -> Queue:
        if queue.running_left_seconds is None:
            return queue
        return replace(queue, waiting=self.store.front(queue.source))
