"""Count each ticket that ends, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import structlog

from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.tickets.watch_store import EndedTicket, WatchStore

log = structlog.get_logger()

LIST_ALL_SECONDS = 600.0  #: between two looks that list the known ones, too
REMEMBERED_SECONDS = 3600.0  #: for how long a ticket is known that is not listed any more: a clock may be set back


class EndedTickets:
    """Looks from time to time which tickets have ended, in one thread; each is told once.

    Tickets that ended before the first look are not told: counters start at 0 with the process.
    """

    def __init__(self, store: WatchStore, tell: Callable[[EndedTicket], None]) -> None:
        self.store = store
        self.tell = tell
        self.since: datetime | None = None
        self.known: dict[int, float] = {}  #: tickets that were listed, and when last
        self.list_all_at = 0.0  #: those that are known, too, so that they stay known
        self.lost = False

    def look(self) -> None:
        """Tell the tickets that ended since the last look; after an outage of the database, those that ended in it."""
        now = time.monotonic()
        lists_all = now >= self.list_all_at
        try:
            moment, ended = self.store.ended(self.since, known=() if lists_all else self.known)
        except DatabaseUnavailable as error:
            if not self.lost:
                log.warning("database.lost", reason=str(error))
            self.lost = True
            return
        except RowRefused as error:
            log.error("ended.not_read", reason=str(error))
            self.since = None  # begin anew: the row is not listed for long
            return
        self.lost = False
        if self.since is not None:
            for ticket in ended:
                if ticket.id not in self.known:
                    self.tell(ticket)
        self.since = moment
        if lists_all:
            self.list_all_at = now + LIST_ALL_SECONDS
        self.known |= {ticket.id: now for ticket in ended}
        self.known = {id: listed for id, listed in self.known.items() if now - listed < REMEMBERED_SECONDS}
