"""How a running ticket ends, as a value, and the one place that carries it out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from tomaat.storage import TicketFolder
from tomaat.tickets.lane_store import LaneStore, Success
from tomaat.tickets.states import CANCELLED, FAILED
from tomaat.tickets.ticket import Ticket

TOO_LATE = "ticket.too_late"  #: it is another claim's by now, or has ended otherwise
ENDED = {FAILED, CANCELLED}  #: an attempt may be the last one


@dataclass(frozen=True, kw_only=True)
class Fail:
    """Fail a ticket whose task refused, raised, or passed its deadline."""

    problem: dict[str, Any]  #: as its client reads it
    reason: str  #: for the log


@dataclass(frozen=True, kw_only=True)
class Outgrow:
    """Let a ticket that is too large for this source wait for a larger one; where there is none, it fails."""

    memory_bytes: int | None
    problem: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Cancel a ticket that its client gave up."""


@dataclass(frozen=True, kw_only=True)
class PutBack:
    """Let a ticket wait again, no attempt spent."""


@dataclass(frozen=True, kw_only=True)
class SpendAttempt:
    """Spend an attempt of a ticket; after the last one it fails."""

    problem: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Lose:
    """Leave a ticket that is somebody else's by now."""


End = Success | Fail | Outgrow | Cancel | PutBack | SpendAttempt | Lose


class Ends:
    """Carries ends out; each is one guarded statement, safe to repeat, and a line in the log."""

    def __init__(self, store: LaneStore, log: FilteringBoundLogger, *, attempts: int) -> None:
        self.store = store
        self.log = log
        self.attempts = attempts

    def carry_out(self, end: End, ticket: Ticket, out: Path) -> bool:
        """End a ticket that has no result; the folder ``out`` into which its claim wrote goes.

        Tells whether the ticket has ended for good, by this. Raises ``DatabaseUnavailable`` when it is not known
        whether the ticket has ended, and ``RowRefused`` when PostgreSQL does not take this end.
        """
        ended = False
        match end:
            case Fail():
                ended = self.store.fail(ticket, end.problem)
                self.log.info("ticket.failed" if ended else TOO_LATE, ticket=ticket.id, reason=end.reason)
            case Outgrow():
                state = self.store.outgrow(ticket, end.memory_bytes, end.problem)
                ended = state in ENDED
                self.log.warning("ticket.outgrown", ticket=ticket.id, memory_bytes=end.memory_bytes, state=state)
            case Cancel():
                ended = self.store.cancelled(ticket)
                self.log.info("ticket.cancelled" if ended else TOO_LATE, ticket=ticket.id)
            case PutBack():
                self.store.put_back(ticket)
                self.log.info("ticket.put_back", ticket=ticket.id)
            case SpendAttempt():
                state = self.store.give_up_attempt(ticket, attempts=self.attempts, error=end.problem)
                ended = state in ENDED
                self.log.warning("ticket.attempt_spent", ticket=ticket.id, state=state)
            case Lose():
                self.log.warning("ticket.lost", ticket=ticket.id, claim=ticket.claim)
        shutil.rmtree(out, ignore_errors=True)
        return ended

    def note_success(self, end: Success, out: Path, *, kept: bool) -> bool:
        """Note that a ticket was completed: if it was ``kept``, the folders of earlier claims go, else its own."""
        ticket = end.ticket
        for left in TicketFolder(path=out.parent.parent).before(ticket.claim) if kept else (out,):
            shutil.rmtree(left, ignore_errors=True)
        self.log.info(
            "ticket.succeeded" if kept else TOO_LATE,
            ticket=ticket.id,
            service=ticket.service,
            claim=ticket.claim,
            seconds=round(end.seconds, 3),
        )
        return kept
