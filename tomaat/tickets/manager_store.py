"""Give tickets to queues, move them, take them back and expire them, for QueueManager."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy

from tomaat.database import Hint, Row, RowRefused, Rows, run, run_prepared
from tomaat.devices.need import Need
from tomaat.tickets.hints import HINTS_OF_QUEUED, hints_of
from tomaat.tickets.long_queues import LongQueues
from tomaat.tickets.priorities import NIGHT, NORMAL, PRIORITIES, RANK_BITS, RANKS
from tomaat.tickets.problems import fits_nowhere, waited_too_long, worker_lost
from tomaat.tickets.queue import NOBODY, Misfit, Part, Placement, Queue, Waiting
from tomaat.tickets.row_by_row import ONE_BY_ONE, RowByRow
from tomaat.tickets.share_store import ShareStore
from tomaat.tickets.sql import (
    DURATIONS,
    FAIL,
    FORGET_TEXTS,
    HELD,
    NOT_AWAITED,
    OFFERS,
    OPEN,
    PERFORMED,
    SECONDS_LEFT,
    TAKES_TICKETS,
    TRUSTED,
    WAITING,
    ago,
    back_to_waiting,
    one_of,
)
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, MANAGER, QUEUED, RUNNING, SUBMITTED, SUCCEEDED

#: A lease that ran out counts as its holder's end only when the manager is ``:settled``, by a clock that was not just
#: set, and one lease after PostgreSQL's start, if that lies in the past.
HOLDER_COUNTS = f"""({HELD} OR NOT :settled OR NOT coalesce({TRUSTED}, false)
                     OR clock_timestamp() BETWEEN pg_postmaster_start_time()
                          AND pg_postmaster_start_time() + make_interval(secs => :lease))"""
#: The queue that a ticket ``t`` waits in does not take it any longer, or is drained while another one takes it.
STRANDED = f"""(NOT EXISTS (
     SELECT FROM leases l JOIN compute_sources s ON s.name = l.name JOIN offers o ON o.source = l.name
     WHERE l.name = t.source AND s.problem IS NULL AND o.interface_hash = t.interface_hash
       AND l.name || ' ' || o.interface_hash <> ALL(:unfit) AND {HOLDER_COUNTS})
   OR EXISTS (SELECT FROM compute_sources WHERE name = t.source AND drained) AND EXISTS (
     SELECT FROM {OFFERS} WHERE {OPEN} AND o.interface_hash = t.interface_hash
       AND l.name || ' ' || o.interface_hash <> ALL(:unfit)
       AND (t.outgrown_bytes IS NULL OR s.memory_bytes > t.outgrown_bytes)))"""
MOST_AT_ONCE = 1000  #: tickets changed in one statement
FRONT = 200  #: tickets read of each queue's front
SOON_SECONDS = 10.0  #: in which a ticket that found a source idle is claimed, or gets a turn
MOVED = "t.id, t.state, t.source"  #: what hints tell of a ticket
WAITING_COLUMNS = """id AS ticket, queue_order AS "order", service, interface_hash, expected_seconds, source,
    coalesce(loading_seconds, 0) AS loading_seconds, coalesce(outgrown_bytes, 0) AS outgrown_bytes"""
#: A ticket ``t`` of the night counts as normal by now: it has waited for ``:night`` seconds, by a trusted clock.
RAISED = f"""(t.priority = '{NIGHT}' AND coalesce(t.waiting_since, t.created) < {ago("night")})"""
#: The rank of a ticket ``t``: of its priority, unless it was raised.
RANK = f"""CASE WHEN {RAISED} THEN {RANKS[NORMAL]} ELSE array_position(ARRAY{list(PRIORITIES)}, t.priority) END"""
#: A ticket ``t`` has no turn though it waits in a queue: it found a source idle, or an older version queued it.
WITHOUT_TURN = f"""(t.queue_order BETWEEN 0 AND {(1 << RANK_BITS) - 1}
    AND coalesce(t.waiting_since, t.created) < clock_timestamp() - make_interval(secs => :soon))"""
#: Each compute source with its queue, of which at most ``FRONT`` tickets are counted.
QUEUES = f"""SELECT l.name, {TAKES_TICKETS} AS live, l.name ~ '/cpu-[0-9]+$' AS on_cpu, s.memory_bytes, s.lanes,
      (SELECT json_agg(o ORDER BY o.warm) FROM (SELECT service, interface_hash, warm, network_bytes,
         peak_bytes, load_seconds FROM offers WHERE source = l.name) o) AS offers,
      (SELECT json_object_agg(d.service, d.mean_seconds) FROM durations d WHERE d.source = l.name) AS durations,
      (SELECT json_agg(x ORDER BY x.last) FROM (
         SELECT t.service, t.state, coalesce(t.key_name, '{NOBODY}') AS key, min(t.queue_order) AS first,
           max(t.queue_order) AS last, sum({SECONDS_LEFT}) AS seconds, count(*) AS tickets
         FROM ((SELECT * FROM tickets WHERE source = s.name AND state = '{QUEUED}' ORDER BY queue_order LIMIT {FRONT})
               UNION ALL {PERFORMED}) t {DURATIONS}
         GROUP BY t.service, t.state, t.key_name, t.queue_order >> {RANK_BITS},
           CASE WHEN t.state = '{RUNNING}' THEN t.lane END) x) AS line
    FROM leases l JOIN compute_sources s ON s.name = l.name ORDER BY l.name"""


@dataclass(frozen=True, kw_only=True)
class Within:
    """The moments between which the database's clock has to be, for an age to count; without any, none counts."""

    earliest: datetime | str | None
    latest: datetime | str | None


ANY_TIME = Within(earliest="-infinity", latest="infinity")
NO_TIME = Within(earliest=None, latest=None)


@dataclass(frozen=True, kw_only=True)
class QueuesNow:
    """The queues and the tickets that wait for one, at one moment."""

    queues: list[Queue]
    submitted: list[Waiting]  #: in their order


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A ticket whose files may have to go."""

    id: int
    folder: str


class ManagerStore:
    """Makes the manager's moves, each a guarded statement over many tickets, at most ``most`` of them.

    A ticket whose row PostgreSQL refuses to change holds no other up: it is left alone from then on.
    """

    def __init__(
        self,
        database: sqlalchemy.Engine,
        hint: Callable[[Hint], None],
        *,
        lease_seconds: float,
        night_hours: float = 12.0,
    ) -> None:
        self.database = database
        self.hint = hint
        self.lease_seconds = lease_seconds
        self.night_seconds = night_hours * 3600  #: after which a ticket of the night counts as a normal one
        self.shares = ShareStore(database)
        self.long_queues = LongQueues(database)
        self.tickets = RowByRow(database, "tickets", word="ticket")
        self.lines = RowByRow(database, "audit", word="line")

    def now(self) -> datetime:
        """Read the database's clock."""
        moment: datetime = run(self.database, "SELECT clock_timestamp() AS now")[0].now
        return moment

    def any_waits(self) -> bool:
        """Tell whether any ticket waits: for a queue, or in one."""
        rows = run_prepared(
            self.database,
            f"""SELECT EXISTS (SELECT FROM tickets WHERE state = '{SUBMITTED}')
                    OR EXISTS (SELECT FROM tickets WHERE state = '{QUEUED}') AS waits""",
        )
        return bool(rows[0].waits)

    def read(self, *, within: Within = ANY_TIME) -> QueuesNow:
        """Read each compute source's queue, and the oldest submitted tickets of each interface, in one statement.

        A queue tells its length, the services that ran and wait, and the measurements, but none of its tickets; those
        of sources that are away are there, too. A submitted ticket is one that some source takes, and that did not
        outgrow the largest of them. It has waited for long only ``within`` the expected time.
        """
        rows = run_prepared(
            self.database,
            f"""WITH queues AS MATERIALIZED ({QUEUES})
                SELECT (SELECT json_agg(q ORDER BY q.name) FROM queues q) AS queues,
                  (SELECT json_agg(w ORDER BY w."order") FROM (
                     SELECT waiting.*
                     FROM (SELECT DISTINCT o.interface_hash FROM queues q JOIN offers o ON o.source = q.name
                           WHERE q.live) taken
                     CROSS JOIN LATERAL (
                       SELECT {WAITING_COLUMNS}, coalesce(key_name, '{NOBODY}') AS key, {RANK} AS rank,
                         claim > 0 AS came_back
                       FROM tickets t
                       WHERE state = '{SUBMITTED}' AND interface_hash = taken.interface_hash AND id <> ALL(:refused)
                         AND (outgrown_bytes IS NULL
                              OR outgrown_bytes < (SELECT max(memory_bytes) FROM queues WHERE live))
                       ORDER BY queue_order LIMIT {MOST_AT_ONCE}) waiting) w) AS submitted""",
            refused=self.tickets.refused,
            night=self.night_seconds,
            **asdict(within),
        )
        return QueuesNow(
            queues=self._queues_of(rows[0].queues or []),
            submitted=[Waiting(**waiting) for waiting in rows[0].submitted or []],
        )

    def queues(self) -> list[Queue]:
        """Read each compute source's queue as ``read`` does."""
        rows = run(self.database, f"SELECT json_agg(q ORDER BY q.name) AS queues FROM ({QUEUES}) q")
        return self._queues_of(rows[0].queues or [])

    def _queues_of(self, facts: Sequence[dict[str, Any]]) -> list[Queue]:
        self.long_queues.complete(facts, front=FRONT)
        return [queue_of(each) for each in facts]

    def fronts(self, sources: Collection[str]) -> dict[str, tuple[Waiting, ...]]:
        """List the fronts of some queues, each in its order."""
        rows = run(
            self.database,
            f"""SELECT waiting.* FROM unnest(CAST(:sources AS text[])) AS s(name) CROSS JOIN LATERAL (
                  SELECT {WAITING_COLUMNS} FROM tickets
                  WHERE state = '{QUEUED}' AND source = s.name AND id <> ALL(:refused)
                  ORDER BY queue_order LIMIT :front) waiting""",
            sources=list(sources),
            refused=self.tickets.refused,
            front=FRONT,
        )
        found = [Waiting(**row._asdict()) for row in rows]
        return {source: tuple(each for each in found if each.source == source) for source in sources}

    def assign(self, moves: Sequence[Placement]) -> dict[int, str]:
        """Queue submitted tickets; return those that were still submitted, with their queues."""
        return self._move(SUBMITTED, "true", moves)

    def move(self, moves: Sequence[Placement]) -> dict[int, str]:
        """Move waiting tickets to another queue, each guarded by the queue that it leaves."""
        return self._move(QUEUED, "t.source = m.from_source", moves)

    def _move(self, before: str, guard: str, moves: Sequence[Placement]) -> dict[int, str]:
        if not moves:
            return {}
        try:
            rows = self._place(before, guard, moves)
        except RowRefused:
            rows = []
            for move in moves[:ONE_BY_ONE]:
                with self.tickets.leaving(move.ticket):
                    rows += self._place(before, guard, [move])
        for row in rows:
            place, key = row.queue_order, row.key_name or NOBODY
            part = Part(service=row.service, key=key, first=place, last=place, seconds=row.seconds)
            self.long_queues.add(row.source, part)
        return {row.id: row.source for row in rows}

    def _place(self, before: str, guard: str, moves: Sequence[Placement]) -> Rows:
        """Put tickets into queues and say so: a commit that nobody waits for can carry its hints.

        One that an operator moved to the front meanwhile stays there.
        """
        return run_prepared(
            self.database,
            f"""WITH placed AS (
                  UPDATE tickets t SET state = '{QUEUED}', source = m.to_source, loading_seconds = m.loading_seconds,
                    queue_order = CASE WHEN t.queue_order < 0 THEN t.queue_order
                      ELSE coalesce(m."order", t.queue_order) END
                  FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS m(ticket bigint, from_source text, to_source text,
                    loading_seconds double precision, "order" bigint)
                  WHERE t.id = m.ticket AND t.state = '{before}' AND {guard} AND {NOT_AWAITED}
                  RETURNING t.id, t.source, t.state, t.service, t.queue_order, t.key_name,
                    coalesce(t.expected_seconds, (SELECT mean_seconds FROM durations
                      WHERE source = t.source AND service = t.service), 1) + t.loading_seconds AS seconds
                ) SELECT *, {HINTS_OF_QUEUED} FROM placed""",
            moves=json.dumps([asdict(move) for move in sorted(moves, key=lambda move: move.ticket)]),
        )

    def _tell(self, before: str, rows: Iterable[Row]) -> None:
        """Send the hints of tickets that have moved; their rows tell what they are now."""
        for row in rows:
            for hint in hints_of(before, row.state, MANAGER, ticket=row.id, source=row.source):
                self.hint(hint)

    def unqueue_stranded(
        self,
        *,
        settled: bool,
        unfit: Collection[tuple[str, str]] = (),
        within: Within = ANY_TIME,
        most: int = MOST_AT_ONCE,
    ) -> list[int]:
        """Take tickets out of queues whose source is gone, unusable, too small, or no longer offers their interface.

        The tickets of a drained source leave where another source can run them; the rest wait there. ``unfit`` lists
        the sources with the interfaces that they are too small for. A lease that ran out counts only when ``settled``,
        ``within`` the expected time, and one lease after PostgreSQL's start.
        """
        rows = self.tickets.change(
            f"UPDATE tickets t SET state = '{SUBMITTED}', source = NULL",
            f"t.state = '{QUEUED}' AND {STRANDED}",
            picked=f"""SELECT q.id FROM tickets q JOIN (
                 SELECT * FROM (SELECT DISTINCT source, interface_hash, outgrown_bytes FROM tickets
                   WHERE state = '{QUEUED}') t WHERE {STRANDED}) k
                 ON q.source = k.source AND q.interface_hash = k.interface_hash
                   AND q.outgrown_bytes IS NOT DISTINCT FROM k.outgrown_bytes
                 WHERE q.state = '{QUEUED}'""",
            most=most,
            settled=settled,
            lease=self.lease_seconds,
            unfit=[f"{source} {interface_hash}" for source, interface_hash in unfit],
            **asdict(within),
        )
        return [row.id for row in rows]

    def unqueue_raised(self, *, within: Within = ANY_TIME, most: int = MOST_AT_ONCE) -> list[int]:
        """Take tickets out of their queues to queue them anew, those first that would be claimed first.

        They are night's that count as normal by now, ``within`` the expected time, and those that wait there without a
        turn.
        """
        in_turn_of_night = f"t.queue_order >= {RANKS[NIGHT] << RANK_BITS}"
        due = f"t.state = '{QUEUED}' AND ({in_turn_of_night} AND {RAISED} OR {WITHOUT_TURN})"
        rows = self.tickets.change(
            f"UPDATE tickets t SET state = '{SUBMITTED}', source = NULL",
            due,
            picked=f"SELECT t.id FROM tickets t WHERE {due} ORDER BY t.queue_order",
            most=most,
            night=self.night_seconds,
            soon=SOON_SECONDS,
            **asdict(within),
        )
        return [row.id for row in rows]

    def fail_unfit(self, misfit: Misfit, *, most: int = MOST_AT_ONCE) -> list[int]:
        """Fail the submitted tickets of a service that is too large for every compute source that offers it."""
        rows = self.tickets.change(
            FAIL,
            f"t.state = '{SUBMITTED}' AND t.interface_hash = :interface_hash",
            most=most,
            interface_hash=misfit.interface_hash,
            returning=MOVED,
            error=json.dumps(fits_nowhere(misfit.service, misfit.needed_bytes, misfit.largest_bytes)),
        )
        self._tell(SUBMITTED, rows)
        return [row.id for row in rows]

    def take_back(
        self, *, settled: bool, attempts: int, within: Within = ANY_TIME, most: int = MOST_AT_ONCE
    ) -> list[tuple[int, str]]:
        """Take running tickets back whose holder lost its lease; return their ids and new states.

        The holder is gone when the source has another epoch by now. It is also gone when its lease ran out, once the
        manager is ``settled``, ``within`` the expected time, and one lease after PostgreSQL's start. An attempt is
        spent.
        """
        rows = self.tickets.change(
            f"""UPDATE tickets t SET attempts = attempts + 1,
                {back_to_waiting(failing="attempts + 1 >= :attempts")}""",
            f"""t.state = '{RUNNING}' AND NOT EXISTS (
                 SELECT FROM leases l WHERE l.name = t.source AND l.epoch = t.epoch AND {HOLDER_COUNTS})""",
            most=most,
            returning=MOVED,
            settled=settled,
            attempts=attempts,
            lease=self.lease_seconds,
            error=json.dumps(worker_lost(attempts)),
            **asdict(within),
        )
        self._tell(RUNNING, rows)
        return [(row.id, row.state) for row in rows]

    def fail_waited(self, *, hours: float, within: Within = ANY_TIME, most: int = MOST_AT_ONCE) -> list[int]:
        """Fail the tickets that wait for longer than ``hours`` since they came, or came back from a source."""
        long_ago = f"coalesce(waiting_since, created) < {ago('seconds')}"
        limits = {"seconds": hours * 3600, **asdict(within)}
        waited = " UNION ALL ".join(
            f"(SELECT id, service FROM tickets WHERE state = '{state}' AND {long_ago} LIMIT :most)"
            for state in (SUBMITTED, QUEUED)
        )
        candidates = run(
            self.database,
            f"SELECT id, service FROM ({waited}) waited WHERE id <> ALL(:refused) LIMIT :most",
            most=most,
            refused=self.tickets.refused,
            **limits,
        )
        failed: list[int] = []
        for service in sorted({candidate.service for candidate in candidates}):
            rows = self.tickets.change(
                FAIL,
                f"t.state IN {WAITING} AND t.id = ANY(:ids) AND {long_ago}",
                most=most,
                returning=MOVED,
                ids=[candidate.id for candidate in candidates if candidate.service == service],
                error=json.dumps(waited_too_long(service, hours)),
                **limits,
            )
            self._tell(QUEUED, rows)
            failed += [row.id for row in rows]
        return failed

    def expire(
        self,
        *,
        retention_hours: float,
        fetched_grace_seconds: float | None,
        within: Within = ANY_TIME,
        most: int = MOST_AT_ONCE,
    ) -> list[Ended]:
        """End results whose time is over, whose deletion was asked for, or that were fetched a grace time ago.

        ``fetched_grace_seconds`` is ``None`` where fetched results are kept. The row changes first, files go second.
        """
        due = f"""t.state = '{SUCCEEDED}' AND t.finished IS NOT NULL AND NOT t.files_removed
                  AND t.id <> ALL(:refused)"""
        rows = self.tickets.change(
            f"UPDATE tickets t SET state = '{EXPIRED}'",
            due,
            picked=f"""(SELECT id FROM tickets t WHERE {due} AND delete_requested LIMIT :most)
                 UNION ALL
                 (SELECT id FROM tickets t WHERE {due} AND finished < {ago("retention")}
                   ORDER BY finished LIMIT :most)
                 UNION ALL
                 (SELECT id FROM tickets t WHERE {due} AND fetched IS NOT NULL AND fetched < {ago("grace")}
                   ORDER BY fetched LIMIT :most)""",
            most=most,
            returning=f"{MOVED}, t.folder",
            retention=retention_hours * 3600,
            grace=fetched_grace_seconds,
            **asdict(within),
        )
        self._tell(SUCCEEDED, rows)
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def removable(
        self,
        *,
        retention_hours: float,
        keep_input: bool,
        within: Within = ANY_TIME,
        resisting: Collection[int] = (),
        most: int = MOST_AT_ONCE,
    ) -> list[Ended]:
        """List ended tickets whose folder has to go: asked for, given up, too old, or expired with nothing to keep.

        ``resisting`` ones are left out. An expired ticket counts as such only by a trusted clock, as an old one does.
        """
        rows = run(
            self.database,
            f"""SELECT DISTINCT id, folder FROM (
                 (SELECT id, folder FROM tickets WHERE delete_requested AND NOT files_removed
                    AND state IN {one_of(FAILED, CANCELLED, EXPIRED)} AND id <> ALL(:left) LIMIT :most)
                 UNION ALL
                 (SELECT id, folder FROM tickets WHERE state IN {one_of(CANCELLED, EXPIRED)} AND NOT files_removed
                    AND (state = '{CANCELLED}' AND NOT inputs_kept OR state = '{EXPIRED}' AND NOT :keep_input
                         AND (SELECT coalesce({TRUSTED}, false))) AND id <> ALL(:left) LIMIT :most)
                 UNION ALL
                 (SELECT id, folder FROM tickets WHERE finished IS NOT NULL AND NOT files_removed
                    AND state IN {one_of(FAILED, CANCELLED, EXPIRED)} AND id <> ALL(:left)
                    AND finished < {ago("retention")} ORDER BY finished LIMIT :most)
               ) due LIMIT :most""",
            keep_input=keep_input,
            retention=retention_hours * 3600,
            left=[*self.tickets.refused, *resisting],
            most=most,
            **asdict(within),
        )
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def expired_with_files(self, *, after: int = 0, most: int = MOST_AT_ONCE) -> list[Ended]:
        """List expired tickets whose input is still kept, in the order of their ids, beyond one.

        The first condition is there for the index ``tickets_unwanted``, which is used only where it is implied.
        """
        rows = run(
            self.database,
            f"""SELECT id, folder FROM tickets WHERE state IN {one_of(CANCELLED, EXPIRED)} AND state = '{EXPIRED}'
                 AND NOT files_removed AND id > :after ORDER BY id LIMIT :most""",
            after=after,
            most=most,
        )
        return [Ended(id=row.id, folder=row.folder) for row in rows]

    def note_removed(self, ticket_ids: Collection[int]) -> None:
        """Note that ended tickets' folders are gone, and forget their texts, which may name a patient."""
        try:
            self._note_removed(list(ticket_ids))
        except RowRefused:
            for ticket in ticket_ids:
                with self.tickets.leaving(ticket):
                    self._note_removed([ticket])

    def _note_removed(self, ticket_ids: Sequence[int]) -> None:
        run(
            self.database,
            f"""WITH removed AS (
                 UPDATE tickets SET files_removed = true, {FORGET_TEXTS}
                 WHERE id = ANY(:ids) AND finished IS NOT NULL AND NOT files_removed RETURNING id, state
               )
               INSERT INTO audit (who, what, ticket, outcome) SELECT 'QueueManager', 'delete files', id, state
               FROM removed""",
            ids=list(ticket_ids),
        )

    def forget_texts(self, ticket_id: int) -> None:
        """Forget the texts of an ended ticket whose files should be gone, and resist."""
        with self.tickets.leaving(ticket_id):
            run(
                self.database,
                f"UPDATE tickets SET {FORGET_TEXTS} WHERE id = :id AND finished IS NOT NULL",
                id=ticket_id,
            )

    def prune(self, *, days: float, within: Within = ANY_TIME, most: int = MOST_AT_ONCE) -> list[int]:
        """Delete the oldest rows of tickets that ended ``days`` ago and have no files; return their ids."""
        due = f"t.files_removed AND t.finished < {ago('seconds')}"
        rows = self.tickets.change(
            "DELETE FROM tickets t",
            due,
            picked=f"SELECT t.id FROM tickets t WHERE {due} ORDER BY t.finished",
            most=most,
            seconds=days * 86400,
            **asdict(within),
        )
        return [row.id for row in rows]

    def prune_audit(self, *, days: float, within: Within = ANY_TIME, most: int = MOST_AT_ONCE) -> int:
        """Delete the oldest lines of the audit trail, older than ``days``, at least 30; return how many."""
        due = f"t.at < {ago('seconds')}"
        rows = self.lines.change(
            "DELETE FROM audit t",
            due,
            picked=f"SELECT t.id FROM audit t WHERE {due} ORDER BY t.at",
            most=most,
            seconds=days * 86400,
            **asdict(within),
        )
        return len(rows)

    def known(self, folders: Collection[str]) -> set[str]:
        """Tell which folders belong to a ticket whose files are still wanted."""
        rows = run(
            self.database,
            "SELECT folder FROM tickets WHERE folder = ANY(:folders) AND NOT files_removed",
            folders=list(folders),
        )
        return {row.folder for row in rows}


PART_FIELDS = tuple(each.name for each in fields(Part))


def queue_of(facts: Mapping[str, Any]) -> Queue:
    """Make a queue of what ``QUEUES`` has found out."""
    offers, line = facts["offers"] or [], facts["line"] or []
    seconds = {state: [part["seconds"] for part in line if part["state"] == state] for state in (RUNNING, QUEUED)}
    warm = [offer["service"] for offer in offers if offer["warm"] is not None]
    used = [part["service"] for state in seconds for part in line if part["state"] == state]
    return Queue(
        source=facts["name"],
        offers=frozenset((offer["service"], offer["interface_hash"]) for offer in offers),
        waiting=(),
        performed=tuple(seconds[RUNNING]),
        lanes=facts["lanes"],
        durations=facts["durations"] or {},
        queued_seconds=sum(seconds[QUEUED]) if seconds[QUEUED] else None,
        parts=tuple(Part(**{name: part[name] for name in PART_FIELDS}) for part in line if part["state"] == QUEUED),
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
        memory_bytes=facts["memory_bytes"],
        on_cpu=facts["on_cpu"],
        live=facts["live"],
    )
