"""Choose the doors that a move wakes, and tell them about what; no other place chooses channels."""

from __future__ import annotations

from tomaat.database import ENDED, MOVED, QUEUED, SUBMITTED, WISHED, Hint
from tomaat.tickets import states

#: Any door may have to act, about anything.
EVERY_DOOR = tuple(Hint(channel) for channel in (SUBMITTED, QUEUED, WISHED, MOVED, ENDED))
#: Selected by a statement that queues tickets, for each of its rows: what ``hints_of`` names of WebService's move.
HINT_OF_QUEUED = f"pg_notify('{QUEUED}', source)"
#: The same of a move of the manager's.
HINTS_OF_QUEUED = f"{HINT_OF_QUEUED} AS source_told, pg_notify('{MOVED}', CAST(id AS text)) AS ticket_told"

#: Selected by the statement that completes a ticket after which nothing waits: what ``hints_of`` names.
HINT_OF_ENDED = f"pg_notify('{ENDED}', CAST(id AS text))"

#: Several tickets came to one source while others may be idle: the manager may move some.
MORE_WAITS = Hint(SUBMITTED)


def hints_of(
    before: str | None, after: str, door: str, *, ticket: int | None = None, source: str | None = None
) -> tuple[Hint, ...]:
    """Name the news that ``door`` moved a ticket from ``before`` to ``after``, and to or at a ``source``.

    QueueManager sends no hint for a ticket that it makes ``submitted`` again. It looks for a queue in the same round,
    and sends the hints of that move. Whoever waits for a ticket to begin can wait a moment longer.
    """
    told = []
    if before is not None and (before, after) != (states.QUEUED, states.SUBMITTED):
        ends = after not in states.UNENDED
        told.append(Hint(ENDED if ends else MOVED, _named(ticket), soon=ends))
    if after == states.SUBMITTED and door != states.MANAGER:
        told.append(Hint(SUBMITTED))
    if after == states.QUEUED:
        told.append(Hint(QUEUED, source or ""))
    return tuple(told)


def hints_of_wish(ticket: int, source: str | None) -> tuple[Hint, ...]:
    """Name the news that a client, or an operator, wants something of a ticket: any door may have to act."""
    at_source = () if source is None else (Hint(WISHED, source),)
    return (Hint(SUBMITTED), *at_source, Hint(ENDED, _named(ticket)))


def hints_about(source: str) -> tuple[Hint, ...]:
    """Name the news that an operator wants something of a compute source."""
    return (Hint(SUBMITTED), Hint(QUEUED, source))


def _named(ticket: int | None) -> str:
    return "" if ticket is None else str(ticket)
