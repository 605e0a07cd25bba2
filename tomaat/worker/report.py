"""What one job tells its lane while it is under way."""

from __future__ import annotations

import time

from tomaat.messages.channel import Channel
from tomaat.services import Cancelled

PROGRESS_SECONDS = 0.1  #: progress is reported at most this often


class Report:
    """A task's ``report``."""

    def __init__(self, channel: Channel, key: str) -> None:
        self.channel = channel
        self.key = key
        self.cancelled = False  #: set by the thread that hears the lane
        self.told_at = 0.0
        self.told_stage: str | None = None

    def __call__(self, fraction: float, stage: str) -> None:
        """Tell a fraction (0 to 1) and a stage; raises ``Cancelled`` once the job's client has given it up."""
        if self.cancelled:
            raise Cancelled
        now = time.monotonic()
        if stage == self.told_stage and now - self.told_at < PROGRESS_SECONDS:
            return
        self.told_at, self.told_stage = now, stage
        told = {"is": "progress", "key": self.key, "fraction": float(fraction), "stage": stage}
        self.channel.send(told, or_drop=True)
