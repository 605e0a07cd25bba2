"""Show an operator all sources and tickets, and drain or resume a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Annotated, TypeAlias

import sqlalchemy
from annotated_types import Ge, Le

from tomaat.database import Hint, Row, Rows, run
from tomaat.tickets.hints import hints_about
from tomaat.tickets.priorities import Priority
from tomaat.tickets.source_store import MANAGER_LEASE
from tomaat.tickets.sql import HELD, TAKES_TICKETS, WAITING, one_of
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, QUEUED, RUNNING, SUBMITTED, SUCCEEDED, State
from tomaat.tickets.ticket import LARGEST_ID, TicketId
from tomaat.tickets.ticket_store import CAN_RUN_AGAIN, AgainRules

WITH_RESULT = one_of(SUCCEEDED, EXPIRED)  #: a result that has expired was a success
MOST_WAITING = 10  #: tickets shown of each queue's front
Count: TypeAlias = Annotated[int, Ge(0)]

#: Only the title of an error is shown: its details may name a patient.
SEEN = f"""t.id, t.service, t.state, t.source AS compute_source, t.lane, t.key_name, t.claim, t.attempts, t.progress,
    t.stage, t.created, t.started, t.finished, t.cancel_requested, t.error->>'title' AS error, t.again_of, t.priority,
    t.state IN {WAITING} AND t.queue_order < 0 AS moved_to_front,
    {CAN_RUN_AGAIN} AS can_run_again"""
ENDED_COLUMNS = "date_trunc('hour', finished) AS hour, service, state, created, started, finished"


@dataclass(frozen=True, kw_only=True)
class LatestReading:
    """The last figures of a compute source's device, of a CPU's source those of the whole machine; null: not told."""

    used_bytes: int | None
    total_bytes: int | None
    use: Annotated[float, Ge(0), Le(1)] | None
    celsius: float | None
    read: datetime


@dataclass(frozen=True, kw_only=True)
class Source:
    """A compute source, as operators see it."""

    name: str
    device: str
    memory_bytes: int | None
    """For networks and tickets; null: whatever is free."""
    problem: str | None
    """Why it cannot be used."""
    loading: str | None
    """The file or service that its worker loads now, and for how long; null: all are loaded."""
    live: bool
    """A TaskScheduling holds it now."""
    takes_tickets: bool
    """It may start tickets now, and its worker has offered services."""
    drained: bool
    """It claims nothing more until it is resumed."""
    reading: LatestReading | None
    services: tuple[str, ...]
    waiting: Count
    """Tickets in its queue."""
    lanes: Count
    """Tickets that it runs side by side."""


@dataclass(frozen=True, kw_only=True)
class SeenTicket:
    """A ticket, as operators see it: no token, and nothing that may name a patient."""

    id: TicketId
    service: str
    state: State
    compute_source: str | None
    lane: Count
    """Of those of the source, counted from 1; of a ticket that was never started, 1."""
    key_name: str | None
    """Of the API key that submitted it."""
    claim: Count
    attempts: Count
    progress: float | None
    stage: str | None
    """The task's own words."""
    created: datetime
    started: datetime | None
    finished: datetime | None
    cancel_requested: bool
    error: str | None
    """The title of the problem with which it failed."""
    again_of: int | None
    """The ticket that an operator ran again as this one."""
    can_run_again: bool
    priority: Priority
    moved_to_front: bool
    """It waits, and an operator moved it before all others."""


@dataclass(frozen=True, kw_only=True)
class Hour:
    """The tickets that ended within an hour; seconds are of those that had any."""

    begins: datetime
    succeeded: Count
    failed: Count
    cancelled: Count
    wait_median_seconds: float | None
    """From the submission to the last start."""
    wait_95_seconds: float | None
    """The 95th percentile."""
    run_median_seconds: float | None
    """From the last start to the result."""
    run_95_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All sources and the tickets that run and wait, at one moment of the database's clock."""

    now: datetime
    manager_live: bool  #: a QueueManager is alive, as its lease tells
    sources: tuple[Source, ...]
    unqueued: int  #: tickets that wait for a queue
    busy: tuple[SeenTicket, ...]  #: all that run, then the front of each queue


class OperatorStore:
    """Reads the tables for operators; no statement reads the whole history."""

    def __init__(self, database: sqlalchemy.Engine, hint: Callable[[Hint], None]) -> None:
        self.database = database
        self.hint = hint

    def drain(self, source: str, *, operator: str) -> bool:
        """Let a source claim nothing more, also once it comes back; ``False`` where there is no such source."""
        return self._set_drained(source, operator, drained=True)

    def resume(self, source: str, *, operator: str) -> bool:
        """Let a drained source claim again; ``False`` where there is no such source."""
        return self._set_drained(source, operator, drained=False)

    def _set_drained(self, source: str, operator: str, *, drained: bool) -> bool:
        rows = run(
            self.database,
            """WITH changed AS (
                 UPDATE compute_sources SET drained = :drained WHERE name = :source RETURNING name
               ), noted AS (
                 INSERT INTO audit (who, what, outcome) SELECT :operator, :what, name FROM changed
               )
               SELECT name FROM changed""",
            source=source,
            drained=drained,
            operator=operator,
            what="drain" if drained else "resume",
        )
        for hint in hints_about(source):
            self.hint(hint)
        return bool(rows)

    def overview(self, *, rules: AgainRules) -> Overview:
        """Read all sources, all running tickets, and the front of each queue."""
        sources = run(
            self.database,
            f"""SELECT clock_timestamp() AS now, s.*, s.device_name AS device,
                 extract(epoch FROM clock_timestamp() - s.loading_since) AS loading_seconds,
                 {HELD} AS live, {TAKES_TICKETS} AS takes_tickets,
                 EXISTS (SELECT FROM leases l WHERE l.name = :manager AND {HELD}) AS manager_live,
                 (SELECT count(*) FROM tickets WHERE state = '{SUBMITTED}') AS unqueued,
                 (SELECT count(*) FROM tickets WHERE state = '{QUEUED}' AND source = s.name) AS waiting,
                 ARRAY(SELECT service FROM offers WHERE source = s.name ORDER BY service) AS services
               FROM (SELECT) one LEFT JOIN compute_sources s ON true LEFT JOIN leases l ON l.name = s.name
               ORDER BY s.name""",
            manager=MANAGER_LEASE,
        )
        busy = run(
            self.database,
            f"""SELECT {SEEN} FROM (
                  SELECT 0 AS rank, * FROM tickets WHERE state = '{RUNNING}'
                  UNION ALL
                  SELECT 1, f.* FROM compute_sources s CROSS JOIN LATERAL (
                    SELECT * FROM tickets WHERE state = '{QUEUED}' AND source = s.name
                    ORDER BY queue_order LIMIT :most) f
                  UNION ALL
                  (SELECT 2, * FROM tickets WHERE state = '{SUBMITTED}' ORDER BY queue_order LIMIT :most)
                ) t ORDER BY rank, queue_order""",
            most=MOST_WAITING,
            **asdict(rules),
        )
        return Overview(
            now=sources[0].now,
            manager_live=sources[0].manager_live,
            sources=tuple(_source_of(row) for row in sources if row.name is not None),
            unqueued=sources[0].unqueued,
            busy=_tickets_of(busy),
        )

    def tickets(self, *, rules: AgainRules, up_to: int | None = None, most: int = 25) -> tuple[SeenTicket, ...]:
        """List the newest tickets, or the newest up to an id, the newest first."""
        rows = run(
            self.database,
            f"SELECT {SEEN} FROM tickets t WHERE id <= :up_to ORDER BY id DESC LIMIT :most",
            up_to=LARGEST_ID if up_to is None else up_to,
            most=most,
            **asdict(rules),
        )
        return _tickets_of(rows)

    def ended(self, first: datetime, last: datetime) -> list[tuple[str | None, Hour]]:
        """Sum up the tickets that ended from ``first`` until before ``last``, by hour (UTC).

        The figures are of each service, and of all together (``None``). A result that has expired was a success.
        """
        within = "finished >= :first AND finished < :last"
        rows = run(
            self.database,
            f"""SELECT hour AS begins, service,
                  count(*) FILTER (WHERE state IN {WITH_RESULT}) AS succeeded,
                  count(*) FILTER (WHERE state = '{FAILED}') AS failed,
                  count(*) FILTER (WHERE state = '{CANCELLED}') AS cancelled,
                  percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
                    ORDER BY extract(epoch FROM started - created)) AS waits,
                  percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
                    ORDER BY CASE WHEN state IN {WITH_RESULT}
                                  THEN extract(epoch FROM finished - started) END) AS runs
                FROM (
                  SELECT {ENDED_COLUMNS} FROM tickets WHERE finished IS NOT NULL AND NOT files_removed AND {within}
                  UNION ALL
                  SELECT {ENDED_COLUMNS} FROM tickets WHERE files_removed AND {within}
                ) ended GROUP BY GROUPING SETS ((hour), (hour, service)) ORDER BY hour, service NULLS FIRST""",
            first=first,
            last=last,
        )
        return [(row.service, _hour_of(row)) for row in rows]


def _source_of(row: Row) -> Source:
    reading = None
    if row.device_read is not None:
        reading = LatestReading(
            used_bytes=row.device_used_bytes,
            total_bytes=row.device_total_bytes,
            use=_rounded(row.device_use),
            celsius=row.device_celsius,
            read=row.device_read,
        )
    columns = row._asdict()
    loading = None if row.loading is None else f"{row.loading}, {float(row.loading_seconds):.0f} s"
    values = {**columns, "reading": reading, "services": tuple(row.services), "loading": loading}
    return Source(**{field.name: values[field.name] for field in fields(Source)})


def _tickets_of(rows: Rows) -> tuple[SeenTicket, ...]:
    return tuple(SeenTicket(**row._asdict()) for row in rows)


def _hour_of(row: Row) -> Hour:
    waits, runs = row.waits or (None, None), row.runs or (None, None)
    return Hour(
        begins=row.begins,
        succeeded=row.succeeded,
        failed=row.failed,
        cancelled=row.cancelled,
        wait_median_seconds=_rounded(waits[0]),
        wait_95_seconds=_rounded(waits[1]),
        run_median_seconds=_rounded(runs[0]),
        run_95_seconds=_rounded(runs[1]),
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 3)
