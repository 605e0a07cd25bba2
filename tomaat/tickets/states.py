"""The states of a ticket, and the table of moves: which door may move it from where to where.

Every change of state is one guarded UPDATE in one of the stores. The database refuses a move that the table lacks:
where the table changes, ``tools/state_trigger.py`` writes the next migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

SUBMITTED = "submitted"  #: waits for a queue
QUEUED = "queued"  #: waits in one compute source's queue
RUNNING = "running"  #: its worker has it
SUCCEEDED = "succeeded"  #: the result can be fetched
FAILED = "failed"  #: an error for the client to read
CANCELLED = "cancelled"  #: the client, or an operator, gave it up
EXPIRED = "expired"  #: its result can no longer be fetched

STATES = (SUBMITTED, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED, EXPIRED)
if TYPE_CHECKING:
    State: TypeAlias = str  # a checker reads no names out of a tuple
else:
    State = Literal[STATES]
WAITING = frozenset({SUBMITTED, QUEUED})
UNENDED = WAITING | {RUNNING}
ENDED = frozenset(STATES) - UNENDED

WEB = "WebService"
MANAGER = "QueueManager"
SCHEDULER = "TaskScheduling"
RESTORE = "restore"  # no door: ``python3 -m tomaat.backup restore``, while none runs


@dataclass(frozen=True, kw_only=True)
class Move:
    """One permitted change: ``door`` moves a ticket ``before`` → ``after`` when ``when``."""

    before: str | None
    after: str
    door: str
    when: str


def _move(before: str | None, after: str, door: str, when: str) -> Move:
    return Move(before=before, after=after, door=door, when=when)


MOVES = (
    _move(None, SUBMITTED, WEB, "the upload is durable, or an operator runs an ended ticket's input again"),
    _move(None, QUEUED, WEB, "the upload is durable, and an idle compute source has its network loaded"),
    _move(SUBMITTED, QUEUED, MANAGER, "a live compute source offers its service"),
    _move(QUEUED, QUEUED, MANAGER, "an idle compute source takes it from a longer queue"),
    _move(
        QUEUED,
        SUBMITTED,
        MANAGER,
        "its compute source is gone, drained, too small, or no longer offers its service; or it has waited so long that"
        " it counts as of a higher priority",
    ),
    _move(QUEUED, RUNNING, SCHEDULER, "the compute source's lane claims it"),
    _move(RUNNING, SUCCEEDED, SCHEDULER, "its result is durable"),
    _move(
        RUNNING,
        FAILED,
        SCHEDULER,
        "the task refused or raised, its deadline passed, its last attempt died, or it fits nowhere",
    ),
    _move(RUNNING, CANCELLED, SCHEDULER, "the client, or an operator, asked for it and the worker stopped"),
    _move(
        RUNNING,
        SUBMITTED,
        SCHEDULER,
        "its worker died with attempts left; the door stops, the disk is full, a larger source is there, its worker"
        " ended with another ticket in it (no attempt)",
    ),
    _move(RUNNING, SUBMITTED, MANAGER, "its compute source's holder is gone, with attempts left"),
    _move(RUNNING, FAILED, MANAGER, "its compute source's holder is gone, after the last attempt"),
    _move(RUNNING, CANCELLED, MANAGER, "its compute source's holder is gone, and it was given up"),
    _move(SUBMITTED, CANCELLED, WEB, "the client, or an operator, gives it up"),
    _move(QUEUED, CANCELLED, WEB, "the client, or an operator, gives it up"),
    _move(
        SUBMITTED, FAILED, MANAGER, "it waited longer than WAIT_LIMIT_HOURS, fits nowhere, or nobody offers its service"
    ),
    _move(QUEUED, FAILED, MANAGER, "it waited longer than WAIT_LIMIT_HOURS"),
    _move(SUCCEEDED, EXPIRED, MANAGER, "its time is over, or the client asked for its deletion"),
    _move(RUNNING, SUBMITTED, RESTORE, "it ran when the backup was made (no attempt)"),
    _move(RUNNING, CANCELLED, RESTORE, "it ran when the backup was made, and the client had given it up"),
    *(_move(state, FAILED, RESTORE, "the backup has it without its files") for state in (SUBMITTED, QUEUED, RUNNING)),
    _move(SUCCEEDED, EXPIRED, RESTORE, "the backup has it without its files"),
)
