"""The tickets that were submitted here a moment ago: whoever waits for one at once is known without a look."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tomaat.tickets.ticket import Ticket

MOST_KNOWN = 2000  #: then it begins anew


@dataclass(frozen=True, kw_only=True)
class Known:
    """A ticket as it was at a moment of ``time.monotonic``, or later."""

    ticket: Ticket
    at: float


class KnownTickets:
    """Keeps tickets for a few ``seconds``. Any thread may use it: each step is one act on a dictionary."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        self.known: dict[int, Known] = {}

    def add(self, ticket: Ticket, at: float) -> None:
        """Keep a ticket that was read at or after a moment."""
        if len(self.known) >= MOST_KNOWN:
            self.known = {}
        self.known[ticket.id] = Known(ticket=ticket, at=at)

    def find(self, ticket_id: int) -> Known | None:
        """Find a ticket that was kept not long ago."""
        known = self.known.get(ticket_id)
        return known if known is not None and time.monotonic() - known.at <= self.seconds else None
