"""What waits in long queues behind their fronts: read now and then, and kept up to date between.

A round of the manager reads the front of each queue. The rest of a queue of 50,000 tickets only tells how long it is,
and that hardly changes between two rounds.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy

from tomaat.database import run
from tomaat.tickets.sql import DURATIONS, SECONDS_LEFT
from tomaat.tickets.states import QUEUED

SHARE = 0.02  #: of the time, spent reading the rests of queues
SHORTEST_SECONDS = 1.0  #: between two readings


@dataclass(frozen=True, kw_only=True)
class Part:
    """The tickets of one service in the rest of a queue."""

    service: str
    place: int  #: the highest ``queue_order`` of them
    seconds: float  #: expected, of all of them
    state: str = QUEUED

    def with_one(self, other: Part) -> Part:
        """Add more tickets of the same service."""
        return Part(service=self.service, place=max(self.place, other.place), seconds=self.seconds + other.seconds)


class LongQueues:
    """Remembers the rest of each queue whose front is not all of it."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database
        self.rests: dict[str, dict[str, Part]] = {}
        self.read_again_at = 0.0

    def complete(self, queues: Collection[dict[str, Any]], *, front: int) -> None:
        """Add to the ``line`` of each queue what waits behind its front of so many tickets."""
        ends = {queue["name"]: _end_of_front(queue, front) for queue in queues}
        long = {name: end for name, end in ends.items() if end is not None}
        if time.monotonic() >= self.read_again_at or long.keys() - self.rests.keys():
            self._read(long)
        for queue in queues:
            if queue["name"] in long:
                rest = sorted(self.rests[queue["name"]].values(), key=lambda part: part.place)
                queue["line"] += [asdict(part) for part in rest]

    def add(self, source: str, part: Part) -> None:
        """Note a ticket that was just queued, if it is behind a front."""
        rest = self.rests.get(source)
        if rest is not None:
            rest[part.service] = rest[part.service].with_one(part) if part.service in rest else part

    def _read(self, ends: Mapping[str, int]) -> None:
        self.rests = {name: {} for name in ends}
        if not ends:
            return
        began = time.monotonic()
        rows = run(
            self.database,
            f"""SELECT t.source, t.service, max(t.queue_order) AS place, sum({SECONDS_LEFT}) AS seconds
                FROM unnest(CAST(:sources AS text[]), CAST(:ends AS bigint[])) AS front(source, ending)
                JOIN tickets t ON t.source = front.source AND t.state = '{QUEUED}' AND t.queue_order > front.ending
                {DURATIONS} GROUP BY t.source, t.service""",
            sources=list(ends),
            ends=list(ends.values()),
        )
        for row in rows:
            self.rests[row.source][row.service] = Part(service=row.service, place=row.place, seconds=row.seconds)
        now = time.monotonic()
        self.read_again_at = now + max(SHORTEST_SECONDS, (now - began) / SHARE)


def _end_of_front(queue: Mapping[str, Any], front: int) -> int | None:
    """Tell the ``queue_order`` of the last ticket of a queue's front; ``None`` where the front is all of it."""
    waiting = [part for part in queue["line"] or () if part["state"] == QUEUED]
    if sum(part["tickets"] for part in waiting) < front:
        return None
    end: int = max(part["place"] for part in waiting)
    return end
