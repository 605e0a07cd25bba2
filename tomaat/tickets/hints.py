"""Choose the doors that a move wakes; no other place chooses channels."""

from __future__ import annotations

from tomaat.database.hints import CHANGED, QUEUED, SUBMITTED
from tomaat.tickets import states

EVERY_DOOR = (SUBMITTED, QUEUED, CHANGED)  #: a client or an operator wants something: any door may have to act
IDLE = (SUBMITTED,)  #: a compute source has nothing to do: the manager may move tickets to it


def hints_of(before: str | None, after: str, door: str) -> tuple[str, ...]:
    """Name the channels for the news that ``door`` moved a ticket from ``before`` to ``after``.

    QueueManager sends no hint for a ticket that it makes ``submitted`` again. It looks for a queue in the same round,
    and sends the hints of that move.
    """
    told = []
    if after == states.SUBMITTED and door != states.MANAGER:
        told.append(SUBMITTED)
    if after == states.QUEUED:
        told.append(QUEUED)
    if before is not None and (before, after) != (states.QUEUED, states.SUBMITTED):
        told.append(CHANGED)
    return tuple(told)
