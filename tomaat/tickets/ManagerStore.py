"""What QueueManager does to tickets: give to queues, move, take back, expire."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from tomaat.database import ENDED as ENDED_HINT
from tomaat.database import QUEUED as QUEUED_HINT
from tomaat.database import run
from tomaat.problems import waited_too_long, worker_lost
from tomaat.tickets.choosing import Move, Queue, Waiting

LIVE = "l.expires > clock_timestamp() AND s.problem IS NULL"  #: a lease and a source that can run tickets
MOST_AT_ONCE = 1000  #: tickets assigned in one statement
FRONT = 200  #: tickets read of each queue's front when some source is idle


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A ticket whose files may have to go."""

    id: int
    folder: str


class ManagerStore:
    """The manager's moves, each one guarded statement over many tickets."""

    def __init__(self, engine: sqlalchemy.Engine, hint: Callable[[str], None], *, lease_seconds: float) -> None:
        self.engine = engine
        self.hint = hint
        self.lease_seconds = lease_seconds

    def queues(self) -> list[Queue]:
        """Read each live compute source's queue; ``running_left_seconds`` includes what waits, ``None`` is idle."""
        rows = run(
            self.engine,
            f"""SELECT l.name,
                  (SELECT json_agg(json_build_array(o.service, o.interface_hash)) FROM offers o
                   WHERE o.source = l.name) AS offers,
                  (SELECT json_object_agg(d.service, d.mean_seconds) FROM durations d
                   WHERE d.source = l.name) AS durations,
                  (SELECT sum(greatest(0, coalesce(t.expected_seconds, d.mean_seconds, 1) -
                       CASE WHEN t.state = 'running'
                            THEN extract(epoch FROM clock_timestamp() - t.started) ELSE 0 END))
                   FROM (SELECT * FROM tickets WHERE source = l.name AND state = 'queued'
                         UNION ALL SELECT * FROM tickets WHERE source = l.name AND state = 'running') t
                     LEFT JOIN durations d ON d.source = t.source AND d.service = t.service) AS load
                FROM leases l JOIN compute_sources s ON s.name = l.name WHERE {LIVE} ORDER BY l.name""",
        )
        return [
            Queue(
                source=row.name,
                offers=frozenset((service, interface_hash) for service, interface_hash in row.offers or ()),
                waiting=(),
                running_left_seconds=None if row.load is None else float(row.load),
                durations=row.durations or {},
            )
            for row in rows
        ]

    def submitted(self, interface_hashes: Collection[str]) -> list[Waiting]:
        """List the oldest submitted tickets that a live compute source can run."""
        return self._waiting(
            "state = 'submitted' AND interface_hash = ANY(:hashes) ORDER BY queue_order LIMIT :limit",
            hashes=list(interface_hashes),
            limit=MOST_AT_ONCE,
        )

    def front(self, source: str) -> tuple[Waiting, ...]:
        """List the front of one queue, in its order."""
        return tuple(
            self._waiting(
                "state = 'queued' AND source = :source ORDER BY queue_order LIMIT :limit", source=source, limit=FRONT
            )
        )

    def _waiting(self, where: str, **values: Any) -> list[Waiting]:
        rows = run(
            self.engine,
            f"""SELECT id AS ticket, queue_order AS "order", service, interface_hash, expected_seconds, source
                FROM tickets WHERE {where}""",
            **values,
        )
        return [Waiting(**row._mapping) for row in rows]  # noqa: SLF001 (SQLAlchemy's public name for a row's columns)

    def assign(self, moves: Sequence[Move]) -> int:
        """Queue submitted tickets; returns how many were still submitted."""
        return self._move("t.state = 'submitted'", moves)

    def move(self, moves: Sequence[Move]) -> int:
        """Move waiting tickets to another queue, each guarded by the queue that it leaves."""
        return self._move("t.state = 'queued' AND t.source = m.from_source", moves)

    def _move(self, guard: str, moves: Sequence[Move]) -> int:
        if not moves:
            return 0
        rows = run(
            self.engine,
            f"""UPDATE tickets t SET state = 'queued', source = m.to_source
                FROM json_to_recordset(CAST(:moves AS json)) AS m(ticket bigint, from_source text, to_source text)
                WHERE t.id = m.ticket AND {guard} RETURNING t.id""",
            moves=json.dumps(
                [{"ticket": m.ticket, "from_source": m.from_source, "to_source": m.to_source} for m in moves]
            ),
        )
        if rows:
            self.hint(QUEUED_HINT)
            self.hint(ENDED_HINT)
        return len(rows)

    def unqueue_stranded(self, *, settled: bool) -> int:
        """Take tickets out of queues whose source is gone, unusable, or no longer offers their interface.

        A lease that ran out counts only when ``settled`` and one lease after PostgreSQL's start.
        """
        rows = run(
            self.engine,
            """UPDATE tickets t SET state = 'submitted', source = NULL
               WHERE t.state = 'queued' AND NOT EXISTS (
                 SELECT FROM leases l JOIN compute_sources s ON s.name = l.name JOIN offers o ON o.source = l.name
                 WHERE l.name = t.source AND s.problem IS NULL AND o.interface_hash = t.interface_hash
                   AND (l.expires > clock_timestamp() OR NOT :settled
                        OR clock_timestamp() < pg_postmaster_start_time() + make_interval(secs => :lease)))
               RETURNING t.id""",
            settled=settled,
            lease=self.lease_seconds,
        )
        return len(rows)

    def take_back(self, *, settled: bool, attempts: int) -> list[tuple[int, str]]:
        """Take running tickets back whose holder lost its lease; returns ids and their new states.

        The holder is gone when the source's epoch is another by now, or, when ``settled`` and one lease after
        PostgreSQL's start, when its lease ran out. An attempt is spent.
        """
        rows = run(
            self.engine,
            """UPDATE tickets t SET attempts = attempts + 1, epoch = NULL, progress = NULL, stage = NULL,
                 state = CASE WHEN cancel_requested THEN 'cancelled'
                              WHEN attempts + 1 >= :attempts THEN 'failed' ELSE 'submitted' END,
                 source = CASE WHEN cancel_requested OR attempts + 1 >= :attempts THEN source END,
                 finished = CASE WHEN cancel_requested OR attempts + 1 >= :attempts THEN clock_timestamp() END,
                 error = CASE WHEN attempts + 1 >= :attempts AND NOT cancel_requested THEN CAST(:error AS json) END
               WHERE t.state = 'running' AND NOT EXISTS (
                 SELECT FROM leases l WHERE l.name = t.source AND l.epoch = t.epoch
                   AND (l.expires > clock_timestamp() OR NOT :settled
                        OR clock_timestamp() < pg_postmaster_start_time() + make_interval(secs => :lease)))
               RETURNING t.id, t.state""",
            settled=settled,
            attempts=attempts,
            lease=self.lease_seconds,
            error=json.dumps(worker_lost(attempts)),
        )
        if rows:
            self.hint(ENDED_HINT)
        return [(row.id, row.state) for row in rows]

    def fail_waited(self, *, hours: float) -> list[int]:
        """Fail the tickets that wait for longer than ``hours``."""
        candidates = run(
            self.engine,
            """SELECT id, service FROM tickets
               WHERE state = 'submitted' AND created < (SELECT clock_timestamp() - make_interval(secs => :seconds))
               UNION ALL
               SELECT id, service FROM tickets
               WHERE state = 'queued' AND created < (SELECT clock_timestamp() - make_interval(secs => :seconds))""",
            seconds=hours * 3600,
        )
        failed = [
            candidate.id
            for candidate in candidates
            if run(
                self.engine,
                """UPDATE tickets SET state = 'failed', finished = clock_timestamp(), error = CAST(:error AS json)
                   WHERE id = :id AND state IN ('submitted', 'queued') RETURNING id""",
                id=candidate.id,
                error=json.dumps(waited_too_long(candidate.service, hours)),
            )
        ]
        if failed:
            self.hint(ENDED_HINT)
        return failed

    def expire(self, *, retention_hours: float, fetched_grace_seconds: float | None) -> list[Ended]:
        """End results whose time is over, whose deletion was asked for, or that were fetched a grace time ago.

        ``fetched_grace_seconds`` is ``None`` where fetched results are kept. The row changes first, files go second.
        """
        rows = run(
            self.engine,
            """UPDATE tickets SET state = 'expired'
               WHERE state = 'succeeded' AND finished IS NOT NULL AND NOT files_removed AND id IN (
                 SELECT id FROM tickets WHERE delete_requested AND NOT files_removed
                 UNION ALL
                 SELECT id FROM tickets WHERE finished IS NOT NULL AND NOT files_removed
                   AND finished < (SELECT clock_timestamp() - make_interval(secs => :retention))
                 UNION ALL
                 SELECT id FROM tickets WHERE fetched IS NOT NULL AND NOT files_removed
                   AND fetched < (SELECT clock_timestamp() - make_interval(secs => :grace)))
               RETURNING id, folder""",
            retention=retention_hours * 3600,
            grace=fetched_grace_seconds,
        )
        if rows:
            self.hint(ENDED_HINT)
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def removable(self, *, retention_hours: float, keep_input: bool) -> list[Ended]:
        """List ended tickets whose folder has to go: asked for, cancelled, too old, or expired with nothing to keep."""
        rows = run(
            self.engine,
            """SELECT id, folder FROM tickets
               WHERE state IN ('failed', 'cancelled', 'expired') AND NOT files_removed AND id IN (
                 SELECT id FROM tickets WHERE delete_requested AND NOT files_removed
                 UNION ALL
                 SELECT id FROM tickets WHERE state IN ('cancelled', 'expired') AND NOT files_removed
                   AND (state = 'cancelled' OR NOT :keep_input)
                 UNION ALL
                 SELECT id FROM tickets WHERE finished IS NOT NULL AND NOT files_removed
                   AND finished < (SELECT clock_timestamp() - make_interval(secs => :retention)))""",
            keep_input=keep_input,
            retention=retention_hours * 3600,
        )
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def expired_with_files(self) -> list[Ended]:
        """List expired tickets whose input is still kept."""
        rows = run(
            self.engine,
            """SELECT id, folder FROM tickets
               WHERE state = 'expired' AND NOT files_removed""",
        )
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def note_removed(self, ticket_ids: Collection[int]) -> None:
        """Note that ended tickets' folders are gone, and forget what errors say, which may name a patient too."""
        run(
            self.engine,
            """WITH removed AS (
                 UPDATE tickets SET files_removed = true,
                   error = CASE WHEN error IS NOT NULL THEN json_build_object('type', error->'type', 'title',
                     error->'title', 'status', error->'status', 'detail',
                     'The details are no longer kept.') END
                 WHERE id = ANY(:ids) AND finished IS NOT NULL AND NOT files_removed RETURNING id, state
               )
               INSERT INTO audit (who, what, ticket, outcome) SELECT 'QueueManager', 'delete files', id, state
               FROM removed""",
            ids=list(ticket_ids),
        )

    def prune(self, *, days: float) -> int:
        """Delete the rows of tickets that ended ``days`` ago and have no files; returns how many of the oldest."""
        rows = run(
            self.engine,
            """DELETE FROM tickets WHERE files_removed AND id = ANY(ARRAY(
                 SELECT id FROM tickets WHERE files_removed
                   AND finished < (SELECT clock_timestamp() - make_interval(secs => :seconds))
                 ORDER BY finished LIMIT :limit))
               RETURNING id""",
            seconds=days * 86400,
            limit=MOST_AT_ONCE,
        )
        return len(rows)

    def prune_audit(self, *, days: float) -> None:
        """Delete the lines of the audit trail that are older than ``days``, at least 30."""
        run(
            self.engine,
            "DELETE FROM audit WHERE at < (SELECT clock_timestamp() - make_interval(secs => :seconds))",
            seconds=days * 86400,
        )

    def known(self, folders: Collection[str]) -> set[str]:
        """Tell which folders belong to a ticket whose files are still wanted."""
        rows = run(
            self.engine,
            "SELECT folder FROM tickets WHERE folder = ANY(:folders) AND NOT files_removed",
            folders=list(folders),
        )
        return {row.folder for row in rows}
