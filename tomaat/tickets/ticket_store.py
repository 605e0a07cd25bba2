"""Submit, find and cancel tickets, and tell how long they will take, for WebService."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy

from tomaat.database import DatabaseUnavailable, Hint, Row, RowRefused, Rows, run, run_prepared
from tomaat.tickets.actors import ANYBODY, HOLDER
from tomaat.tickets.hints import HINT_OF_QUEUED, hints_of, hints_of_wish
from tomaat.tickets.lines import Line, Lines, begins_and_ends
from tomaat.tickets.priorities import NORMAL
from tomaat.tickets.source_store import MANAGER_LEASE
from tomaat.tickets.sql import (
    DURATIONS,
    HELD,
    LENGTH,
    OFFERS,
    OPEN,
    PERFORMED,
    SECONDS_LEFT,
    UNENDED,
    WAITING,
    one_of,
)
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, QUEUED, RUNNING, SUBMITTED, SUCCEEDED, WEB
from tomaat.tickets.ticket import COLUMNS, Ticket

MOST_LATER_TOKENS = 20
READ_RESULT = "read result"  #: as the audit trail calls it
#: The input of a ticket t is kept, nobody has begun to delete it, and its service still takes it.
CAN_RUN_AGAIN = f"""(NOT t.files_removed AND NOT t.delete_requested
    AND (t.state IN {one_of(FAILED, SUCCEEDED)} OR (t.state = '{CANCELLED}' AND t.inputs_kept)
         OR (t.state = '{EXPIRED}' AND :keep_input))
    AND t.finished > clock_timestamp() - make_interval(secs => :retention_seconds)
    AND EXISTS (SELECT FROM offers WHERE interface_hash = t.interface_hash))"""


#: The source, if any, to which the manager would give a new ticket without a look at its queues: its network is loaded
#: there, it is known to fit, a lane is free and nobody waits; of several the one with the first name. No ticket of the
#: interface waits for a queue, which would come first.
AT_ONCE = f"""SELECT s.name AS source FROM {OFFERS}
    WHERE o.interface_hash = :interface_hash AND {OPEN} AND o.warm IS NOT NULL
      AND (s.memory_bytes IS NULL
           OR o.peak_bytes IS NOT NULL AND greatest(o.peak_bytes, o.network_bytes) <= s.memory_bytes)
      AND NOT EXISTS (SELECT FROM tickets WHERE state = '{QUEUED}' AND source = s.name)
      AND (SELECT count(*) FROM {PERFORMED} t) < s.lanes
      AND NOT EXISTS (SELECT FROM tickets WHERE state = '{SUBMITTED}' AND interface_hash = :interface_hash)
    ORDER BY s.name COLLATE "C" LIMIT 1"""
NOWHERE = "SELECT CAST(NULL AS text) AS source"


@dataclass(frozen=True, kw_only=True)
class AgainRules:
    """The settings that tell for how long the input of an ended ticket is kept, and what comes with it."""

    retention_seconds: float
    keep_input: bool  #: also once the result has expired
    keep_labels: bool = True


@dataclass(frozen=True, kw_only=True)
class ShortestQueue:
    """The shortest queue that a new ticket of a service may join."""

    waiting: int  #: tickets
    wait_seconds: float  #: expected, until it would be started


@dataclass(frozen=True, kw_only=True)
class NewTicket:
    """The values of a ticket's row that its submission gives."""

    token_hash: bytes
    service: str
    interface_hash: str
    folder: str
    key_name: str | None = None  #: of the API key that submits it
    idempotency_key: str | None = None
    payload_sha256: bytes | None = None  #: only beside an idempotency key
    label: str | None = field(default=None, repr=False)  #: the client's own name for it
    priority: str = NORMAL


@dataclass(frozen=True, kw_only=True)
class OfferedService:
    """A service as clients see it."""

    name: str
    description: str
    version: str
    available: bool  #: a compute source that takes tickets offers this very interface
    interface: dict[str, Any]
    interface_hash: str
    memory_bytes: dict[str, int]  #: the most that a ticket was measured to need, by compute source
    example: dict[str, Any]  #: values of its inputs to try it with; may be empty
    trial: bool = False  #: only to try with
    intended_use: str = ""
    licence: str = ""
    reference: str = ""
    contact: str = ""
    kind: str = ""  #: of the network folder that it was made from, if it was
    weights_sha256: str | None = None


class TicketStore:
    """Reads and writes the table ``tickets`` for the web server."""

    def __init__(self, database: sqlalchemy.Engine, hint: Callable[[Hint], None]) -> None:
        self.database = database
        self.hint = hint

    def submit(self, submission: NewTicket) -> Ticket:
        """Insert a ticket whose files are durable in its folder; return it, or the one that the request had already.

        The call may be repeated: a folder has one ticket, and so has an idempotency key of one API key. A call of
        unknown outcome is repeated once here. Raises ``DatabaseUnavailable``.
        """
        try:
            return self._enter(submission)
        except DatabaseUnavailable:
            return self._enter(submission)

    def _enter(self, submission: NewTicket) -> Ticket:
        """Insert a ticket into the queue of a source that begins it at once, if there is one; else the manager is told.

        Where PostgreSQL refuses that, since it takes no more hints, the ticket waits for a queue.
        """
        try:
            rows = self._insert(submission, AT_ONCE)
        except RowRefused:
            rows = self._insert(submission, NOWHERE)
        if not rows or rows[0].state == SUBMITTED:
            self._tell_submitted()
        return Ticket.of((rows or self._entered(submission))[0])

    def _tell_submitted(self) -> None:
        for hint in hints_of(None, SUBMITTED, WEB):
            self.hint(hint)

    def _insert(self, submission: NewTicket, source: str) -> Rows:
        """Insert a ticket into the queue of what ``source`` selects; no rows: it was inserted before."""
        return run_prepared(
            self.database,
            f"""WITH new AS (
                  INSERT INTO tickets (token_hash, service, interface_hash, folder, key_name, idempotency_key,
                    payload_sha256, label, priority, state, source, loading_seconds)
                  SELECT :token_hash, :service, :interface_hash, :folder, :key_name, :idempotency_key, :payload_sha256,
                    :label, :priority, CASE WHEN a.source IS NULL THEN '{SUBMITTED}' ELSE '{QUEUED}' END, a.source,
                    CASE WHEN a.source IS NOT NULL THEN 0 END
                  FROM (SELECT) one LEFT JOIN ({source}) a ON true
                  ON CONFLICT DO NOTHING RETURNING {COLUMNS}
                ), noted AS (
                  INSERT INTO audit (who, what, ticket, outcome)
                  SELECT coalesce(:key_name, :anybody), 'submit', id, 'accepted' FROM new
                )
                SELECT {COLUMNS}, CASE WHEN state = '{QUEUED}' THEN {HINT_OF_QUEUED} END AS told FROM new""",
            anybody=ANYBODY,
            **asdict(submission),
        )

    def _entered(self, submission: NewTicket) -> Rows:
        """Find the ticket that the request had already."""
        return run(
            self.database,
            f"""SELECT {COLUMNS} FROM tickets WHERE folder = :folder
                  OR (coalesce(key_name, '') = coalesce(:key_name, '') AND idempotency_key = :idempotency_key)""",
            folder=submission.folder,
            key_name=submission.key_name,
            idempotency_key=submission.idempotency_key,
        )

    def can_run_again(self, ticket: Ticket, *, rules: AgainRules) -> bool:
        """Tell whether an ended ticket's input is kept, and its service still takes it."""
        rows = run(
            self.database,
            f"SELECT FROM tickets t WHERE id = :id AND {CAN_RUN_AGAIN}",
            id=ticket.id,
            **asdict(rules),
        )
        return bool(rows)

    def run_again(self, ticket: Ticket, folder: str, *, operator: str, rules: AgainRules) -> Ticket | None:
        """Insert a ticket whose folder holds the input of an ended one; ``None`` if that may not be run again.

        The statement demands that nobody has begun to delete the ended one's files, so the copy is whole. The new
        ticket belongs to the same client: it has the same key's name, and the same tokens open it. It has the same
        label where labels are kept, and the same priority. The call may be repeated, and is repeated once here after an
        unknown outcome.
        """
        try:
            again = self._insert_again(ticket, folder, operator, rules)
        except DatabaseUnavailable:
            again = self._insert_again(ticket, folder, operator, rules)
        self._tell_submitted()
        return again

    def _insert_again(self, ticket: Ticket, folder: str, operator: str, rules: AgainRules) -> Ticket | None:
        rows = run(
            self.database,
            f"""WITH again AS (
                  INSERT INTO tickets (token_hash, later_token_hashes, service, interface_hash, folder, key_name,
                    label, priority, again_of)
                  SELECT token_hash, later_token_hashes, service, interface_hash, :folder, key_name,
                    CASE WHEN :keep_labels THEN label END, priority, id
                  FROM tickets t WHERE id = :id AND {CAN_RUN_AGAIN}
                  ON CONFLICT DO NOTHING RETURNING {COLUMNS}
                ), noted AS (
                  INSERT INTO audit (who, what, ticket, outcome)
                  SELECT :operator, 'run again', :id, 'as ticket ' || id FROM again
                )
                SELECT {COLUMNS} FROM again""",
            id=ticket.id,
            folder=folder,
            operator=operator,
            **asdict(rules),
        ) or run(self.database, f"SELECT {COLUMNS} FROM tickets WHERE folder = :folder", folder=folder)
        return Ticket.of(rows[0]) if rows else None

    def add_token(self, ticket: Ticket, token_hash: bytes) -> None:
        """Give a ticket one more token, since only the hash of the first is known; the newest are kept."""
        run(
            self.database,
            """WITH changed AS (
                 UPDATE tickets SET later_token_hashes = (later_token_hashes || CAST(ARRAY[:hash] AS bytea[]))
                   [greatest(1, cardinality(later_token_hashes) + 2 - :most):]
                 WHERE id = :id RETURNING id
               )
               INSERT INTO audit (who, what, ticket, outcome)
               SELECT :who, 'submit', id, 'repeated' FROM changed""",
            id=ticket.id,
            hash=token_hash,
            most=MOST_LATER_TOKENS,
            who=ticket.key_name or ANYBODY,
        )

    def find(self, ticket_id: int) -> Ticket | None:
        """Read one ticket."""
        rows = run(self.database, f"SELECT {COLUMNS} FROM tickets WHERE id = :id", id=ticket_id)
        return Ticket.of(rows[0]) if rows else None

    def find_all(self, ticket_ids: Collection[int], *, reading: Collection[int] = ()) -> dict[int, Ticket]:
        """Read many tickets in one statement.

        ``reading`` lists those whose result is about to be read: where it is there, the audit trail gets that line.
        """
        noted = f"""WITH noted AS (
              INSERT INTO audit (who, what, ticket, outcome) SELECT '{HOLDER}', '{READ_RESULT}', id, '200'
              FROM unnest(CAST(:reading AS bigint[])) AS read(id) JOIN tickets USING (id)
              WHERE state = '{SUCCEEDED}' AND NOT delete_requested AND NOT files_removed)"""
        rows = run_prepared(
            self.database,
            f"{noted if reading else ''} SELECT {COLUMNS} FROM tickets WHERE id = ANY(:ids)",
            ids=list(ticket_ids),
            **({"reading": list(reading)} if reading else {}),
        )
        return {row.id: Ticket.of(row) for row in rows}

    def lines(self) -> Lines:
        """Read what runs and waits at every compute source, in one statement for all tickets.

        A ticket whose result is being packed delays nobody.
        """
        at_source = f"FROM tickets t {DURATIONS} WHERE t.source = s.name AND t.state"
        rows = run(
            self.database,
            f"""
            SELECT EXISTS (SELECT FROM leases l WHERE l.name = :manager AND {HELD}) AS manager_held,
              s.name, {HELD} AS held, s.problem IS NULL AS usable, s.drained, s.memory_bytes, s.lanes,
              (SELECT json_agg(o) FROM (SELECT interface_hash, bool_or(epoch = l.epoch) AS now FROM offers
                 WHERE source = s.name GROUP BY interface_hash) o) AS offers,
              (SELECT json_object_agg(service, mean_seconds) FROM durations WHERE source = s.name) AS means,
              r.ids, r.seconds AS running_seconds, r.lanes AS running_lanes, w.orders, w.seconds AS waiting_seconds
            FROM (SELECT) one LEFT JOIN compute_sources s ON true LEFT JOIN leases l ON l.name = s.name
            CROSS JOIN LATERAL (
              SELECT array_agg(t.id ORDER BY t.started) AS ids, array_agg({SECONDS_LEFT} ORDER BY t.started) AS seconds,
                array_agg(t.lane ORDER BY t.started) AS lanes
              {at_source} = '{RUNNING}') r
            CROSS JOIN LATERAL (
              SELECT array_agg(t.queue_order ORDER BY t.queue_order) AS orders,
                array_agg({SECONDS_LEFT} ORDER BY t.queue_order) AS seconds
              {at_source} = '{QUEUED}') w
            """,
            manager=MANAGER_LEASE,
        )
        return Lines(
            manager_held=rows[0].manager_held, lines={row.name: _line_of(row) for row in rows if row.name is not None}
        )

    def cancel(self, ticket: Ticket, *, operator: str | None = None) -> Ticket:
        """Give a ticket up: at once while it waits; asked for while it runs; a deletion after its end.

        An ``operator``, named by the API key, deletes nothing. An ended ticket stays as it is. The input of a ticket
        that an operator cancels is kept to be run again, unless its client gave it up as well. One statement decides
        by the row's state at that moment; the returned ticket is the row afterwards.
        """
        rows = run(
            self.database,
            f"""WITH given_up AS (
                  UPDATE tickets SET
                    state = CASE WHEN state IN {WAITING} THEN '{CANCELLED}' ELSE state END,
                    finished = CASE WHEN state IN {WAITING} THEN clock_timestamp() ELSE finished END,
                    cancel_requested = cancel_requested OR state = '{RUNNING}',
                    delete_requested = delete_requested OR (state <> '{RUNNING}' AND NOT :by_operator),
                    inputs_kept = :by_operator AND NOT delete_requested AND (inputs_kept
                      OR (state IN {UNENDED} AND NOT cancel_requested))
                  WHERE id = :id RETURNING {COLUMNS}
                ), noted AS (
                  INSERT INTO audit (who, what, ticket, outcome) SELECT :who, :what, id, state FROM given_up
                )
                SELECT {COLUMNS} FROM given_up""",
            id=ticket.id,
            by_operator=operator is not None,
            who=operator or HOLDER,
            what="give up" if operator is None else "cancel",
        )
        now = Ticket.of(rows[0])
        for hint in hints_of_wish(now.id, now.source):
            self.hint(hint)
        return now

    def move_to_front(self, ticket: Ticket, *, operator: str) -> Ticket | None:
        """Let a waiting ticket go before all others, also before those that were moved so; ``None``: it waits no more.

        Below 0 the numbers that order those that wait are an operator's; the manager leaves them.
        """
        rows = run(
            self.database,
            f"""WITH moved AS (
                  UPDATE tickets SET queue_order = -nextval('ticket_order') WHERE id = :id AND state IN {WAITING}
                  RETURNING {COLUMNS}
                ), noted AS (
                  INSERT INTO audit (who, what, ticket, outcome) SELECT :operator, 'to front', id, state FROM moved
                )
                SELECT {COLUMNS} FROM moved""",
            id=ticket.id,
            operator=operator,
        )
        if not rows:
            return None
        now = Ticket.of(rows[0])
        for hint in hints_of_wish(now.id, now.source):
            self.hint(hint)
        return now

    def mark_fetched(self, ticket_ids: Collection[int]) -> None:
        """Note that all of some results was sent; each repetition starts the grace time again."""
        run(
            self.database,
            f"UPDATE tickets SET fetched = clock_timestamp() WHERE id = ANY(:ids) AND state = '{SUCCEEDED}'",
            ids=list(ticket_ids),
        )

    def count_waiting(self) -> int:
        """Count the tickets that wait, in all queues and for one."""
        rows = run(
            self.database,
            f"""SELECT (SELECT count(*) FROM tickets WHERE state = '{SUBMITTED}')
                    + (SELECT count(*) FROM tickets WHERE state = '{QUEUED}') AS waiting""",
        )
        return int(rows[0].waiting)

    def offered_services(self) -> list[OfferedService]:
        """List each service that was ever offered, each with the interface of one offer.

        That is the newest offer of a source that takes tickets, else the newest of all.
        """
        rows = run(
            self.database,
            f"""SELECT DISTINCT ON (o.service) o.service, o.interface_hash, o.offer,
                      (SELECT json_object_agg(n.source, greatest(n.peak_bytes, n.network_bytes)) FROM offers n
                       WHERE n.interface_hash = o.interface_hash AND n.offer->>'version' = o.offer->>'version'
                         AND n.peak_bytes IS NOT NULL) AS memory_bytes,
                      {OPEN} AS available
               FROM {OFFERS}
               ORDER BY o.service, available DESC, o.offered DESC""",
        )
        return [
            OfferedService(
                name=row.service,
                description=row.offer["description"],
                version=row.offer["version"],
                available=row.available,
                interface=row.offer["interface"],
                interface_hash=row.interface_hash,
                memory_bytes=row.memory_bytes or {},
                example=row.offer.get("example", {}),
                trial=row.offer.get("trial", False),
                intended_use=row.offer.get("intended_use", ""),
                licence=row.offer.get("licence", ""),
                reference=row.offer.get("reference", ""),
                contact=row.offer.get("contact", ""),
                kind=row.offer.get("kind", ""),
                weights_sha256=row.offer.get("weights_sha256"),
            )
            for row in rows
        ]

    def ahead(self) -> dict[str, ShortestQueue]:
        """Find the shortest queue of sources that take tickets, for each interface by its hash."""
        rows = run(
            self.database,
            f"""
            WITH queues AS MATERIALIZED (
                SELECT l.name, l.epoch, q.waiting, q.wait_seconds
                FROM leases l JOIN compute_sources s ON s.name = l.name CROSS JOIN LATERAL {LENGTH} q
                WHERE {OPEN}
            )
            SELECT DISTINCT ON (o.interface_hash) o.interface_hash, q.waiting, q.wait_seconds
            FROM offers o JOIN queues q ON q.name = o.source AND q.epoch = o.epoch
            ORDER BY o.interface_hash, q.wait_seconds, q.waiting
            """,
        )
        return {
            row.interface_hash: ShortestQueue(waiting=row.waiting, wait_seconds=float(row.wait_seconds)) for row in rows
        }


def _line_of(row: Row) -> Line:
    running = dict(zip(row.ids or (), row.running_seconds or (), strict=True))
    last = dict(zip(row.running_lanes or (), running.values(), strict=True))  # of two of a lane the one that performs
    performed = [seconds for lane, seconds in last.items() if lane <= row.lanes]
    begins, ends = begins_and_ends(row.waiting_seconds or (), performed, lanes=row.lanes)
    return Line(
        source=row.name,
        held=row.held,
        usable=row.usable,
        drained=row.drained,
        offers={offer["interface_hash"]: offer["now"] is True for offer in row.offers or ()},
        memory_bytes=row.memory_bytes,
        means=row.means or {},
        running=running,
        orders=row.orders or (),
        begins=begins,
        ends=ends,
    )
