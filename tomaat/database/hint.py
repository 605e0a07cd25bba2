"""What a waiting process may hear: that something has changed, and about what."""

from __future__ import annotations

from dataclasses import dataclass, field

SUBMITTED = "tomaat_submitted"  #: the manager has something to assign or to move
IDLE = "tomaat_idle"  #: a compute source has nothing to do; about it
QUEUED = "tomaat_queued"  #: a compute source has something to do; about it
WISHED = "tomaat_wished"  #: somebody wants something of what runs at a compute source; about it
DOCTOR = "tomaat_doctor"  #: the doctor sees whether hints arrive
MOVED = "tomaat_moved"  #: a ticket has gone on, to a queue or to a worker; about it
ENDED = "tomaat_ended"  #: a ticket has ended, or expired; about it


@dataclass(frozen=True)
class Hint:
    """News for those who listen to ``channel``."""

    channel: str
    about: str = ""  #: a source's name, or a ticket's id; empty: anything
    soon: bool = field(default=True, compare=False)  #: ``False``: it can wait a moment for others
