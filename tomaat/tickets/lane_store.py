"""Claim, report, end and put back the tickets of one compute source, for TaskScheduling."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
import structlog

from tomaat.database import IDLE, Hint, RowRefused, Rows, run, run_prepared
from tomaat.tickets.hints import HINT_OF_ENDED, MORE_WAITS, hints_of
from tomaat.tickets.problems import without_details
from tomaat.tickets.source_store import Lease
from tomaat.tickets.sql import HELD, NOT_AWAITED, ON_A_SOURCE, back_to_waiting
from tomaat.tickets.states import CANCELLED, FAILED, QUEUED, RUNNING, SCHEDULER, SUBMITTED, SUCCEEDED
from tomaat.tickets.ticket import COLUMNS, Ticket

log = structlog.get_logger()

#: It is this very claim: of two databases that were one, a claim of the other is none of this one's.
THIS_CLAIM = """id = :id AND claim = :claim AND epoch = :epoch AND source = :source
    AND claim_folder IS NOT DISTINCT FROM :claim_folder"""
MINE = f"{THIS_CLAIM} AND state = '{RUNNING}'"  #: the guard of every end
#: The next to be claimed, and the ones after it; none of a drained source.
FRONT = f"""SELECT {COLUMNS} FROM tickets WHERE state = '{QUEUED}' AND source = :source
      AND interface_hash = ANY(:hashes) AND id <> ALL(:left_alone)
      AND NOT EXISTS (SELECT FROM compute_sources WHERE name = :source AND drained)
    ORDER BY queue_order LIMIT CAST(:most AS integer) + 1"""
#: Claims the ticket in front, and those behind it as long as all are ``:brief`` and new, and tells the next one.
CLAIM = f"""front AS MATERIALIZED ({FRONT}), chosen AS (
      SELECT id FROM (SELECT id, row_number() OVER line AS place,
          bool_and(claim = 0 AND interface_hash = ANY(:brief) AND expected_seconds IS NULL) OVER line AS are_brief
        FROM front WINDOW line AS (ORDER BY queue_order)) f
      WHERE are_brief AND place <= CAST(:most AS integer) OR place = 1 AND :any_kind
    ), claimed AS (
      UPDATE tickets SET state = '{RUNNING}', claim = claim + 1, epoch = :epoch, lane = :lane,
        claim_folder = claim + 1 || '-' || CAST(:random AS text),
        started = clock_timestamp(), progress = 0, stage = NULL
      WHERE id = ANY(ARRAY(SELECT id FROM chosen ORDER BY id)) AND id = coalesce(CAST(:only AS bigint), id)
        AND (claim = 0 OR NOT :beside_another)
        AND interface_hash = ANY(:only_of) AND id <> ALL(:not_now)
        AND state = '{QUEUED}' AND source = :source
        AND EXISTS (SELECT FROM leases l WHERE l.name = :source AND l.holder = :holder
                      AND l.epoch = :epoch AND {HELD})
      RETURNING {COLUMNS}
    ), told AS (
      SELECT true AS is_claimed, claimed.* FROM claimed
      UNION ALL (SELECT false, front.* FROM front WHERE id NOT IN (SELECT id FROM claimed)
                 ORDER BY queue_order LIMIT 1)
    )"""
WEIGHT = 0.3  #: of the newest duration in the moving mean
#: Completes tickets, each if it is still that very claim, and adds their seconds to what is measured of their service.
SUCCEED = f"""done AS (
      UPDATE tickets t SET state = '{SUCCEEDED}', finished = clock_timestamp(), progress = 1, stage = NULL,
        result_sha256 = e.sha256, result_bytes = e.size_bytes
      FROM jsonb_to_recordset(CAST(:ends AS jsonb)) AS e(id bigint, claim integer, epoch bigint, claim_folder text,
        sha256 text, size_bytes bigint, seconds double precision)
      WHERE t.id = e.id AND t.claim = e.claim AND t.epoch = e.epoch AND t.source = :source
        AND t.claim_folder IS NOT DISTINCT FROM e.claim_folder AND t.state = '{RUNNING}'
      RETURNING t.id, t.source, t.service, e.seconds
    ), measured AS (
      INSERT INTO durations (source, service, mean_seconds)
      SELECT source, service, avg(seconds) FROM done GROUP BY source, service ORDER BY service
      ON CONFLICT (source, service) DO UPDATE
        SET mean_seconds = (1 - {WEIGHT}) * durations.mean_seconds + {WEIGHT} * excluded.mean_seconds
    )"""
#: Completes tickets after which nothing is claimed, and says so.
TOLD_SUCCESS = f"""WITH {SUCCEED}
    SELECT id, {HINT_OF_ENDED}, CASE WHEN :idle THEN pg_notify('{IDLE}', source) END FROM done"""
MOST_SECONDS = 1e9  #: of a duration; the database takes no longer one


@dataclass(frozen=True, kw_only=True)
class Success:
    """A ticket whose result is durable."""

    ticket: Ticket
    sha256: str
    size_bytes: int
    seconds: float  #: for which it kept the source from the next ticket


class LaneStore:
    """Makes a lane's moves, each guarded by state, claim and epoch, and tells whether the lane still had the ticket."""

    def __init__(
        self, database: sqlalchemy.Engine, lease: Lease, hint: Callable[[Hint], None], *, lane: int = 1
    ) -> None:
        self.database = database
        self.lease = lease
        self.lane = lane  #: of those of the source, counted from 1
        self.hint = hint
        self.refused: list[int] = []  #: tickets that PostgreSQL did not let this lane claim
        self.next: Ticket | None = None  #: the ticket that waited next when the last one was claimed
        self.idle: Hint | None = None  #: to be sent with the hint of the next end

    def claim(
        self,
        interface_hashes: Collection[str],
        *,
        beside_another: bool = False,
        running: Collection[int] = (),
        only_of: Collection[str] | None = None,
        not_now: Collection[int] = (),
        brief: Collection[str] = (),
    ) -> Ticket | None:
        """Take the first ticket of this source's queue that its worker can run.

        The claim demands the own epoch, a lease that has not run out, and a source that is not drained. With
        ``beside_another`` the worker still has another ticket: then a ticket that was claimed before is left, since it
        must run alone. ``None`` does not mean that the queue is empty. Tickets that are still ``running`` here are left
        where they are. A ticket whose row PostgreSQL refuses to change is left from then on.

        Nobody is told of a ticket of a ``brief`` interface that it begins: in a moment it ends.

        If the first is none ``only_of`` some interfaces, or is one of ``not_now``, nothing is claimed: it has to wait,
        and nobody overtakes it.
        """
        guards = {"beside_another": beside_another, "only_of": only_of, "not_now": not_now}
        try:
            rows = self._claim(interface_hashes, running, guards)
        except RowRefused:
            rows = self._claim_by_id(interface_hashes, running, guards)
        return next(iter(self._take_claims(rows, brief)), None)

    def _claim(
        self,
        interface_hashes: Collection[str],
        running: Collection[int],
        guards: Mapping[str, Any],
        *,
        only: int | None = None,
    ) -> Rows:
        return run_prepared(
            self.database,
            f"WITH {CLAIM} SELECT * FROM told WHERE {NOT_AWAITED}",
            **self._claiming(interface_hashes, running, guards, only=only),
        )

    def _take_claims(self, rows: Rows, brief: Collection[str]) -> list[Ticket]:
        """Note which ticket waits next; return the claimed ones, in their order."""
        self.next = next((Ticket.of(row) for row in rows if not row.is_claimed), None)
        claimed = sorted((Ticket.of(row) for row in rows if row.is_claimed), key=lambda ticket: ticket.queue_order)
        for ticket in claimed:
            if ticket.interface_hash not in brief:
                self._tell(ticket, RUNNING, before=QUEUED)
        return claimed

    def _claim_by_id(
        self, interface_hashes: Collection[str], running: Collection[int], guards: Mapping[str, Any]
    ) -> Rows:
        """Claim the ticket that is in front now, and no other; it is left from now on if its row is refused."""
        front = self.next_queued(interface_hashes, running=running)
        if front is None:
            return []
        try:
            return self._claim(interface_hashes, running, guards, only=front.id)
        except RowRefused as error:
            self.refused.append(front.id)
            log.error("ticket.not_claimed", ticket=front.id, source=self.lease.name, reason=str(error))
            return []

    def next_queued(self, interface_hashes: Collection[str], *, running: Collection[int] = ()) -> Ticket | None:
        """Look which ticket a claim would take now. It is not claimed: it may be gone when the claim comes."""
        rows = run_prepared(self.database, FRONT, **self._front(interface_hashes, running))
        self.next = Ticket.of(rows[0]) if rows else None
        return self.next

    def _front(self, interface_hashes: Collection[str], running: Collection[int], most: int = 1) -> dict[str, Any]:
        """Give the values that ``FRONT`` needs."""
        return {
            "most": most,
            "source": self.lease.name,
            "hashes": list(interface_hashes),
            "left_alone": [*self.refused, *running],
        }

    def _claiming(
        self,
        interface_hashes: Collection[str],
        running: Collection[int],
        guards: Mapping[str, Any],
        *,
        only: int | None = None,
        brief: Collection[str] = (),
        most: int = 1,
        any_kind: bool = True,
    ) -> dict[str, Any]:
        """Give the values that ``CLAIM`` needs."""
        return {
            **self._front(interface_hashes, running, most),
            "brief": list(brief),
            "any_kind": any_kind,
            "only": only,
            "holder": self.lease.holder,
            "epoch": self.lease.epoch,
            "lane": self.lane,
            "beside_another": guards["beside_another"],
            "only_of": list(interface_hashes if guards["only_of"] is None else guards["only_of"]),
            "not_now": list(guards["not_now"]),
            "random": secrets.token_hex(8),
        }

    def left_running(self, *, known: Collection[int] = ()) -> list[Ticket]:
        """Find the tickets that a claim of unknown outcome took: they run here by the own epoch, and are not ``known``.

        They come in their order.
        """
        rows = run(
            self.database,
            f"""SELECT {COLUMNS} FROM tickets
                WHERE state = '{RUNNING}' AND source = :source AND epoch = :epoch AND lane = :lane AND id <> ALL(:known)
                ORDER BY queue_order""",
            source=self.lease.name,
            epoch=self.lease.epoch,
            lane=self.lane,
            known=list(known),
        )
        return [Ticket.of(row) for row in rows]

    def report(self, ticket: Ticket, progress: float | None, stage: str | None) -> bool | None:
        """Write a running ticket's progress; return whether its client gave it up, ``None`` if it is no longer ours.

        A progress that PostgreSQL refuses is dropped.
        """
        try:
            rows = self._run_mine(
                "UPDATE tickets SET progress = :progress, stage = :stage",
                ticket,
                f"{MINE} AND {NOT_AWAITED}",
                progress=progress,
                stage=stage,
            )
        except RowRefused as error:
            log.error("ticket.progress_refused", ticket=ticket.id, reason=str(error))
            return self.look(ticket)
        return rows[0].cancel_requested if rows else None

    def look(self, ticket: Ticket) -> bool | None:
        """Tell whether a running ticket's client gave it up; ``None`` if it is no longer ours."""
        rows = run(
            self.database,
            f"SELECT cancel_requested FROM tickets WHERE {MINE}",
            **self._of(ticket),
        )
        return rows[0].cancel_requested if rows else None

    def succeed(self, ticket: Ticket, *, sha256: str, size_bytes: int, seconds: float) -> bool:
        """Complete one ticket as ``succeed_all`` does; tell whether it is complete."""
        return bool(self.succeed_all([Success(ticket=ticket, sha256=sha256, size_bytes=size_bytes, seconds=seconds)]))

    def succeed_all(self, ends: Sequence[Success]) -> set[int]:
        """Complete tickets whose results are durable; return those that are complete.

        The others have another holder, or have ended otherwise. The call may be repeated after an unknown outcome.
        Raises ``RowRefused`` when PostgreSQL refuses one of the rows: then none is completed.
        """
        values = self._succeeding(ends)
        try:
            told = {row.id for row in run_prepared(self.database, TOLD_SUCCESS, idle=self.idle is not None, **values)}
            self.idle = None if told else self.idle
        except RowRefused:  # perhaps it is a hint that is not taken
            told = set()
        done = told or {row.id for row in run_prepared(self.database, f"WITH {SUCCEED} SELECT id FROM done", **values)}
        return self._succeeded(ends, done, told)

    def succeed_and_claim(
        self,
        ends: Sequence[Success],
        *,
        interface_hashes: Collection[str],
        beside_another: bool,
        running: Collection[int],
        brief: Collection[str] = (),
        most: int = 1,
        any_kind: bool = True,
    ) -> tuple[set[int], list[Ticket]]:
        """Complete tickets as ``succeed_all`` does, and claim the next one as ``claim`` does, in one statement.

        Of tickets of ``brief`` interfaces that were never claimed and wait one behind the other, ``most`` are claimed.
        One of another kind is claimed alone, and only where that may be: ``any_kind``.
        After an unknown outcome ``succeed_all`` may be called, and ``left_running``. Where PostgreSQL refuses a row,
        the tickets are completed, and none is claimed.
        """
        guards = {"beside_another": beside_another, "only_of": None, "not_now": ()}
        values = self._claiming(interface_hashes, running, guards, brief=brief, most=most, any_kind=any_kind)
        try:
            rows = run_prepared(
                self.database,
                f"""WITH {SUCCEED}, {CLAIM} SELECT completed.done, told.*
                    FROM (SELECT array_agg(id) AS done, count({HINT_OF_ENDED}) AS hints FROM done) completed
                    LEFT JOIN told ON true""",
                **(values | self._succeeding(ends)),
            )
        except RowRefused:
            return self.succeed_all(ends), []
        claimed = self._take_claims([row for row in rows if row.is_claimed is not None], brief)
        done = set(rows[0].done or ())
        return self._succeeded(ends, done, done), claimed

    def _succeeding(self, ends: Sequence[Success]) -> dict[str, Any]:
        """Give the values that ``SUCCEED`` needs."""
        told = [
            {
                "id": end.ticket.id,
                "claim": end.ticket.claim,
                "epoch": end.ticket.epoch,
                "claim_folder": end.ticket.claim_folder,
                "sha256": end.sha256,
                "size_bytes": end.size_bytes,
                "seconds": min(max(end.seconds, 0.0), MOST_SECONDS),
            }
            for end in ends
        ]
        return {"ends": json.dumps(told), "source": self.lease.name}

    def _succeeded(self, ends: Sequence[Success], done: Collection[int], told: Collection[int] = ()) -> set[int]:
        """Send the hints that were not ``told``; of what was not ``done`` now, find what is complete already."""
        for end in ends:
            if end.ticket.id not in told:
                self._tell(end.ticket, SUCCEEDED)
        return {end.ticket.id for end in ends if end.ticket.id in done or self._ended_as(end.ticket, SUCCEEDED)}

    def fail(self, ticket: Ticket, error: dict[str, Any]) -> bool:
        """End a ticket whose task refused, raised, or passed its deadline.

        An ``error`` that PostgreSQL refuses is replaced by one without details.
        """
        try:
            return self._end(ticket, FAILED, error)
        except RowRefused as refused:
            log.error("ticket.error_refused", ticket=ticket.id, reason=str(refused))
            return self._end(ticket, FAILED, without_details())

    def cancelled(self, ticket: Ticket) -> bool:
        """End a ticket whose client gave it up and whose worker has stopped."""
        return self._end(ticket, CANCELLED, None)

    def _end(self, ticket: Ticket, state: str, error: dict[str, Any] | None) -> bool:
        rows = self._run_mine(
            "UPDATE tickets SET state = :state, finished = clock_timestamp(), stage = NULL,"
            " error = CAST(:error AS jsonb)",
            ticket,
            state=state,
            error=None if error is None else json.dumps(error),
        )
        self._tell(ticket, state)
        return bool(rows) or self._ended_as(ticket, state)

    def give_up_attempt(self, ticket: Ticket, *, attempts: int, error: dict[str, Any]) -> str | None:
        """Spend an attempt of a ticket whose worker died; return its state afterwards, ``None`` if not ours.

        Cancelled if its client had given it up; failed with ``error`` after the last of ``attempts``; else submitted.
        """
        rows = self._run_mine(
            f"""UPDATE tickets SET attempts = attempts + 1,
                  {back_to_waiting(failing="attempts + 1 >= :attempts")}""",
            ticket,
            attempts=attempts,
            error=json.dumps(error),
        )
        return self._tell_back(ticket, rows)

    def put_back(self, ticket: Ticket) -> bool:
        """Put a running ticket back because this door stops or the disk is full; no attempt is spent."""
        rows = self._run_mine(f"UPDATE tickets SET {back_to_waiting()}", ticket)
        return self._tell_back(ticket, rows) is not None

    def outgrow(self, ticket: Ticket, memory_bytes: int | None, error: dict[str, Any]) -> str | None:
        """Put a ticket back for a larger source, since it needs more than this source's ``memory_bytes``.

        No attempt is spent. The ticket fails with ``error`` where no source is larger, those that are away included.
        Return its state afterwards, ``None`` if it is not ours.
        """
        larger = """EXISTS (SELECT FROM offers o JOIN compute_sources s ON s.name = o.source
                     WHERE o.interface_hash = tickets.interface_hash AND s.memory_bytes > :memory_bytes)"""
        rows = self._run_mine(
            f"UPDATE tickets SET outgrown_bytes = :memory_bytes, {back_to_waiting(failing=f'NOT {larger}')}",
            ticket,
            memory_bytes=memory_bytes,
            error=json.dumps(error),
        )
        return self._tell_back(ticket, rows)

    def ask_for_work(self, *, after_end: bool = False) -> None:
        """Hint to the manager that this source is idle; ``after_end``: once the end of its ticket is written."""
        self.idle = Hint(IDLE, self.lease.name)
        if not after_end:
            self._tell_idle()

    def _tell_idle(self) -> None:
        if self.idle is not None:
            self.hint(self.idle)
            self.idle = None

    def tell_more_waits(self) -> None:
        """Hint to the manager that several tickets came to this source while it was idle: others may be so still."""
        self.hint(MORE_WAITS)

    def without_estimate(self, services: Collection[str], *, limit: int = 100) -> list[Ticket]:
        """List queued and running tickets whose task can estimate their duration and was not asked yet."""
        rows = run(
            self.database,
            f"""SELECT {COLUMNS} FROM (SELECT * FROM tickets WHERE state = '{QUEUED}' AND source = :source
                  UNION ALL SELECT * FROM tickets WHERE state = '{RUNNING}' AND source = :source) own
                WHERE expected_seconds IS NULL AND NOT not_estimated AND service = ANY(:services)
                ORDER BY queue_order LIMIT :limit""",
            source=self.lease.name,
            services=list(services),
            limit=limit,
        )
        return [Ticket.of(row) for row in rows]

    def estimate(self, expected_seconds: Mapping[int, float | None]) -> None:
        """Write the durations that tasks expect for their tickets; ``None``: it cannot say, and is not asked again."""
        run(
            self.database,
            f"""UPDATE tickets t SET expected_seconds = e.seconds, not_estimated = e.seconds IS NULL
               FROM jsonb_to_recordset(CAST(:estimates AS jsonb)) AS e(id bigint, seconds double precision)
               WHERE t.id = e.id AND t.state IN {ON_A_SOURCE}""",
            estimates=json.dumps([{"id": id, "seconds": seconds} for id, seconds in expected_seconds.items()]),
        )

    def _tell(self, ticket: Ticket, after: str, *, before: str = RUNNING) -> None:
        for hint in hints_of(before, after, SCHEDULER, ticket=ticket.id, source=self.lease.name):
            self.hint(hint)
        self._tell_idle()

    def _tell_back(self, ticket: Ticket, rows: Rows) -> str | None:
        """Send the hints of a ticket that was put back: without a row, by an earlier try of unknown outcome."""
        state = rows[0].state if rows else None
        self._tell(ticket, state or SUBMITTED)
        return state

    def _run_mine(self, update: str, ticket: Ticket, guard: str = MINE, **values: Any) -> Rows:
        return run(
            self.database,
            f"{update} WHERE {guard} RETURNING state, cancel_requested",
            **self._of(ticket),
            **values,
        )

    def _ended_as(self, ticket: Ticket, state: str) -> bool:
        rows = run(
            self.database,
            f"SELECT 1 FROM tickets WHERE {THIS_CLAIM} AND state = :state",
            **self._of(ticket),
            state=state,
        )
        return bool(rows)

    def _of(self, ticket: Ticket) -> dict[str, Any]:
        """Give the values that name a claim of this source."""
        return {
            "id": ticket.id,
            "claim": ticket.claim,
            "epoch": ticket.epoch,
            "source": self.lease.name,
            "claim_folder": ticket.claim_folder,
        }
