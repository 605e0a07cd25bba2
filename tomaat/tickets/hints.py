"""Which doors a move wakes: the one place that chooses channels."""

from __future__ import annotations

from tomaat.database.hints import CHANGED, QUEUED, SUBMITTED
from tomaat.tickets import states

EVERY_DOOR = (SUBMITTED, QUEUED, CHANGED)  #: a client or an operator wants something: any door may have to act
IDLE = (SUBMITTED,)  #: a compute source has nothing to do: the manager may move tickets to it


def hints_of(before: str | None, after: str, door: str) -> tuple[str, ...]:
    """Name the channels on which ``door`` tells that it moved a ticket from ``before`` to ``after``.

    QueueManager tells itself nothing: in the round that makes a ticket ``submitted`` it looks for a queue for it, and
    that move is told.
    """
    told = []
    if after == states.SUBMITTED and door != states.MANAGER:
        told.append(SUBMITTED)
    if after == states.QUEUED:
        told.append(QUEUED)
    if before is not None and (before, after) != (states.QUEUED, states.SUBMITTED):
        told.append(CHANGED)
    return tuple(told)
