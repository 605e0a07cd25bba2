"""What WebService does to tickets: submit, find, cancel, and tell how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from tomaat.database import ENDED as ENDED_HINT
from tomaat.database import QUEUED as QUEUED_HINT
from tomaat.database import SUBMITTED as SUBMITTED_HINT
from tomaat.database import DatabaseUnavailable, run
from tomaat.tickets.Ticket import COLUMNS, Ticket


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How a waiting or running ticket stands."""

    position: int | None  #: 1: the next of its queue
    eta_seconds: float | None  #: expected seconds until its end


@dataclass(frozen=True, kw_only=True)
class OfferedService:
    """A service as clients see it."""

    name: str
    description: str
    version: str
    available: bool  #: a live compute source offers this very interface
    interface: dict[str, Any]
    interface_hash: str


class TicketStore:
    """The web side's view of the table ``tickets``."""

    def __init__(self, engine: sqlalchemy.Engine, hint: Callable[[str], None]) -> None:
        self.engine = engine
        self.hint = hint

    def submit(self, *, token_hash: bytes, service: str, interface_hash: str, folder: str) -> Ticket:
        """Insert a ticket whose files are durable in ``folder``.

        Safe to repeat: a folder has one ticket, whatever the outcome of an earlier call was. A call whose outcome
        is unknown is repeated once here. Raises ``DatabaseUnavailable``.
        """
        values = {"token_hash": token_hash, "service": service, "interface_hash": interface_hash, "folder": folder}
        try:
            ticket = self._insert(values)
        except DatabaseUnavailable:
            ticket = self._insert(values)
        self.hint(SUBMITTED_HINT)
        return ticket

    def _insert(self, values: dict[str, Any]) -> Ticket:
        rows = run(
            self.engine,
            f"""INSERT INTO tickets (token_hash, service, interface_hash, folder)
                VALUES (:token_hash, :service, :interface_hash, :folder)
                ON CONFLICT (folder) DO NOTHING RETURNING {COLUMNS}""",
            **values,
        ) or run(self.engine, f"SELECT {COLUMNS} FROM tickets WHERE folder = :folder", folder=values["folder"])
        return Ticket.of(rows[0])

    def find(self, ticket_id: int) -> Ticket | None:
        """Read one ticket."""
        rows = run(self.engine, f"SELECT {COLUMNS} FROM tickets WHERE id = :id", id=ticket_id)
        return Ticket.of(rows[0]) if rows else None

    def states_of(self, ticket_ids: Collection[int]) -> dict[int, str]:
        """Read the states of many tickets in one query."""
        rows = run(self.engine, "SELECT id, state FROM tickets WHERE id = ANY(:ids)", ids=list(ticket_ids))
        return {row.id: row.state for row in rows}

    def outlook(self, ticket: Ticket) -> Outlook:
        """Tell a queued or running ticket's place and expected end; nothing for other states.

        Expected seconds are the task's own estimate, else the service's measured mean on that source, else 1.
        """
        rows = run(
            self.engine,
            """
            WITH mine AS (SELECT * FROM tickets WHERE id = :id AND state IN ('queued', 'running')),
            ahead AS (
                SELECT t.* FROM tickets t JOIN mine ON t.source = mine.source
                WHERE t.state = 'queued' AND mine.state = 'queued' AND t.queue_order <= mine.queue_order
                UNION ALL
                SELECT t.* FROM tickets t JOIN mine ON t.source = mine.source WHERE t.state = 'running'
            )
            SELECT (SELECT count(*) FROM ahead WHERE state = 'queued') AS queued,
                   sum(greatest(0, coalesce(ahead.expected_seconds, d.mean_seconds, 1)
                       - CASE WHEN ahead.state = 'running'
                              THEN extract(epoch FROM clock_timestamp() - ahead.started) ELSE 0 END)) AS seconds
            FROM ahead LEFT JOIN durations d ON d.source = ahead.source AND d.service = ahead.service
            """,
            id=ticket.id,
        )
        position = rows[0].queued or None
        seconds = rows[0].seconds
        return Outlook(position=position, eta_seconds=None if seconds is None else float(seconds))

    def cancel(self, ticket: Ticket) -> Ticket:
        """Give a ticket up: at once while it waits; asked for while it runs; a deletion after its end.

        One statement decides by the state that the row has then; the returned ticket is the row afterwards.
        """
        rows = run(
            self.engine,
            f"""UPDATE tickets SET
                  state = CASE WHEN state IN ('submitted', 'queued') THEN 'cancelled' ELSE state END,
                  finished = CASE WHEN state IN ('submitted', 'queued') THEN clock_timestamp() ELSE finished END,
                  cancel_requested = cancel_requested OR state = 'running',
                  delete_requested = delete_requested OR state <> 'running'
                WHERE id = :id RETURNING {COLUMNS}""",
            id=ticket.id,
        )
        for channel in (SUBMITTED_HINT, QUEUED_HINT, ENDED_HINT):
            self.hint(channel)
        return Ticket.of(rows[0])

    def mark_fetched(self, ticket_id: int) -> None:
        """Note that the last byte of the result was sent; each later time starts the grace time again."""
        run(
            self.engine,
            "UPDATE tickets SET fetched = clock_timestamp() WHERE id = :id AND state = 'succeeded'",
            id=ticket_id,
        )

    def count_waiting(self) -> int:
        """Count the tickets that wait, in all queues and for one."""
        rows = run(self.engine, "SELECT count(*) AS waiting FROM tickets WHERE state IN ('submitted', 'queued')")
        return int(rows[0].waiting)

    def offered_services(self) -> list[OfferedService]:
        """List each service that was ever offered, by the interface of its newest live offer, else its newest."""
        rows = run(
            self.engine,
            """SELECT DISTINCT ON (o.service) o.service, o.interface_hash, o.offer,
                      (coalesce(l.expires > clock_timestamp(), false) AND s.problem IS NULL) AS live
               FROM offers o LEFT JOIN leases l ON l.name = o.source LEFT JOIN compute_sources s ON s.name = o.source
               ORDER BY o.service, live DESC, o.offered DESC""",
        )
        return [
            OfferedService(
                name=row.service,
                description=row.offer["description"],
                version=row.offer["version"],
                available=row.live,
                interface=row.offer["interface"],
                interface_hash=row.interface_hash,
            )
            for row in rows
        ]
