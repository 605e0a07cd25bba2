"""The last day's figures by the hour; an hour that is over is summed up once, for all operators."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from tomaat.tickets.operator_store import Hour

HOURS = 24
HOUR = timedelta(hours=1)
SETTLED = timedelta(minutes=1)  #: after an hour's end all of its ends are committed
RECENT_SECONDS = 5.0  #: for so long the hours that are not settled are not asked for again

Hours = list[tuple[str | None, Hour]]  #: each of one service, or of all together (``None``)
Read = Callable[[datetime, datetime], Hours]


class LastDay:
    """Keeps the figures that cannot change any more. Two threads may ask for the same hour, which harms nobody."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.settled: dict[datetime, Hours] = {}
        self.recent: dict[datetime, tuple[float, Hours]] = {}

    def hours(self, now: datetime) -> Hours:
        """List the figures of the hour of ``now`` and the 23 before it, the oldest first; an empty hour has none."""
        present = now.replace(minute=0, second=0, microsecond=0)
        begins = [present - each * HOUR for each in reversed(range(HOURS))]
        self.settled = {hour: kept for hour, kept in self.settled.items() if hour >= begins[0]}
        self.recent = {hour: kept for hour, kept in self.recent.items() if hour >= begins[0]}
        return [figures for hour in begins for figures in self._of(hour, now)]

    def _of(self, hour: datetime, now: datetime) -> Hours:
        if hour in self.settled:
            return self.settled[hour]
        asked, figures = self.recent.get(hour, (0.0, []))
        if hour not in self.recent or time.monotonic() - asked > RECENT_SECONDS:
            figures = self.read(hour, hour + HOUR)
            self.recent[hour] = (time.monotonic(), figures)
            if now >= hour + HOUR + SETTLED:
                self.settled[hour] = figures
        return figures
