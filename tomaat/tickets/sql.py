"""The facts that several statements share, each said once, as SQL.

They speak of a ticket ``t``, a lease ``l``, a compute source ``s``, an offer ``o``, and the measured durations ``d`` of
the ticket's service on its source. They are texts, not views of the database: the planner sees each statement
whole, and a test may set the clock.
"""

from __future__ import annotations

from tomaat.tickets import states
from tomaat.tickets.states import CANCELLED, FAILED, QUEUED, RUNNING, SUBMITTED


def one_of(*names: str) -> str:
    """Write states as the list that stands after ``IN``.

    >>> one_of("queued", "running")
    "('queued', 'running')"
    """
    return "(" + ", ".join(f"'{name}'" for name in sorted(names)) + ")"


WAITING = one_of(*states.WAITING)
ON_A_SOURCE = one_of(QUEUED, RUNNING)
UNENDED = one_of(*states.UNENDED)

#: Somebody has the lease: a TaskScheduling has a source's, a QueueManager the manager's. False where there is no lease.
#: Nobody has written one since a clock was set back that ends later than two of its lengths from now.
HELD = """coalesce(l.expires > clock_timestamp()
    AND l.expires <= clock_timestamp() + make_interval(secs => 2 * l.seconds), false)"""

#: The source may start tickets: it is held, has no problem, and no operator has drained it.
OPEN = f"coalesce({HELD} AND s.problem IS NULL AND NOT s.drained, false)"

#: The source takes tickets: it is open, and the worker of its present holder has offered services.
TAKES_TICKETS = f"({OPEN} AND EXISTS (SELECT FROM offers p WHERE p.source = s.name AND p.epoch = l.epoch))"

#: Each offer, with its source's lease if the present holder made it: where that source is open, it takes tickets.
OFFERS = """offers o LEFT JOIN leases l ON l.name = o.source AND l.epoch = o.epoch
    LEFT JOIN compute_sources s ON s.name = o.source"""

#: Seconds that a ticket needs from now on, once it is its turn. The task's own estimate counts, else the mean that was
#: measured on this source, else 1, and the time to load its network. A ticket that is late is expected to need as long
#: again as it is late.
SECONDS_LEFT = f"""abs(coalesce(t.expected_seconds, d.mean_seconds, 1) + coalesce(t.loading_seconds, 0)
    - CASE WHEN t.state = '{RUNNING}' THEN extract(epoch FROM clock_timestamp() - t.started) ELSE 0 END)"""

DURATIONS = "LEFT JOIN durations d ON d.source = t.source AND d.service = t.service"

#: The ticket that each lane of the source performs: of two that run the one claimed last. The other one's result is
#: being packed, and nobody waits for that.
PERFORMED = f"""(SELECT DISTINCT ON (lane) * FROM tickets
    WHERE source = s.name AND lane <= s.lanes AND state = '{RUNNING}' ORDER BY lane, started DESC)"""

#: The length of a source's queue: its tickets, and the seconds after which a ticket queued now would be started. What
#: waits fills up the lanes that are free first: as many of them as make the time shortest.
LENGTH = f"""(SELECT q.waiting, min((q.seconds + p.seconds) / p.lanes) AS wait_seconds FROM
      (SELECT count(*) AS waiting, coalesce(sum({SECONDS_LEFT}), 0) AS seconds
         FROM tickets t {DURATIONS} WHERE t.source = s.name AND t.state = '{QUEUED}') q,
      (SELECT row_number() OVER freed AS lanes, sum(seconds) OVER freed AS seconds FROM
         (SELECT CASE WHEN t.id IS NULL THEN 0 ELSE {SECONDS_LEFT} END AS seconds
            FROM generate_series(1, s.lanes) number LEFT JOIN {PERFORMED} t ON t.lane = number {DURATIONS}) lane
         WINDOW freed AS (ORDER BY seconds ROWS UNBOUNDED PRECEDING)) p
    GROUP BY q.waiting)"""

#: The SET of an UPDATE that forgets a ticket's texts that may name a patient, but those of its error.
FORGET_WORDS = "stage = NULL, idempotency_key = NULL, payload_sha256 = NULL, label = NULL"
#: The SET of an UPDATE that forgets all of a ticket's texts that may name a patient.
FORGET_TEXTS = f"""{FORGET_WORDS}, error = CASE WHEN error IS NOT NULL THEN jsonb_build_object(
    'type', error->'type', 'title', error->'title', 'status', error->'status',
    'detail', 'The details are no longer kept.') END"""

#: Added to the WHERE of an UPDATE: its commit does not wait for the disk. For moves that nobody is told of: if a crash
#: of the server takes one back, the ticket waits as before, and what its worker does counts no longer. Decision 0021.
NOT_AWAITED = "(SELECT set_config('synchronous_commit', 'off', true)) = 'off'"

#: The beginning of an UPDATE that fails tickets with ``:error``.
FAIL = f"""UPDATE tickets t SET state = '{FAILED}', finished = clock_timestamp(), error = CAST(:error AS jsonb)"""

#: The database's clock is as the manager expects it, and not just set: the bounds of ``Within``.
TRUSTED = "clock_timestamp() BETWEEN CAST(:earliest AS timestamptz) AND CAST(:latest AS timestamptz)"


def ago(seconds: str) -> str:
    """Write the moment ``:seconds`` ago, by a clock that is ``TRUSTED``; else NULL, and then nothing is that old."""
    return f"(SELECT clock_timestamp() - make_interval(secs => :{seconds}) WHERE {TRUSTED})"


def back_to_waiting(*, failing: str | None = None) -> str:
    """Write the SET of an UPDATE that lets a running ticket wait for a queue again.

    A ticket that was given up is cancelled instead. One for which ``failing`` holds fails with ``:error``.
    """
    ends, state, error = "cancel_requested", f"WHEN cancel_requested THEN '{CANCELLED}'", ""
    if failing is not None:
        ends = f"(cancel_requested OR {failing})"
        state = f"{state} WHEN {failing} THEN '{FAILED}'"
        error = f", error = CASE WHEN NOT cancel_requested AND {failing} THEN CAST(:error AS jsonb) END"
    return f"""state = CASE {state} ELSE '{SUBMITTED}' END, finished = CASE WHEN {ends} THEN clock_timestamp() END,
      source = CASE WHEN {ends} THEN source END, epoch = NULL, progress = NULL, stage = NULL,
      waiting_since = clock_timestamp(){error}"""
