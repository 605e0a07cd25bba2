"""Give tickets to queues, move them, take them back and expire them, for QueueManager."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy

from tomaat.database import run
from tomaat.devices.need import Need
from tomaat.tickets.hints import hints_of
from tomaat.tickets.problems import fits_nowhere, waited_too_long, worker_lost
from tomaat.tickets.queue import Misfit, Placement, Queue, Waiting
from tomaat.tickets.sql import (
    DURATIONS,
    HELD,
    LINE,
    OFFERS,
    OPEN,
    SECONDS_LEFT,
    TAKES_TICKETS,
    WAITING,
    back_to_waiting,
    one_of,
)
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, MANAGER, QUEUED, RUNNING, SUBMITTED, SUCCEEDED

#: A lease that ran out counts as its holder's end only when the manager is ``:settled``, and one lease after
#: PostgreSQL's start.
HOLDER_COUNTS = f"""({HELD} OR NOT :settled
                     OR clock_timestamp() < pg_postmaster_start_time() + make_interval(secs => :lease))"""
MOST_AT_ONCE = 1000  #: tickets assigned in one statement
FRONT = 200  #: tickets read of each queue's front when some source is idle


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A ticket whose files may have to go."""

    id: int
    folder: str


class ManagerStore:
    """Makes the manager's moves, each a guarded statement over many tickets."""

    def __init__(self, database: sqlalchemy.Engine, hint: Callable[[str], None], *, lease_seconds: float) -> None:
        self.database = database
        self.hint = hint
        self.lease_seconds = lease_seconds

    def queues(self) -> list[Queue]:
        """Read each compute source's queue, also of sources that are away, without its tickets.

        A queue tells its length, the services that ran and wait, and the measurements.
        """
        rows = run(
            self.database,
            f"""SELECT l.name, {TAKES_TICKETS} AS live, l.name ~ '/cpu-[0-9]+$' AS on_cpu, s.memory_bytes,
                  (SELECT json_agg(o ORDER BY o.warm) FROM (SELECT service, interface_hash, warm, network_bytes,
                     peak_bytes, load_seconds FROM offers WHERE source = l.name) o) AS offers,
                  (SELECT json_object_agg(d.service, d.mean_seconds) FROM durations d
                   WHERE d.source = l.name) AS durations,
                  (SELECT json_agg(x ORDER BY x.place) FROM (
                     SELECT t.service, t.state, max(t.queue_order) AS place, sum({SECONDS_LEFT}) AS seconds
                     FROM {LINE} t {DURATIONS}
                     GROUP BY t.service, t.state) x) AS line
                FROM leases l JOIN compute_sources s ON s.name = l.name ORDER BY l.name""",
        )
        return [queue_of(row) for row in rows]

    def submitted(self, interface_hashes: Collection[str], *, largest_bytes: int = 0) -> list[Waiting]:
        """List the oldest submitted tickets of some interfaces that did not outgrow ``largest_bytes`` of memory."""
        return self._waiting(
            f"""state = '{SUBMITTED}' AND interface_hash = ANY(:hashes)
               AND (outgrown_bytes IS NULL OR outgrown_bytes < :largest) ORDER BY queue_order LIMIT :limit""",
            hashes=list(interface_hashes),
            largest=largest_bytes,
            limit=MOST_AT_ONCE,
        )

    def front(self, source: str) -> tuple[Waiting, ...]:
        """List the front of one queue, in its order."""
        return tuple(
            self._waiting(
                f"state = '{QUEUED}' AND source = :source ORDER BY queue_order LIMIT :limit",
                source=source,
                limit=FRONT,
            )
        )

    def _waiting(self, where: str, **values: Any) -> list[Waiting]:
        rows = run(
            self.database,
            f"""SELECT id AS ticket, queue_order AS "order", service, interface_hash, expected_seconds, source,
                  coalesce(loading_seconds, 0) AS loading_seconds, coalesce(outgrown_bytes, 0) AS outgrown_bytes
                FROM tickets WHERE {where}""",
            **values,
        )
        return [Waiting(**row._mapping) for row in rows]  # noqa: SLF001 (SQLAlchemy's public name for a row's columns)

    def assign(self, moves: Sequence[Placement]) -> dict[int, str]:
        """Queue submitted tickets; return those that were still submitted, with their queues."""
        return self._move(SUBMITTED, "true", moves)

    def move(self, moves: Sequence[Placement]) -> dict[int, str]:
        """Move waiting tickets to another queue, each guarded by the queue that it leaves."""
        return self._move(QUEUED, "t.source = m.from_source", moves)

    def _move(self, before: str, guard: str, moves: Sequence[Placement]) -> dict[int, str]:
        if not moves:
            return {}
        rows = run(
            self.database,
            f"""UPDATE tickets t SET state = '{QUEUED}', source = m.to_source, loading_seconds = m.loading_seconds
                FROM jsonb_to_recordset(CAST(:moves AS jsonb))
                  AS m(ticket bigint, from_source text, to_source text, loading_seconds double precision)
                WHERE t.id = m.ticket AND t.state = '{before}' AND {guard} RETURNING t.id, t.source""",
            moves=json.dumps([asdict(move) for move in moves]),
        )
        if rows:
            self._tell((before, QUEUED))
        return {row.id: row.source for row in rows}

    def _tell(self, *moves: tuple[str, str]) -> None:
        channels = (channel for before, after in moves for channel in hints_of(before, after, MANAGER))
        for channel in dict.fromkeys(channels):
            self.hint(channel)

    def unqueue_stranded(self, *, settled: bool, unfit: Collection[tuple[str, str]] = ()) -> list[int]:
        """Take tickets out of queues whose source is gone, unusable, too small, or no longer offers their interface.

        The tickets of a drained source leave where another source can run them; the rest wait there. ``unfit`` lists
        the sources with the interfaces that they are too small for. A lease that ran out counts only when ``settled``
        and one lease after PostgreSQL's start.
        """
        rows = run(
            self.database,
            f"""UPDATE tickets t SET state = '{SUBMITTED}', source = NULL
               WHERE t.state = '{QUEUED}' AND (NOT EXISTS (
                 SELECT FROM leases l JOIN compute_sources s ON s.name = l.name JOIN offers o ON o.source = l.name
                 WHERE l.name = t.source AND s.problem IS NULL AND o.interface_hash = t.interface_hash
                   AND l.name || ' ' || o.interface_hash <> ALL(:unfit)
                   AND {HOLDER_COUNTS})
                 OR EXISTS (SELECT FROM compute_sources WHERE name = t.source AND drained) AND EXISTS (
                   SELECT FROM {OFFERS} WHERE {OPEN} AND o.interface_hash = t.interface_hash
                     AND l.name || ' ' || o.interface_hash <> ALL(:unfit)
                     AND (t.outgrown_bytes IS NULL OR s.memory_bytes > t.outgrown_bytes)))
               RETURNING t.id""",
            settled=settled,
            lease=self.lease_seconds,
            unfit=[f"{source} {interface_hash}" for source, interface_hash in unfit],
        )
        return [row.id for row in rows]

    def fail_unfit(self, misfit: Misfit) -> list[int]:
        """Fail the submitted tickets of a service that is too large for every compute source that offers it."""
        rows = run(
            self.database,
            f"""UPDATE tickets SET state = '{FAILED}', finished = clock_timestamp(), error = CAST(:error AS jsonb)
               WHERE state = '{SUBMITTED}' AND interface_hash = :interface_hash RETURNING id""",
            interface_hash=misfit.interface_hash,
            error=json.dumps(fits_nowhere(misfit.service, misfit.needed_bytes, misfit.largest_bytes)),
        )
        if rows:
            self._tell((SUBMITTED, FAILED))
        return [row.id for row in rows]

    def take_back(self, *, settled: bool, attempts: int) -> list[tuple[int, str]]:
        """Take running tickets back whose holder lost its lease; return their ids and new states.

        The holder is gone when the source has another epoch by now. It is also gone when its lease ran out, once the
        manager is ``settled`` and one lease has passed since PostgreSQL's start. An attempt is spent.
        """
        rows = run(
            self.database,
            f"""UPDATE tickets t SET attempts = attempts + 1,
                 {back_to_waiting(failing="attempts + 1 >= :attempts")}
               WHERE t.state = '{RUNNING}' AND NOT EXISTS (
                 SELECT FROM leases l WHERE l.name = t.source AND l.epoch = t.epoch AND {HOLDER_COUNTS})
               RETURNING t.id, t.state""",
            settled=settled,
            attempts=attempts,
            lease=self.lease_seconds,
            error=json.dumps(worker_lost(attempts)),
        )
        self._tell(*((RUNNING, row.state) for row in rows))
        return [(row.id, row.state) for row in rows]

    def fail_waited(self, *, hours: float) -> list[int]:
        """Fail the tickets that wait for longer than ``hours``."""
        candidates = run(
            self.database,
            f"""SELECT id, service FROM tickets
               WHERE state = '{SUBMITTED}' AND created < (SELECT clock_timestamp() - make_interval(secs => :seconds))
               UNION ALL
               SELECT id, service FROM tickets
               WHERE state = '{QUEUED}' AND created < (SELECT clock_timestamp() - make_interval(secs => :seconds))""",
            seconds=hours * 3600,
        )
        failed = [
            candidate.id
            for candidate in candidates
            if run(
                self.database,
                f"""UPDATE tickets SET state = '{FAILED}', finished = clock_timestamp(), error = CAST(:error AS jsonb)
                   WHERE id = :id AND state IN {WAITING} RETURNING id""",
                id=candidate.id,
                error=json.dumps(waited_too_long(candidate.service, hours)),
            )
        ]
        if failed:
            self._tell((QUEUED, FAILED))
        return failed

    def expire(self, *, retention_hours: float, fetched_grace_seconds: float | None) -> list[Ended]:
        """End results whose time is over, whose deletion was asked for, or that were fetched a grace time ago.

        ``fetched_grace_seconds`` is ``None`` where fetched results are kept. The row changes first, files go second.
        """
        rows = run(
            self.database,
            f"""UPDATE tickets SET state = '{EXPIRED}'
               WHERE state = '{SUCCEEDED}' AND finished IS NOT NULL AND NOT files_removed AND id IN (
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
            self._tell((SUCCEEDED, EXPIRED))
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def removable(self, *, retention_hours: float, keep_input: bool) -> list[Ended]:
        """List ended tickets whose folder has to go: asked for, given up, too old, or expired with nothing to keep."""
        rows = run(
            self.database,
            f"""SELECT id, folder FROM tickets
               WHERE state IN {one_of(FAILED, CANCELLED, EXPIRED)} AND NOT files_removed AND id IN (
                 SELECT id FROM tickets WHERE delete_requested AND NOT files_removed
                 UNION ALL
                 SELECT id FROM tickets WHERE state IN {one_of(CANCELLED, EXPIRED)} AND NOT files_removed
                   AND (state = '{CANCELLED}' AND NOT inputs_kept OR state = '{EXPIRED}' AND NOT :keep_input)
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
            self.database,
            f"SELECT id, folder FROM tickets WHERE state = '{EXPIRED}' AND NOT files_removed",
        )
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def note_removed(self, ticket_ids: Collection[int]) -> None:
        """Note that ended tickets' folders are gone, and forget their errors' details, which may name a patient."""
        run(
            self.database,
            """WITH removed AS (
                 UPDATE tickets SET files_removed = true,
                   error = CASE WHEN error IS NOT NULL THEN jsonb_build_object('type', error->'type', 'title',
                     error->'title', 'status', error->'status', 'detail',
                     'The details are no longer kept.') END
                 WHERE id = ANY(:ids) AND finished IS NOT NULL AND NOT files_removed RETURNING id, state
               )
               INSERT INTO audit (who, what, ticket, outcome) SELECT 'QueueManager', 'delete files', id, state
               FROM removed""",
            ids=list(ticket_ids),
        )

    def prune(self, *, days: float) -> list[int]:
        """Delete the oldest rows of tickets that ended ``days`` ago and have no files; return their ids."""
        rows = run(
            self.database,
            """DELETE FROM tickets WHERE files_removed AND id = ANY(ARRAY(
                 SELECT id FROM tickets WHERE files_removed
                   AND finished < (SELECT clock_timestamp() - make_interval(secs => :seconds))
                 ORDER BY finished LIMIT :limit))
               RETURNING id""",
            seconds=days * 86400,
            limit=MOST_AT_ONCE,
        )
        return [row.id for row in rows]

    def prune_audit(self, *, days: float) -> None:
        """Delete the lines of the audit trail that are older than ``days``, at least 30."""
        run(
            self.database,
            "DELETE FROM audit WHERE at < (SELECT clock_timestamp() - make_interval(secs => :seconds))",
            seconds=days * 86400,
        )

    def known(self, folders: Collection[str]) -> set[str]:
        """Tell which folders belong to a ticket whose files are still wanted."""
        rows = run(
            self.database,
            "SELECT folder FROM tickets WHERE folder = ANY(:folders) AND NOT files_removed",
            folders=list(folders),
        )
        return {row.folder for row in rows}


def queue_of(row: sqlalchemy.Row[Any]) -> Queue:
    """Make a queue from a row of ``ManagerStore.queues``."""
    offers, line = row.offers or [], row.line or []
    seconds = {state: [part["seconds"] for part in line if part["state"] == state] for state in (RUNNING, QUEUED)}
    warm = [offer["service"] for offer in offers if offer["warm"] is not None]
    used = [part["service"] for state in seconds for part in line if part["state"] == state]
    return Queue(
        source=row.name,
        offers=frozenset((offer["service"], offer["interface_hash"]) for offer in offers),
        waiting=(),
        running_left_seconds=sum(seconds[RUNNING]) if line else None,
        durations=row.durations or {},
        queued_seconds=sum(seconds[QUEUED]),
        recent=tuple(dict.fromkeys(reversed([*warm, *used])))[::-1],
        needs={
            offer["service"]: Need(
                network_bytes=offer["network_bytes"],
                peak_bytes=offer["peak_bytes"],
                load_seconds=offer["load_seconds"],
            )
            for offer in offers
            if offer["network_bytes"] is not None
        },
        memory_bytes=row.memory_bytes,
        on_cpu=row.on_cpu,
        live=row.live,
    )
