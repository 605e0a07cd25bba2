"""How a job tells its lane that it is under way."""

from __future__ import annotations

import math
import time

from tomaat.messages import Channel, FromLane, Progress
from tomaat.services import Cancelled

PROGRESS_SECONDS = 0.1  #: progress is reported at most this often


class Report:
    """A task's ``report``."""

    def __init__(self, channel: Channel[FromLane], key: str) -> None:
        self.channel = channel
        self.key = key
        self.given_up = False  #: set by the thread that hears the lane
        self.told_at = 0.0
        self.told_stage: str | None = None

    def demand_wanted(self) -> None:
        """Raise ``Cancelled`` once the job's client has given it up."""
        if self.given_up:
            raise Cancelled

    def __call__(self, fraction: float, stage: str) -> None:
        """Tell a fraction (0 to 1) and a stage; raises ``Cancelled`` once the job's client has given it up."""
        self.demand_wanted()
        now = time.monotonic()
        if stage == self.told_stage and now - self.told_at < PROGRESS_SECONDS:
            return
        self.told_at, self.told_stage = now, stage
        self.channel.send(Progress(key=self.key, fraction=_share(fraction), stage=str(stage)), or_drop=True)


def _share(fraction: float) -> float:
    """Bring a fraction into 0 to 1; infinity and NaN become 0."""
    return min(1.0, max(0.0, float(fraction))) if math.isfinite(fraction) else 0.0
