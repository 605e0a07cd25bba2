"""Read counts, queues and leases for health checks and metrics; nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy

from tomaat.database import run
from tomaat.tickets.source_store import MANAGER_LEASE
from tomaat.tickets.sql import HELD, LENGTH, OFFERS, OPEN, TAKES_TICKETS
from tomaat.tickets.states import EXPIRED, FAILED, SUCCEEDED, UNENDED

#: How far back the ended tickets are read each time. The statement that ends a ticket writes ``finished`` before its
#: commit, which may come seconds later, and still later on a slow disk.
LATEST_COMMIT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Unended:
    """The waiting or running tickets of one service in one state."""

    service: str
    state: str
    tickets: int
    oldest_seconds: float  #: since the oldest of them was submitted


@dataclass(frozen=True, kw_only=True)
class SourceNow:
    """A compute source and its queue."""

    name: str
    held: bool  #: a TaskScheduling has its lease
    usable: bool  #: it takes tickets: held, without a problem, not drained, and its worker has offered services
    waiting: int  #: tickets in its queue
    wait_seconds: float  #: expected, until a ticket that is queued now would be started
    lanes: int = 1  #: tickets that it runs side by side
    drained: bool = False  #: an operator wants it to claim nothing more
    used_bytes: int | None = None  #: of its device's memory, by all programs, at the latest reading
    total_bytes: int | None = None
    use: float | None = None  #: of its device, 0 to 1
    celsius: float | None = None
    read_seconds: float | None = None  #: since its device was read


@dataclass(frozen=True, kw_only=True)
class World:
    """The state of the service at one moment."""

    unended: Sequence[Unended]
    sources: Sequence[SourceNow]
    services: dict[str, bool]  #: each that was ever offered; whether a source that takes tickets offers it
    manager_held: bool  #: a QueueManager has its lease


@dataclass(frozen=True, kw_only=True)
class EndedTicket:
    """A ticket that has ended lately."""

    id: int
    service: str
    outcome: str  #: succeeded, failed or cancelled
    problem: str | None  #: the kind of error of a failed one
    attempts: int
    wait_seconds: float | None  #: from its submission to its last start
    run_seconds: float | None  #: from its last start to its end


class WatchStore:
    """Reads tickets that have not ended, or ended lately, through indexes of nothing else."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database

    def world(self) -> World:
        """Read the state of the service."""
        return World(
            unended=self._unended(),
            sources=self._sources(),
            services=self._services(),
            manager_held=self.manager_held(),
        )

    def manager_held(self) -> bool:
        """Tell whether a QueueManager is alive, as its lease tells."""
        rows = run(
            self.database,
            f"SELECT FROM leases l WHERE l.name = :name AND {HELD}",
            name=MANAGER_LEASE,
        )
        return bool(rows)

    def offers_anything(self) -> bool:
        """Tell whether some source could run tickets, were it not drained: it is held, in order, and offers."""
        rows = run(self.database, f"SELECT FROM {OFFERS} WHERE {HELD} AND s.problem IS NULL LIMIT 1")
        return bool(rows)

    def loading(self) -> list[tuple[str, str, float]]:
        """List the held sources that still load what they offer: the source, the file or service, and the seconds."""
        rows = run(
            self.database,
            f"""SELECT s.name, s.loading, extract(epoch FROM clock_timestamp() - s.loading_since) AS seconds
               FROM compute_sources s JOIN leases l ON l.name = s.name
               WHERE {HELD} AND s.problem IS NULL AND s.loading IS NOT NULL ORDER BY s.name""",
        )
        return [(row.name, row.loading, float(row.seconds)) for row in rows]

    def ended(self, since: datetime | None, *, known: Collection[int] = ()) -> tuple[datetime, list[EndedTicket]]:
        """Return the time and the tickets that ended after ``LATEST_COMMIT_SECONDS`` before ``since``, or before now.

        Give that time to the next call: it misses no ticket, and lists some again, since commits do not come in the
        order of ``finished``. Those that are ``known`` are left out.
        """
        files_kept, files_removed = (
            f"""SELECT id, service, state, error->>'type' AS problem, attempts, created, started, finished FROM tickets
                WHERE finished IS NOT NULL AND {files}
                  AND finished > (SELECT least(CAST(:since AS timestamptz), clock_timestamp())
                                    - make_interval(secs => :latest))"""
            for files in ("NOT files_removed", "files_removed")
        )
        rows = run(
            self.database,
            f"""WITH now AS MATERIALIZED (SELECT clock_timestamp() AS now)
                SELECT now.now, t.*, extract(epoch FROM started - created) AS wait_seconds,
                  extract(epoch FROM finished - started) AS run_seconds
                FROM now LEFT JOIN (
                  SELECT * FROM ({files_kept} UNION ALL {files_removed}) e
                  WHERE NOT EXISTS (SELECT FROM unnest(CAST(:known AS bigint[])) AS k(id) WHERE k.id = e.id)
                ) t ON true""",
            since=since,
            known=list(known),
            latest=LATEST_COMMIT_SECONDS,
        )
        return rows[0].now, [
            EndedTicket(
                id=row.id,
                service=row.service,
                outcome=SUCCEEDED if row.state == EXPIRED else row.state,
                problem=row.problem if row.state == FAILED else None,
                attempts=row.attempts,
                wait_seconds=None if row.wait_seconds is None else float(row.wait_seconds),
                run_seconds=None if row.run_seconds is None else float(row.run_seconds),
            )
            for row in rows
            if row.id is not None
        ]

    def _unended(self) -> list[Unended]:
        each_state = " UNION ALL ".join(
            f"""SELECT service, state, count(*) AS tickets,
                  extract(epoch FROM clock_timestamp() - min(created)) AS oldest_seconds
                FROM tickets WHERE state = '{state}' GROUP BY service, state"""
            for state in sorted(UNENDED)
        )
        return [
            Unended(service=row.service, state=row.state, tickets=row.tickets, oldest_seconds=float(row.oldest_seconds))
            for row in run(self.database, each_state)
        ]

    def _sources(self) -> list[SourceNow]:
        rows = run(
            self.database,
            f"""
            SELECT s.name, {HELD} AS held, {TAKES_TICKETS} AS usable, q.waiting, q.wait_seconds, s.lanes, s.drained,
                   s.device_used_bytes, s.device_total_bytes, s.device_use, s.device_celsius,
                   extract(epoch FROM clock_timestamp() - s.device_read) AS read_seconds
            FROM compute_sources s LEFT JOIN leases l ON l.name = s.name CROSS JOIN LATERAL {LENGTH} q
            ORDER BY s.name""",
        )
        return [
            SourceNow(
                name=row.name,
                held=row.held,
                usable=row.usable,
                waiting=row.waiting,
                wait_seconds=float(row.wait_seconds),
                lanes=row.lanes,
                drained=row.drained,
                used_bytes=row.device_used_bytes,
                total_bytes=row.device_total_bytes,
                use=row.device_use,
                celsius=row.device_celsius,
                read_seconds=None if row.read_seconds is None else float(row.read_seconds),
            )
            for row in rows
        ]

    def _services(self) -> dict[str, bool]:
        rows = run(
            self.database,
            f"SELECT o.service, bool_or({OPEN}) AS available FROM {OFFERS} GROUP BY o.service ORDER BY o.service",
        )
        return {row.service: row.available for row in rows}
