"""How long a lane waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LaneTimes:
    """The waits of a lane, in seconds; settings decide the first three."""

    poll_seconds: float
    grace_seconds: float
    cancel_seconds: float
    report_seconds: float = 0.25
    look_seconds: float = 10.0  #: between two looks for a ticket that a claim took long after it was given up
    load_seconds: float = 600.0  #: of one network, or one file of tasks, unless the task says otherwise
    start_seconds: float = 600.0  #: importing torch from a cold, slow disk
    pack_seconds: float = 600.0  #: a large result, on a slow disk, behind another one
