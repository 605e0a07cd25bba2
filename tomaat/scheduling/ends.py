"""The moves that end a running ticket."""

from __future__ import annotations

import shutil
from typing import Any

from structlog.typing import FilteringBoundLogger

from tomaat.scheduling.running_tickets import RunningTicket
from tomaat.tickets.lane_store import LaneStore


class Ends:
    """Each is one guarded statement, safe to repeat, a line in the log, and tells whether the result is kept."""

    def __init__(self, store: LaneStore, log: FilteringBoundLogger, *, attempts: int) -> None:
        self.store = store
        self.log = log
        self.attempts = attempts

    def succeed(self, run: RunningTicket, sha256: str, size_bytes: int, seconds: float) -> bool:
        """Complete a ticket whose result is sealed; what workers that died have left of it goes."""
        kept = self.store.succeed(run.ticket, sha256=sha256, size_bytes=size_bytes, seconds=seconds)
        if kept:
            for other in run.out.parent.iterdir():
                if other != run.out:
                    shutil.rmtree(other, ignore_errors=True)
        self.log.info("ticket.succeeded" if kept else "ticket.too_late", ticket=run.ticket.id, claim=run.ticket.claim)
        return kept

    def fail(self, run: RunningTicket, problem: dict[str, Any], reason: str) -> bool:
        """Fail a ticket whose task refused, raised, or passed its deadline."""
        self.store.fail(run.ticket, problem)
        self.log.info("ticket.failed", ticket=run.ticket.id, reason=reason)
        return False

    def outgrow(self, run: RunningTicket, memory_bytes: int | None, problem: dict[str, Any]) -> bool:
        """Let a ticket that is too large for this source wait for a larger one; where there is none, it fails."""
        state = self.store.outgrow(run.ticket, memory_bytes, problem)
        self.log.warning("ticket.outgrown", ticket=run.ticket.id, memory_bytes=memory_bytes, state=state)
        return False

    def cancel(self, run: RunningTicket) -> bool:
        """Cancel a ticket that its client gave up."""
        self.store.cancelled(run.ticket)
        self.log.info("ticket.cancelled", ticket=run.ticket.id)
        return False

    def put_back(self, run: RunningTicket) -> bool:
        """Let a ticket wait again, no attempt spent."""
        self.store.put_back(run.ticket)
        self.log.info("ticket.put_back", ticket=run.ticket.id)
        return False

    def give_up_attempt(self, run: RunningTicket, problem: dict[str, Any]) -> bool:
        """Spend an attempt of a ticket; it fails with ``problem`` after the last one."""
        state = self.store.give_up_attempt(run.ticket, attempts=self.attempts, error=problem)
        self.log.warning("ticket.attempt_spent", ticket=run.ticket.id, state=state)
        return False

    def lose(self, run: RunningTicket) -> bool:
        """Leave a ticket that is somebody else's by now."""
        self.log.warning("ticket.lost", ticket=run.ticket.id, claim=run.ticket.claim)
        return False
