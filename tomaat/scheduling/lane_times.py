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
    start_seconds: float = 600.0  #: loading all networks may take long
    pack_seconds: float = 600.0  #: a large result, on a slow disk, behind another one
